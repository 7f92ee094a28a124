//! A file that is there whole under its name, or not at all.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::env::{Disk, File, OpenMode};

/// A file that is being written, under its name and `.tmp`. It goes with this value unless it was kept.
/// Every call blocks; lives on the housekeeper's thread.
pub(super) struct NewFile<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    name: String,
    file: Arc<dyn File>,
}

impl<'a> NewFile<'a> {
    /// Makes it anew, whatever an earlier attempt left behind.
    pub(super) fn create(disk: &'a dyn Disk, dir: &'a Path, name: String) -> io::Result<Self> {
        let temporary = temporary(dir, &name);
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&temporary, OpenMode::Create)?;
        Ok(Self { disk, dir, name, file })
    }

    /// What is written to.
    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Where it will be.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Makes it durable, name and all.
    pub(super) fn keep(self) -> io::Result<()> {
        self.file.sync()?;
        self.disk.rename(&temporary(self.dir, &self.name), &self.path())?;
        self.disk.sync_dir(self.dir)
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        // A kept one has another name now. What cannot be removed is when the directory is opened.
        let _ = self.disk.remove(&temporary(self.dir, &self.name));
    }
}

fn temporary(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.tmp"))
}
