//! Where the bytes of a model come from. Only this folder knows of files, the network or the browser's storage.

#[cfg(not(target_arch = "wasm32"))]
mod file;
mod memory;

#[cfg(not(target_arch = "wasm32"))]
pub use file::FileSource;
pub use memory::MemorySource;

use futures_util::future::LocalBoxFuture;

use crate::error::Result;

/// Bytes a chunk, where the source has the choice.
pub const CHUNK_BYTES: usize = 1 << 20;

#[allow(clippy::len_without_is_empty, reason = "a length may be unknown")]
/// The bytes of one file (one part of a split model), read front to back.
pub trait Source {
    /// What to call the file in messages.
    fn name(&self) -> &str;

    /// Bytes in all, where that is known before reading.
    fn len(&self) -> Option<u64>;

    /// The next bytes, in order; empty at the end. The chunk's size is the source's choice.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>>;
}
