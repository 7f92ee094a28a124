//! What the generator writes into its records to know them again.

/// Bytes of a stamp, and so of the smallest record.
pub const STAMP_BYTES: usize = 32;

/// Marks the first record of a batch, or a message sent alone.
const MAGIC: u32 = 0x5741_524d;

/// The beginning of a batch's first record, or of a message. The numbers of one stream follow each
/// other without a gap: a batch of n records takes n of them and names the first.
///
/// ```text
///  0 magic        u32, little endian like all of it
///  4 stream       u32
///  8 run          u64
/// 16 sequence     u64
/// 24 intended     u64  ns of the generator's own clock
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The sequence of numbers this one belongs to: one sender, one partition.
    pub stream: u32,
    /// The run, so that older records of a topic are told apart.
    pub run: u64,
    /// The first record's number in its stream, from 0.
    pub sequence: u64,
    /// When it was to be sent, in nanoseconds since the run began.
    pub intended_ns: u64,
}

impl Stamp {
    /// Writes the stamp at the start of a record.
    pub fn write(&self, record: &mut [u8]) {
        record[..4].copy_from_slice(&MAGIC.to_le_bytes());
        record[4..8].copy_from_slice(&self.stream.to_le_bytes());
        for (i, word) in [self.run, self.sequence, self.intended_ns].iter().enumerate() {
            record[8 + i * 8..16 + i * 8].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// The stamp of a record; none if it is not the generator's.
    pub fn read(record: &[u8]) -> Option<Self> {
        let bytes = record.get(..STAMP_BYTES)?;
        let small = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes);
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes);
        if small(0).ok()? != MAGIC {
            return None;
        }
        Some(Self {
            stream: small(4).ok()?,
            run: word(8).ok()?,
            sequence: word(16).ok()?,
            intended_ns: word(24).ok()?,
        })
    }
}
