//! A file that the user chose or dropped, or any other blob of the page.

use futures_util::future::LocalBoxFuture;
use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Blob};

use super::Source;
use super::browser::{aborted, describe};
use crate::error::{Code, Error, Result};

/// Bytes read at once.
const SLICE: f64 = (4 << 20) as f64;

/// A blob, read slice by slice, one slice ahead.
pub(crate) struct BlobSource {
    blob: Blob,
    name: String,
    signal: AbortSignal,
    /// Where the slice after the one in `ahead` starts.
    at: f64,
    ahead: Option<Promise>,
    chunk: Vec<u8>,
}

impl BlobSource {
    /// Reads from byte `from` on.
    pub(crate) fn new(blob: Blob, name: &str, from: u64, signal: &AbortSignal) -> Self {
        let at = from as f64;
        Self { blob, name: name.to_owned(), signal: signal.clone(), at, ahead: None, chunk: Vec::new() }
    }

    fn start(&mut self) -> Result<Option<Promise>> {
        let size = self.blob.size();
        if self.at >= size {
            return Ok(None);
        }
        let end = (self.at + SLICE).min(size);
        let slice = self.blob.slice_with_f64_and_f64(self.at, end).map_err(|e| self.unreadable(&e))?;
        self.at = end;
        Ok(Some(slice.array_buffer()))
    }

    async fn read(&mut self) -> Result<&[u8]> {
        if self.signal.aborted() {
            return Err(aborted());
        }
        let current = match self.ahead.take() {
            Some(promise) => Some(promise),
            None => self.start()?,
        };
        let Some(current) = current else { return Ok(&[]) };
        let buffer = JsFuture::from(current).await.map_err(|e| self.unreadable(&e))?;
        self.ahead = self.start()?;
        let bytes = Uint8Array::new(buffer.unchecked_ref::<ArrayBuffer>());
        self.chunk.resize(bytes.length() as usize, 0);
        bytes.copy_to(&mut self.chunk);
        Ok(&self.chunk)
    }

    fn unreadable(&self, cause: &wasm_bindgen::JsValue) -> Error {
        let message = format!(
            "{} cannot be read: it was changed, moved or removed since it was chosen; choose it again",
            self.name
        );
        Error::new(Code::FileRead, message).with_cause(describe(cause))
    }
}

impl Source for BlobSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Option<u64> {
        Some(self.blob.size() as u64)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(self.read())
    }
}
