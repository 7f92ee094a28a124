//! Reads a segment file block by block. Sectors that the disk does not give back are damage to the
//! blocks they are of, and to no others.

use std::{io, path::Path, sync::Arc};

use super::{
    SECTOR,
    block::{Block, BlockError, BlockHeader, Salvage},
};
use crate::{
    base::Position,
    env::{Disk, File, OpenMode, is_unreadable},
};

/// Bytes read ahead at a time.
const WINDOW: usize = 4 << 20;

/// Stands for each byte that cannot be read. A sector of zeros might be just what was there.
const UNREADABLE: u8 = 0xbd;

/// A segment file and a window on it. Blocking: before the shards start, or in a tool.
pub struct SegmentScan {
    file: Arc<dyn File>,
    sequence: u64,
    base: Position,
    file_bytes: u64,
    window: Vec<u8>,
    /// File offset of the window's first byte.
    window_at: u64,
    /// File offsets of the window's sectors that cannot be read.
    unreadable: Vec<u64>,
}

impl SegmentScan {
    /// Opens the file of segment `sequence`, which begins at `base`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &Path, sequence: u64, base: Position) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let file_bytes = file.len()?;
        let (window, unreadable) = (Vec::new(), Vec::new());
        Ok(Self { file, sequence, base, file_bytes, window, window_at: 0, unreadable })
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
        let header = match self.header_at(offset, log_id)? {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if header.position != position {
            return Ok(Err(BlockError::Absent));
        }
        let length = header.block_bytes as usize;
        self.load(offset, length)?;
        let parsed = Block::parse(self.bytes(offset, length));
        Ok(parsed.map_err(|error| self.reason(offset, length, error)))
    }

    /// What is left of the block at `position`, where its header verifies.
    ///
    /// # Errors
    /// What the disk says.
    pub fn salvage(&mut self, log_id: u64, position: Position) -> io::Result<Option<Salvage<'_>>> {
        let Some(header) = self.header(log_id, position)? else { return Ok(None) };
        let (offset, length) = (position.since(self.base), header.block_bytes as usize);
        self.load(offset, length)?;
        let mut salvage = Salvage::of(self.bytes(offset, length));
        for lost in salvage.iter_mut().flat_map(|salvage| &mut salvage.lost) {
            let (start, length) = (offset + lost.start as u64, lost.end - lost.start);
            lost.reason = self.reason(start, length, lost.reason);
        }
        Ok(salvage)
    }

    /// The header of the block at `position`, if one of this segment is there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn header(&mut self, log_id: u64, position: Position) -> io::Result<Option<BlockHeader>> {
        let header = self.header_at(position.since(self.base), log_id)?;
        Ok(header.ok().filter(|header| header.position == position))
    }

    fn header_at(
        &mut self,
        offset: u64,
        log_id: u64,
    ) -> io::Result<Result<BlockHeader, BlockError>> {
        self.load(offset, SECTOR)?;
        let parsed = BlockHeader::parse_own(self.bytes(offset, SECTOR), log_id, self.sequence);
        Ok(parsed.map_err(|error| self.reason(offset, SECTOR, error)))
    }

    /// Why the bytes at file offset `offset` do not verify: above all because some cannot be read.
    fn reason(&self, offset: u64, length: usize, error: BlockError) -> BlockError {
        let end = offset + length as u64;
        let inside = |&at: &u64| at < end && offset < at + SECTOR as u64;
        if self.unreadable.iter().any(inside) { BlockError::Unreadable } else { error }
    }

    /// How many of `length` bytes at file offset `offset` there are.
    fn available(&self, offset: u64, length: usize) -> usize {
        self.file_bytes.saturating_sub(offset).min(length as u64) as usize
    }

    /// What [`SegmentScan::load`] has read: up to `length` bytes at file offset `offset`.
    fn bytes(&self, offset: u64, length: usize) -> &[u8] {
        let from = (offset - self.window_at) as usize;
        let to = (from + self.available(offset, length)).min(self.window.len());
        &self.window[from.min(to)..to]
    }

    /// Has up to `length` bytes at file offset `offset`, a sector's, in the window.
    fn load(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset + self.available(offset, length) as u64;
        if offset >= self.window_at && end <= self.window_at + self.window.len() as u64 {
            return Ok(());
        }
        self.window.resize(self.available(offset, length.max(WINDOW)), 0);
        self.window_at = offset;
        self.unreadable.clear();
        let got = match self.file.read_at(&mut self.window, offset) {
            Err(error) if is_unreadable(&error) => self.read_by_sectors(),
            read => read,
        };
        self.window.truncate(got?);
        Ok(())
    }

    /// Fills the window with what can be read.
    fn read_by_sectors(&mut self) -> io::Result<usize> {
        let mut got = 0;
        for sector in self.window.chunks_mut(SECTOR) {
            let at = self.window_at + got as u64;
            let read = match self.file.read_at(sector, at) {
                Err(error) if is_unreadable(&error) => {
                    sector.fill(UNREADABLE);
                    self.unreadable.push(at);
                    sector.len()
                }
                read => read?,
            };
            got += read;
            if read < sector.len() {
                break;
            }
        }
        Ok(got)
    }
}
