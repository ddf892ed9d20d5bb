//! Where the bytes of a model come from. Only this folder knows of files, the network or the browser's storage.

#[cfg(target_arch = "wasm32")]
mod blob;
#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(any(target_arch = "wasm32", test))]
mod cache;
#[cfg(any(target_arch = "wasm32", test))]
mod digest;
#[cfg(any(target_arch = "wasm32", test))]
mod download;
#[cfg(not(target_arch = "wasm32"))]
mod file;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(any(target_arch = "wasm32", test))]
mod hub;
#[cfg(target_arch = "wasm32")]
mod lock;
mod memory;
#[cfg(any(target_arch = "wasm32", test))]
mod open;
#[cfg(any(target_arch = "wasm32", test))]
mod part;
#[cfg(any(target_arch = "wasm32", test))]
mod queue;
#[cfg(any(target_arch = "wasm32", test))]
mod rate;
#[cfg(any(target_arch = "wasm32", test))]
mod request;
#[cfg(test)]
mod tests;
#[cfg(any(target_arch = "wasm32", test))]
mod verify;
#[cfg(any(target_arch = "wasm32", test))]
mod world;

#[cfg(not(target_arch = "wasm32"))]
pub use file::FileSource;
pub use memory::MemorySource;
#[cfg(target_arch = "wasm32")]
pub(crate) use {
    browser::{describe, locks, storage, world},
    cache::{Record, delete, evict, use_reader},
    download::{Policy, Waiting},
    lock::Reporter,
    open::{Opener, with_opener},
    part::Status,
    rate::Rate,
    request::{CacheMode, Manner, Notice, Origin, Request},
    verify::verify,
    world::World,
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

    /// Told of the first part, once its header says so: how many parts the model has.
    fn announce(&mut self, _n_parts: usize) {}

    /// Nothing more is asked for until other files were read: lets go of what that would hold up, a connection above all.
    fn park(&mut self) {}
}
