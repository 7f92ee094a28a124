use std::{io, path::Path, time::Duration};

use glommio::{
    io::{DmaFile, OpenOptions},
    timer,
};

use super::io_error;
use crate::env::BlockSink;

/// Writes blocks through io_uring with O_DIRECT and O_DSYNC. Lives on an executor.
///
/// glommio writes only from its own buffers, so each block is copied once more.
#[derive(Default)]
pub struct DmaSink {
    file: Option<DmaFile>,
}

impl DmaSink {
    fn file(&self) -> &DmaFile {
        self.file.as_ref().expect("a segment is open")
    }
}

impl BlockSink for DmaSink {
    async fn open(&mut self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(rustix::fs::OFlags::DSYNC.bits() as i32);
        let file = options.dma_open(path).await.map_err(io_error)?;
        if let Some(old) = self.file.replace(file) {
            old.close().await.map_err(io_error)?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], offset: u64, _durable: bool) -> io::Result<()> {
        let file = self.file();
        let mut buffer = file.alloc_dma_buffer(bytes.len());
        buffer.as_bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        let written = file.write_at(buffer, offset).await.map_err(io_error)?;
        if written < bytes.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the block was written in part"));
        }
        Ok(())
    }

    async fn wait(&self, woken: &flume::Receiver<()>, wait: Duration) -> bool {
        let woke = async { woken.recv_async().await.is_err() };
        if wait == Duration::MAX {
            return woke.await;
        }
        let timeout = async {
            timer::sleep(wait).await;
            true
        };
        futures_lite::future::or(woke, timeout).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file().fdatasync().await.map_err(io_error)
    }
}
