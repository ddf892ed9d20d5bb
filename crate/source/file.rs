//! A local file, natively.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use futures_util::future::{LocalBoxFuture, ready};

use super::{CHUNK_BYTES, Source};
use crate::error::{Code, Error, Result};

/// A file, read in chunks; reading blocks, which natively nothing minds.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    file: File,
    len: u64,
    buffer: Vec<u8>,
}

impl FileSource {
    /// # Errors
    /// `file-read` where there is no such file or it is not readable.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let file = File::open(path).map_err(|e| cannot_read(&name, e))?;
        let meta = file.metadata().map_err(|e| cannot_read(&name, e))?;
        if meta.is_dir() {
            return Err(Error::new(Code::FileRead, format!("{name} is a folder, not a file")));
        }
        Ok(Self { name, file, len: meta.len(), buffer: vec![0; CHUNK_BYTES] })
    }

    fn read(&mut self) -> Result<&[u8]> {
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(n) => return Ok(&self.buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(cannot_read(&self.name, e)),
            }
        }
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Option<u64> {
        Some(self.len)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(ready(self.read()))
    }
}

fn cannot_read(name: &str, error: std::io::Error) -> Error {
    Error::new(Code::FileRead, format!("{name} cannot be read")).with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_and_reports_what_is_none() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut source = FileSource::open(path).unwrap();
        let mut read = Vec::new();
        loop {
            let chunk = pollster::block_on(source.next()).unwrap();
            if chunk.is_empty() {
                break;
            }
            read.extend_from_slice(chunk);
        }
        assert_eq!(source.len(), Some(read.len() as u64));
        assert_eq!(read, std::fs::read(path).unwrap());

        let error = FileSource::open("no/such/file.gguf").unwrap_err();
        assert_eq!(error.code(), Code::FileRead);
        assert!(error.to_string().contains("no/such/file.gguf"));
        assert_eq!(FileSource::open(env!("CARGO_MANIFEST_DIR")).unwrap_err().code(), Code::FileRead);
    }
}
