//! The data directory: one process at a time, one log.

use std::{
    fs::{self, File as StdFile},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::ServerError;
use crate::{
    base::checksum,
    config::LOG_DIR,
    env::{Disk, OpenMode, Random},
};

/// The file that holds the log's id.
const IDENTITY: &str = "log-id";

/// A data directory this process alone works in.
pub struct DataDir {
    path: PathBuf,
    /// The log's random id, made with the directory.
    pub log_id: u64,
    /// Held until the process ends.
    _lock: StdFile,
}

impl DataDir {
    /// Locks the directory, making it if need be, and reads or makes the log's id.
    ///
    /// # Errors
    /// When another process works in it, or it holds a log without a readable id.
    pub fn open(path: &Path, disk: &dyn Disk, random: &dyn Random) -> Result<Self, ServerError> {
        let failed = |source| ServerError::DataDir { path: path.to_path_buf(), source };
        disk.create_dir(path).map_err(failed)?;
        let lock = lock(path)?;
        let data = Self { path: path.to_path_buf(), log_id: 0, _lock: lock };
        disk.create_dir(&data.log()).map_err(failed)?;
        let log_id = match data.read_identity(disk).map_err(failed)? {
            Some(log_id) => log_id,
            None if disk.list(&data.log()).map_err(failed)?.is_empty() => {
                data.write_identity(disk, random).map_err(failed)?
            }
            None => return Err(ServerError::NoIdentity { path: path.to_path_buf() }),
        };
        Ok(Self { log_id, ..data })
    }

    /// Where the segments are.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// Where the index files are.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// Where the checkpoints are.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    fn read_identity(&self, disk: &dyn Disk) -> io::Result<Option<u64>> {
        let file = match disk.open(&self.path.join(IDENTITY), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; 12];
        let got = file.read_at(&mut bytes, 0)?;
        let (id, sum) = bytes.split_at(8);
        let whole = got == bytes.len() && checksum::crc32c(id).to_le_bytes() == sum;
        Ok(whole.then(|| u64::from_le_bytes(id.try_into().expect("eight bytes"))))
    }

    fn write_identity(&self, disk: &dyn Disk, random: &dyn Random) -> io::Result<u64> {
        let mut bytes = [0; 12];
        random.fill(&mut bytes[..8]);
        let sum = checksum::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&sum.to_le_bytes());
        let (made, place) = (self.path.join("log-id.tmp"), self.path.join(IDENTITY));
        // Left behind by a start that was cut off.
        let _ = disk.remove(&made);
        let file = disk.open(&made, OpenMode::Create)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(&made, &place)?;
        disk.sync_dir(&self.path)?;
        Ok(u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")))
    }
}

fn lock(path: &Path) -> Result<StdFile, ServerError> {
    let failed = |source| ServerError::DataDir { path: path.to_path_buf(), source };
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServerError::InUse { path: path.to_path_buf() }),
        Err(error) => Err(failed(error.into())),
    }
}
