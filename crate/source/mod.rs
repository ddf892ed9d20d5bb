//! Where the bytes of a model come from. Only this folder knows of files, the network or the browser's storage.

use futures_util::future::LocalBoxFuture;

use crate::error::Result;

/// The bytes of one file (one part of a split model), read front to back.
pub trait Source {
    /// What to call the file in messages.
    fn name(&self) -> &str;

    /// Bytes in all, where that is known before reading.
    fn len(&self) -> Option<u64>;

    /// The next bytes, in order; empty at the end. The chunk's size is the source's choice.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>>;
}
