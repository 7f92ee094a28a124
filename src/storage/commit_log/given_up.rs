//! Stretches of the log that were damaged and given up by `mainstem log repair`: they are passed over.
//!
//! The log itself is not changed by a repair, so this file is all that tells a hole that was accepted
//! from one that nobody has seen. Without it the broker finds the damage again, and says so again.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{Position, checksum},
    env::{Disk, OpenMode, is_unreadable},
};

const NAME: &str = "given-up";

/// What was given up of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    log_id: u64,
    /// First position of each stretch, and the one behind it.
    ranges: Vec<(Position, Position)>,
}

impl GivenUp {
    /// What was given up of the log in `dir`. A file that does not verify counts as none: the worst
    /// that follows is another repair.
    ///
    /// # Errors
    /// What the disk says.
    pub fn load(disk: &dyn Disk, dir: &Path, log_id: u64) -> io::Result<Self> {
        let none = Self { log_id, ranges: Vec::new() };
        let file = match disk.open(&path(dir), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; file.len()? as usize];
        let got = match file.read_at(&mut bytes, 0) {
            Err(error) if is_unreadable(&error) => 0,
            read => read?,
        };
        let loaded = bytes[..got].split_first_chunk::<4>().and_then(|(sum, content)| {
            let holds = checksum::crc32c(content).to_le_bytes() == *sum;
            holds.then(|| postcard::from_bytes::<Self>(content).ok()).flatten()
        });
        Ok(loaded.filter(|loaded| loaded.log_id == log_id).unwrap_or(none))
    }

    /// Replaces the file, durably and at once.
    ///
    /// # Errors
    /// What the disk says; then the old one counts.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let content = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let made = dir.join(format!("{NAME}.tmp"));
        match disk.remove(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&made, OpenMode::Create)?;
        file.write_at(&checksum::crc32c(&content).to_le_bytes(), 0)?;
        file.write_at(&content, 4)?;
        file.sync()?;
        disk.rename(&made, &path(dir))?;
        disk.sync_dir(dir)
    }

    /// Gives up one more stretch.
    pub fn add(&mut self, start: Position, end: Position) {
        self.ranges.push((start, end));
    }

    /// Forgets stretches of segments that were dropped; one that ends where the log begins may be its
    /// lost front.
    pub fn forget_before(&mut self, oldest: Position) {
        self.ranges.retain(|(_, end)| *end >= oldest);
    }

    /// True if all of a stretch was given up.
    #[must_use]
    pub fn covers(&self, start: Position, end: Position) -> bool {
        self.ranges.iter().any(|range| range.0 <= start && end <= range.1)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::simulated::SimulatedDisk;

    #[test]
    fn what_was_given_up_is_remembered_until_the_file_is_damaged() {
        let (disk, dir) = (SimulatedDisk::default(), Path::new("/log"));
        disk.create_dir(dir).unwrap();
        let mut given_up = GivenUp::load(&disk, dir, 7).unwrap();
        assert!(!given_up.covers(Position(1), Position(2)));
        given_up.add(Position(10), Position(20));
        given_up.add(Position(40), Position(50));
        given_up.store(&disk, dir).unwrap();
        given_up.forget_before(Position(20));
        assert!(given_up.covers(Position(10), Position(20)));
        given_up.forget_before(Position(21));
        // Over the file there is.
        given_up.store(&disk, dir).unwrap();
        let disk = disk.power_cut(1);
        let loaded = GivenUp::load(&disk, dir, 7).unwrap();
        assert_eq!(loaded, given_up);
        assert!(loaded.covers(Position(41), Position(50)));
        assert!(!loaded.covers(Position(40), Position(51)));
        assert!(!loaded.covers(Position(10), Position(20)));
        assert!(!GivenUp::load(&disk, dir, 8).unwrap().covers(Position(41), Position(50)));
        disk.flip_bit(&path(dir), 5, 3);
        assert!(!GivenUp::load(&disk, dir, 7).unwrap().covers(Position(41), Position(50)));
        disk.flip_bit(&path(dir), 5, 3);
        disk.fail_read(&path(dir), 0..1);
        assert_eq!(GivenUp::load(&disk, dir, 7).unwrap().ranges, []);
    }
}
