use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use glommio::io::BufferedFile;

use super::io_error;
use crate::env::{ColdRead, LocalFuture};

/// Files a shard keeps open for cold reads.
const OPEN_FILES: usize = 32;

/// Reads through io_uring and the page cache, with the last few files kept open. One a shard.
#[derive(Default)]
pub struct GlommioColdRead {
    /// Most recently used last.
    open: RefCell<Vec<(PathBuf, Rc<BufferedFile>)>>,
}

impl GlommioColdRead {
    async fn file(&self, path: &Path) -> io::Result<Rc<BufferedFile>> {
        let known = {
            let mut open = self.open.borrow_mut();
            let at = open.iter().position(|(known, _)| known == path);
            at.map(|at| {
                let entry = open.remove(at);
                open.push(entry);
                Rc::clone(&open.last().expect("just pushed").1)
            })
        };
        if let Some(file) = known {
            return Ok(file);
        }
        let file = Rc::new(BufferedFile::open(path).await.map_err(io_error)?);
        let mut open = self.open.borrow_mut();
        if open.len() >= OPEN_FILES {
            open.remove(0);
        }
        open.push((path.to_path_buf(), Rc::clone(&file)));
        Ok(file)
    }
}

impl ColdRead for GlommioColdRead {
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let file = self.file(path).await?;
            let mut bytes = Vec::with_capacity(length);
            // A read may come back short before the file's end.
            while bytes.len() < length {
                let at = offset + bytes.len() as u64;
                let part = file.read_at(at, length - bytes.len()).await.map_err(io_error)?;
                if part.is_empty() {
                    break;
                }
                bytes.extend_from_slice(&part);
            }
            Ok(bytes)
        })
    }

    fn forget(&self, path: &Path) {
        self.open.borrow_mut().retain(|(known, _)| known != path);
    }
}
