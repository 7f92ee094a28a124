use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use glommio::{
    GlommioError,
    io::{BufferedFile, DmaFile},
};

use crate::env::{ColdBytes, ColdRead, LocalFuture};

/// Files of each kind a shard keeps open for cold reads.
const OPEN_FILES: usize = 32;

/// What reads past the page cache are aligned to, in bytes.
const SECTOR: u64 = 4096;

/// The last few files used, most recently used last.
struct OpenFiles<F> {
    files: RefCell<Vec<(PathBuf, Rc<F>)>>,
}

impl<F> Default for OpenFiles<F> {
    fn default() -> Self {
        Self { files: RefCell::default() }
    }
}

impl<F> OpenFiles<F> {
    fn get(&self, path: &Path) -> Option<Rc<F>> {
        let mut files = self.files.borrow_mut();
        let at = files.iter().position(|(known, _)| known.as_os_str() == path.as_os_str())?;
        let entry = files.remove(at);
        let file = Rc::clone(&entry.1);
        files.push(entry);
        Some(file)
    }

    fn keep(&self, path: &Path, file: F) -> Rc<F> {
        let mut files = self.files.borrow_mut();
        if files.len() >= OPEN_FILES {
            files.remove(0);
        }
        let file = Rc::new(file);
        files.push((path.to_path_buf(), Rc::clone(&file)));
        file
    }

    fn forget(&self, path: &Path) {
        self.files.borrow_mut().retain(|(known, _)| known != path);
    }
}

/// Reads through io_uring: small ones through the page cache, payload past it. One a shard.
#[derive(Default)]
pub struct GlommioColdRead {
    buffered: OpenFiles<BufferedFile>,
    direct: OpenFiles<DmaFile>,
}

impl ColdRead for GlommioColdRead {
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let file = match self.buffered.get(path) {
                Some(file) => file,
                None => {
                    let file = BufferedFile::open(path).await.map_err(io_error)?;
                    self.buffered.keep(path, file)
                }
            };
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

    fn read_payload<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<ColdBytes>> {
        Box::pin(async move {
            let file = match self.direct.get(path) {
                Some(file) => file,
                None => {
                    let file = DmaFile::open(path).await.map_err(io_error)?;
                    self.direct.keep(path, file)
                }
            };
            let start = offset / SECTOR * SECTOR;
            let end = (offset + length as u64).next_multiple_of(SECTOR);
            let whole = file.read_at_aligned(start, (end - start) as usize).await;
            let whole = ColdBytes::new(Rc::new(whole.map_err(io_error)?));
            let from = ((offset - start) as usize).min(whole.len());
            let to = (from + length).min(whole.len());
            if to < from + length && whole.len() < (end - start) as usize {
                // A read may come back short before the file's end: the page cache knows.
                let bytes = self.read(path, offset, length).await?;
                return Ok(ColdBytes::new(Rc::new(bytes)));
            }
            Ok(whole.slice(from..to))
        })
    }

    fn forget(&self, path: &Path) {
        self.buffered.forget(path);
        self.direct.forget(path);
    }
}

/// What the machine said. glommio's own conversion leaves its number out.
fn io_error<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}
