//! A file that is in memory already.

use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, ready};

use super::{CHUNK_BYTES, Source};
use crate::error::Result;

/// Bytes in memory, shared and not copied.
#[derive(Debug, Clone)]
pub struct MemorySource {
    name: String,
    bytes: Rc<[u8]>,
    at: usize,
    chunk: usize,
}

impl MemorySource {
    pub fn new(name: impl Into<String>, bytes: impl Into<Rc<[u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), at: 0, chunk: CHUNK_BYTES }
    }

    /// Reads in chunks of at most `bytes` (at least one), as a slow network would deliver them.
    #[must_use]
    pub fn with_chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes.max(1);
        self
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        let start = self.at;
        self.at = self.bytes.len().min(start.saturating_add(self.chunk));
        Box::pin(ready(Ok(&self.bytes[start..self.at])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut source = MemorySource::new("test", bytes.clone()).with_chunk(100);
        assert_eq!((source.name(), source.len()), ("test", Some(256)));
        let mut read = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let chunk = pollster::block_on(source.next()).unwrap();
            sizes.push(chunk.len());
            if chunk.is_empty() {
                break;
            }
            read.extend_from_slice(chunk);
        }
        assert_eq!(sizes, [100, 100, 56, 0]);
        assert_eq!(read, bytes);
    }
}
