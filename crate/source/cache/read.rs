//! A part of a stored model as a source.

use std::future::IntoFuture;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use idb::{Query, TransactionMode};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::AbortSignal;

use super::{CHUNKS, Part, Record, Store, chunk_key, reading};
use crate::error::{Code, Error, Result};
use crate::source::Source;
use crate::source::browser::aborted;

/// Chunks in order, one ahead.
pub(crate) struct CacheSource {
    store: Rc<Store>,
    id: String,
    part_no: usize,
    part: Part,
    chunk_bytes: u64,
    index: u32,
    ahead: Option<LocalBoxFuture<'static, Result<Option<JsValue>>>>,
    read: u64,
    signal: AbortSignal,
    chunk: Vec<u8>,
}

impl CacheSource {
    /// Part `n` of a complete model.
    pub(crate) fn open(store: Rc<Store>, record: &Record, n: usize, signal: &AbortSignal) -> Result<Self> {
        let part = record.parts.get(n).cloned().ok_or_else(|| damaged(&record.name))?;
        Ok(Self {
            store,
            id: record.id.clone(),
            part_no: n,
            part,
            chunk_bytes: u64::from(record.chunk_bytes.max(1)),
            index: 0,
            ahead: None,
            read: 0,
            signal: signal.clone(),
            chunk: Vec::new(),
        })
    }

    /// Asks for the next chunk, if there is one.
    fn start(&mut self) -> Result<Option<LocalBoxFuture<'static, Result<Option<JsValue>>>>> {
        if u64::from(self.index) * self.chunk_bytes >= self.part.stored {
            return Ok(None);
        }
        let tx = self.store.begin(&[CHUNKS], TransactionMode::ReadOnly)?;
        let key = Query::Key(chunk_key(&self.id, self.part_no, self.index));
        let request = tx.object_store(CHUNKS).and_then(|s| s.get(key)).map_err(reading)?;
        self.index += 1;
        // Its callbacks are set here, before the answer can come.
        let answer = request.into_future();
        Ok(Some(Box::pin(async move { answer.await.map_err(reading) })))
    }

    async fn next_chunk(&mut self) -> Result<&[u8]> {
        if self.signal.aborted() {
            return Err(aborted());
        }
        let current = match self.ahead.take() {
            Some(current) => Some(current),
            None => self.start()?,
        };
        let Some(current) = current else { return Ok(&[]) };
        let value = current.await?;
        self.ahead = self.start()?;
        let bytes: Uint8Array =
            value.and_then(|v| v.dyn_into().ok()).ok_or_else(|| damaged(&self.part.name))?;
        let n = bytes.length() as usize;
        if n as u64 != self.chunk_bytes.min(self.part.stored - self.read) {
            return Err(damaged(&self.part.name));
        }
        self.read += n as u64;
        self.chunk.resize(n, 0);
        bytes.copy_to(&mut self.chunk);
        Ok(&self.chunk)
    }
}

impl Drop for CacheSource {
    /// A request that was sent calls back: whoever takes the call has to live until then.
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            wasm_bindgen_futures::spawn_local(async {
                let _ = ahead.await; // nobody wants the answer any more
            });
        }
    }
}

impl Source for CacheSource {
    fn name(&self) -> &str {
        &self.part.name
    }

    fn len(&self) -> Option<u64> {
        Some(self.part.stored)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(self.next_chunk())
    }
}

fn damaged(name: &str) -> Error {
    Error::new(
        Code::Cache,
        format!("the cached copy of {name} was deleted or is damaged; delete it and load it again"),
    )
}
