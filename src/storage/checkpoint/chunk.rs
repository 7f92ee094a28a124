//! Chunks: what a checkpoint file is made of. All numbers are little-endian.
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | CRC-32C of the rest of the chunk |
//! | 4 | bytes of payload |
//! | 8 | the checkpoint's number, so that another one's chunk is not taken for this one's |
//! | 16 | the chunk's number in the file |
//! | 20 | what it is |
//! | 24 | payload |

use std::{io, sync::Arc};

use crate::{base::checksum, env::File};

const HEADER_BYTES: usize = 24;

/// The longest payload, in bytes.
pub(super) const MAX_PAYLOAD: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header = 1,
    Section = 2,
    Data = 3,
    End = 4,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Header, Self::Section, Self::Data, Self::End];
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Writes chunks end to end.
pub(super) struct ChunkWriter {
    file: Arc<dyn File>,
    checkpoint: u64,
    offset: u64,
    number: u32,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    pub(super) fn new(file: Arc<dyn File>, checkpoint: u64) -> Self {
        Self { file, checkpoint, offset: 0, number: 0, chunk: Vec::new() }
    }

    pub(super) fn put(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        assert!(payload.len() <= MAX_PAYLOAD, "a chunk has at most {MAX_PAYLOAD} bytes");
        self.chunk.clear();
        self.chunk.extend_from_slice(&[0; 4]);
        self.chunk.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.chunk.extend_from_slice(&self.checkpoint.to_le_bytes());
        self.chunk.extend_from_slice(&self.number.to_le_bytes());
        self.chunk.extend_from_slice(&(kind as u32).to_le_bytes());
        self.chunk.extend_from_slice(payload);
        let sum = checksum::crc32c(&self.chunk[4..]);
        self.chunk[..4].copy_from_slice(&sum.to_le_bytes());
        self.file.write_at(&self.chunk, self.offset)?;
        self.offset += self.chunk.len() as u64;
        self.number += 1;
        Ok(())
    }
}

/// Reads chunks in order; a copy goes on from where the original stands.
#[derive(Debug)]
pub(super) struct ChunkReader {
    file: Arc<dyn File>,
    checkpoint: u64,
    offset: u64,
    number: u32,
    payload: Vec<u8>,
}

impl Clone for ChunkReader {
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), payload: Vec::new(), ..*self }
    }
}

impl ChunkReader {
    pub(super) fn new(file: Arc<dyn File>, checkpoint: u64) -> Self {
        Self { file, checkpoint, offset: 0, number: 0, payload: Vec::new() }
    }

    /// The last chunk's payload.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn next(&mut self) -> io::Result<(Kind, &[u8])> {
        let mut header = [0; HEADER_BYTES];
        if self.file.read_at(&mut header, self.offset)? < HEADER_BYTES {
            return Err(damaged("the file ends early"));
        }
        let u32_at =
            |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let length = u32_at(4) as usize;
        if length > MAX_PAYLOAD {
            return Err(damaged("a chunk has an impossible length"));
        }
        self.payload.resize(length, 0);
        if self.file.read_at(&mut self.payload, self.offset + HEADER_BYTES as u64)? < length {
            return Err(damaged("the file ends early"));
        }
        if checksum::crc32c_of(&[&header[4..], &self.payload]) != u32_at(0) {
            return Err(damaged("a checksum does not match"));
        }
        let (checkpoint, number) = (self.checkpoint.to_le_bytes(), self.number.to_le_bytes());
        if header[8..16] != checkpoint || header[16..20] != number {
            return Err(damaged("a chunk is another one's"));
        }
        let kind = Kind::ALL.into_iter().find(|&kind| kind as u32 == u32_at(20));
        let kind = kind.ok_or_else(|| damaged("a chunk is of no known kind"))?;
        self.offset += (HEADER_BYTES + length) as u64;
        self.number += 1;
        Ok((kind, &self.payload))
    }

    /// Whether the file ends behind the last chunk.
    pub(super) fn is_at_end(&self) -> io::Result<bool> {
        Ok(self.file.len()? == self.offset)
    }
}
