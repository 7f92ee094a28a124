//! Reads a segment file block by block.

use std::{io, sync::Arc};

use super::{
    SECTOR,
    block::{Block, BlockError, BlockHeader, Salvage},
};
use crate::{
    base::Position,
    env::{Disk, File, OpenMode},
};

use std::path::Path;

/// Bytes read ahead at a time.
const WINDOW: usize = 4 << 20;

/// A segment file and a window on it. Blocking: before the shards start, or in a tool.
pub struct SegmentScan {
    file: Arc<dyn File>,
    sequence: u64,
    base: Position,
    file_bytes: u64,
    window: Vec<u8>,
    /// File offset of the window's first byte.
    window_at: u64,
}

impl SegmentScan {
    /// Opens the file of segment `sequence`, which begins at `base`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &Path, sequence: u64, base: Position) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let file_bytes = file.len()?;
        Ok(Self { file, sequence, base, file_bytes, window: Vec::new(), window_at: 0 })
    }

    /// End of the file, as a position.
    #[must_use]
    pub fn end(&self) -> Position {
        self.base.plus(self.file_bytes)
    }

    /// The block at `position`, if one of this segment is there, whole and undamaged.
    ///
    /// # Errors
    /// Outer: the disk. Inner: why there is no such block.
    pub fn block(
        &mut self,
        log_id: u64,
        position: Position,
    ) -> io::Result<Result<Block<'_>, BlockError>> {
        let offset = position.since(self.base);
        let sequence = self.sequence;
        let header = match BlockHeader::parse_own(self.bytes(offset, SECTOR)?, log_id, sequence) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if header.position != position {
            return Ok(Err(BlockError::Absent));
        }
        Ok(Block::parse(self.bytes(offset, header.block_bytes as usize)?))
    }

    /// What is left of the block at `position`, where its header verifies.
    ///
    /// # Errors
    /// What the disk says.
    pub fn salvage(&mut self, log_id: u64, position: Position) -> io::Result<Option<Salvage<'_>>> {
        let Some(header) = self.header(log_id, position)? else { return Ok(None) };
        let offset = position.since(self.base);
        Ok(Salvage::of(self.bytes(offset, header.block_bytes as usize)?))
    }

    /// The header of the block at `position`, if one of this segment is there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn header(&mut self, log_id: u64, position: Position) -> io::Result<Option<BlockHeader>> {
        let (offset, sequence) = (position.since(self.base), self.sequence);
        let header = BlockHeader::parse_own(self.bytes(offset, SECTOR)?, log_id, sequence);
        Ok(header.ok().filter(|header| header.position == position))
    }

    /// Up to `length` bytes at file offset `offset`; fewer at the file's end.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let available = self.file_bytes.saturating_sub(offset).min(length as u64);
        let inside = offset >= self.window_at
            && offset + available <= self.window_at + self.window.len() as u64;
        if !inside {
            let wanted = self.file_bytes.saturating_sub(offset).min(length.max(WINDOW) as u64);
            self.window.resize(wanted as usize, 0);
            let got = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(got);
            self.window_at = offset;
        }
        let from = (offset - self.window_at) as usize;
        let to = (from + available as usize).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }
}
