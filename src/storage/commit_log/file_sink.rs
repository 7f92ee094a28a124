//! Blocks to a segment file, by calls that block.

use std::{io, path::Path, sync::Arc, time::Duration};

use crate::env::{BlockSink, Disk, File, OpenMode};

/// Blocking writes past the page cache (`pwritev2` with RWF_DSYNC), for a thread of its own.
pub struct FileSink {
    disk: Arc<dyn Disk>,
    file: Option<Arc<dyn File>>,
}

impl FileSink {
    /// A sink for files of `disk`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, file: None }
    }

    fn file(&self) -> &dyn File {
        self.file.as_deref().expect("a segment is open")
    }
}

impl BlockSink for FileSink {
    async fn open(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(self.disk.open(path, OpenMode::WriteDirect)?);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], offset: u64, durable: bool) -> io::Result<()> {
        if durable {
            self.file().write_durable(bytes, offset)
        } else {
            self.file().write_at(bytes, offset)
        }
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file().sync()
    }

    async fn wait(&self, woken: &flume::Receiver<()>, wait: Duration) -> bool {
        if wait == Duration::MAX {
            woken.recv().is_err()
        } else {
            woken.recv_timeout(wait).is_err()
        }
    }
}
