//! Snapshots of what the log's replay would yield, so that recovery need not start at its beginning.
//!
//! Two generations are kept, `checkpoint-{number}` each: should the newer be damaged, the older and a
//! longer replay do as well. A file is a sequence of chunks under a checksum each: the
//! header, then named sections whose bytes are their owners' business, then an end. It is
//! written under a temporary name, synced and renamed. Everything here blocks: it belongs on the
//! housekeeper thread or before the shards start.

mod chunk;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use chunk::{ChunkReader, ChunkWriter, Kind, MAX_PAYLOAD};

use crate::{
    base::Position,
    env::{Disk, OpenMode},
};

const MAGIC: [u8; 8] = *b"MSTEMCKP";
const VERSION: u32 = 1;
/// Generations that are kept.
const GENERATIONS: usize = 2;

/// What a checkpoint says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// Replay starts here: the state holds the effects of everything in front, and perhaps of some
    /// of what follows.
    pub replay_from: Position,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
}

impl CheckpointHeader {
    fn encode(&self) -> Vec<u8> {
        let (replay_from, created) =
            (self.replay_from.0.to_le_bytes(), self.created_ms.to_le_bytes());
        [&MAGIC[..], &VERSION.to_le_bytes(), &self.log_id, &replay_from, &created].concat()
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, String> {
        fn next<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
            let (field, rest) = bytes.split_first_chunk().ok_or("the header is too short")?;
            *bytes = rest;
            Ok(*field)
        }
        if next(&mut bytes)? != MAGIC {
            return Err("it is not a checkpoint".into());
        }
        let version = u32::from_le_bytes(next(&mut bytes)?);
        if version != VERSION {
            return Err(format!("format version {version} is not known"));
        }
        Ok(Self {
            log_id: next(&mut bytes)?,
            replay_from: Position(u64::from_le_bytes(next(&mut bytes)?)),
            created_ms: i64::from_le_bytes(next(&mut bytes)?),
        })
    }
}

/// A checkpoint file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedCheckpoint {
    /// The file's name.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for DamagedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

/// Why there is no checkpoint to be had, or none was written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The machine failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
}

type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// What was found when the checkpoints were opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest checkpoint that can be used; `None` if there is none.
    pub latest: Option<Checkpoint>,
    /// The files that cannot be used.
    pub damaged: Vec<DamagedCheckpoint>,
}

/// The checkpoints of a directory. Lives on the housekeeper thread.
pub struct CheckpointStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Numbers and headers of the generations, newest first.
    kept: Vec<(u64, CheckpointHeader)>,
    /// Files to be removed once a new checkpoint is durable.
    outlived: Vec<String>,
    next_number: u64,
}

