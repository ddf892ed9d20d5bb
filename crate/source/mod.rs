//! Where the bytes of a model come from. Only this folder knows of files, the network or the browser's storage.

#[cfg(target_arch = "wasm32")]
mod blob;
#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod cache;
#[cfg(not(target_arch = "wasm32"))]
mod file;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(target_arch = "wasm32")]
mod lock;
mod memory;
#[cfg(target_arch = "wasm32")]
mod open;

#[cfg(not(target_arch = "wasm32"))]
pub use file::FileSource;
pub use memory::MemorySource;
#[cfg(target_arch = "wasm32")]
pub(crate) use {
    cache::Store,
    open::{CacheMode, Notice, Opener, Origin, Request},
};

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