impl CheckpointStore {
    /// Opens the checkpoints of `dir`, creating the directory if need be, and verifies the newest one
    /// wholly; if it is damaged, the next. Of the older generation only the header is verified.
    ///
    /// # Errors
    /// When the directory cannot be read. What is wrong with single checkpoints is reported.
    pub fn load_latest(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, Loaded)> {
        let failed = |source| CheckpointError::Io { path: dir.to_path_buf(), source };
        disk.create_dir(dir).map_err(failed)?;
        let mut numbers = Vec::new();
        for name in disk.list(dir).map_err(failed)? {
            if let Some(number) = number_of(&name) {
                numbers.push(number);
            } else if name.starts_with("checkpoint-") && name.ends_with(".tmp") {
                disk.remove(&dir.join(name)).map_err(failed)?;
            }
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let next_number = numbers.first().map_or(0, |newest| newest + 1);
        let mut store = Self {
            disk,
            dir: dir.to_path_buf(),
            kept: Vec::new(),
            outlived: Vec::new(),
            next_number,
        };
        let mut loaded = Loaded::default();
        for number in numbers {
            store.consider(number, &mut loaded);
        }
        Ok((store, loaded))
    }

    /// Opens one file, older than those before.
    fn consider(&mut self, number: u64, loaded: &mut Loaded) {
        let name = name_of(number);
        if self.kept.len() == GENERATIONS {
            self.outlived.push(name);
            return;
        }
        let path = self.dir.join(&name);
        let opened = if loaded.latest.is_none() {
            Checkpoint::open(&*self.disk, &path, number).map(|checkpoint| {
                let header = checkpoint.header;
                loaded.latest = Some(checkpoint);
                header
            })
        } else {
            open_header(&*self.disk, &path, number).map(|(_, header)| header)
        };
        match opened {
            Ok(header) => self.kept.push((number, header)),
            Err(what) => {
                loaded.damaged.push(DamagedCheckpoint { name: name.clone(), what });
                self.outlived.push(name);
            }
        }
    }

    /// No segment with positions from this one on may be dropped: a replay from the older generation
    /// would need it. `None` while there is no checkpoint: every segment is needed.
    #[must_use]
    pub fn replay_needed(&self) -> Option<Position> {
        self.kept.iter().map(|(_, header)| header.replay_from).min()
    }

    /// The newest checkpoint's header.
    #[must_use]
    pub fn latest(&self) -> Option<CheckpointHeader> {
        self.kept.first().map(|(_, header)| *header)
    }

    /// Writes a checkpoint, whose sections `fill` writes one after the other, and returns once it is
    /// durable. Only then is the third-oldest removed.
    ///
    /// # Errors
    /// When `fill` or the disk fails; the checkpoints there were remain.
    pub fn write(
        &mut self,
        header: CheckpointHeader,
        fill: impl FnOnce(&mut CheckpointWriter) -> io::Result<()>,
    ) -> Result<()> {
        let number = self.next_number;
        // A number is never used twice, so that a file is never mistaken for another.
        self.next_number += 1;
        let temporary = self.dir.join(name_of(number) + ".tmp");
        let path = self.dir.join(name_of(number));
        let written = self.write_file(&temporary, number, &header, fill);
        let renamed = written.and_then(|()| self.disk.rename(&temporary, &path));
        if let Err(source) = renamed {
            let _ = self.disk.remove(&temporary);
            return Err(CheckpointError::Io { path: temporary, source });
        }
        if let Err(source) = self.disk.sync_dir(&self.dir) {
            self.outlived.push(name_of(number));
            return Err(CheckpointError::Io { path: self.dir.clone(), source });
        }
        self.kept.insert(0, (number, header));
        let older = self.kept.drain(GENERATIONS.min(self.kept.len())..);
        self.outlived.extend(older.map(|(number, _)| name_of(number)));
        // Should a removal fail or be lost, the file is met again at the next start.
        for name in self.outlived.drain(..) {
            let _ = self.disk.remove(&self.dir.join(name));
        }
        Ok(())
    }

    fn write_file(
        &self,
        path: &Path,
        number: u64,
        header: &CheckpointHeader,
        fill: impl FnOnce(&mut CheckpointWriter) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.disk.open(path, OpenMode::Create)?;
        let mut chunks = ChunkWriter::new(file.clone(), number);
        chunks.put(Kind::Header, &header.encode())?;
        let mut writer = CheckpointWriter { chunks, names: Vec::new(), buffer: Vec::new() };
        fill(&mut writer)?;
        writer.flush()?;
        writer.chunks.put(Kind::End, &[])?;
        file.sync()?;
        // It is read at the next start, if ever; what stays in the cache does no harm.
        let _ = file.drop_cache();
        Ok(())
    }
}

/// Writes the sections of a checkpoint: [`CheckpointWriter::section`] begins one, [`Write`] adds to
/// it. Keeps one chunk of 256 KiB in memory.
pub struct CheckpointWriter {
    chunks: ChunkWriter,
    names: Vec<String>,
    buffer: Vec<u8>,
}

impl CheckpointWriter {
    /// Begins a section, ending the one before.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When the name was used before.
    pub fn section(&mut self, name: &str) -> io::Result<()> {
        assert!(!self.names.iter().any(|used| used == name), "two sections are named {name}");
        self.flush()?;
        self.names.push(name.to_owned());
        self.chunks.put(Kind::Section, name.as_bytes())
    }
}

impl Write for CheckpointWriter {
    /// # Panics
    /// When no section was begun.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.names.is_empty(), "bytes belong to a section");
        let taken = bytes.len().min(MAX_PAYLOAD - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == MAX_PAYLOAD {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.chunks.put(Kind::Data, &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// A checkpoint that was verified, opened for reading.
#[derive(Debug)]
pub struct Checkpoint {
    header: CheckpointHeader,
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    name: String,
    bytes: u64,
    /// Stands in front of the section's first data.
    reader: ChunkReader,
}

impl Checkpoint {
    /// Reads and verifies a whole file. The error says what is wrong.
    fn open(disk: &dyn Disk, path: &Path, number: u64) -> Result<Self, String> {
        let (mut reader, header) = open_header(disk, path, number)?;
        let mut sections: Vec<Section> = Vec::new();
        loop {
            let (kind, payload) = reader.next().map_err(|error| error.to_string())?;
            match (kind, sections.last_mut()) {
                (Kind::Section, _) => {
                    let name = String::from_utf8(payload.to_vec());
                    let name = name.map_err(|_| "a section's name is not UTF-8")?;
                    sections.push(Section { name, bytes: 0, reader: reader.clone() });
                }
                (Kind::Data, Some(section)) => section.bytes += payload.len() as u64,
                (Kind::End, _) if reader.is_at_end().map_err(|error| error.to_string())? => {
                    return Ok(Self { header, sections });
                }
                _ => return Err("its parts are out of order".into()),
            }
        }
    }

    /// What the checkpoint says of itself.
    #[must_use]
    pub fn header(&self) -> CheckpointHeader {
        self.header
    }

    /// Names and lengths in bytes of the sections, in the order they were written in.
    pub fn sections(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sections.iter().map(|section| (&*section.name, section.bytes))
    }

    /// A section's bytes, verified once more as they are read.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<SectionReader> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        Some(SectionReader { reader: section.reader.clone(), rest: section.bytes, data: 0..0 })
    }
}

/// Reads one section; holds one chunk of 256 KiB. A damaged chunk is an error of kind `InvalidData`.
pub struct SectionReader {
    reader: ChunkReader,
    /// Bytes that are not read yet, those in the buffer included.
    rest: u64,
    /// What of the reader's payload is not read yet.
    data: std::ops::Range<usize>,
}

impl BufRead for SectionReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.data.is_empty() && self.rest > 0 {
            let (kind, payload) = self.reader.next()?;
            if kind != Kind::Data || payload.len() as u64 > self.rest {
                return Err(chunk::damaged("the section ends early"));
            }
            self.data = 0..payload.len();
        }
        Ok(&self.reader.payload()[self.data.clone()])
    }

    fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.data.len(), "more consumed than there was");
        self.data.start += bytes;
        self.rest -= bytes as u64;
    }
}

impl Read for SectionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Opens a file and verifies its header; the reader then stands behind it.
fn open_header(
    disk: &dyn Disk,
    path: &Path,
    number: u64,
) -> Result<(ChunkReader, CheckpointHeader), String> {
    let file = disk.open(path, OpenMode::Read).map_err(|error| error.to_string())?;
    let mut reader = ChunkReader::new(file, number);
    let (kind, payload) = reader.next().map_err(|error| error.to_string())?;
    if kind != Kind::Header {
        return Err("it does not begin with a header".into());
    }
    let header = CheckpointHeader::decode(payload)?;
    Ok((reader, header))
}

fn name_of(number: u64) -> String {
    format!("checkpoint-{number:020}")
}

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("checkpoint-")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
