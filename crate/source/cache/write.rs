//! Storing a model while it is loaded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use idb::TransactionMode;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{StorageEstimate, WorkerGlobalScope};

use super::{
    CHUNK, CHUNKS, MODELS, Part, Record, Store, chunk_key, commit, delete_all, get_record, put, put_record,
    quota_exceeded,
};
use crate::error::{Code, Error, Result};
use crate::source::Source;

/// Chunks on their way to storage at a time; the network waits while there are more.
const IN_FLIGHT: usize = 2;

/// Stores the parts of one model. What goes wrong ends the storing, not the load: [`CacheWriter::failure`] tells.
pub(crate) struct CacheWriter {
    store: Rc<Store>,
    id: String,
    token: String,
    /// A failure to store is one to load.
    required: bool,
    n_parts: Cell<usize>,
    /// Of those, how many were read to their end.
    n_ended: Cell<usize>,
    in_flight: RefCell<VecDeque<Promise>>,
    failure: RefCell<Option<Rc<Error>>>,
}

impl CacheWriter {
    /// Makes room for a model: what was stored of it before goes, and so does the claim of another writer.
    pub(crate) async fn begin(store: Rc<Store>, id: &str, name: &str, required: bool) -> Result<Rc<Self>> {
        let now = js_sys::Date::now();
        let token = format!("{now}-{}", js_sys::Math::random());
        let record = Record {
            id: id.to_owned(),
            name: name.to_owned(),
            chunk_bytes: CHUNK as u32,
            created: now,
            last_used: now,
            complete: false,
            writer: token.clone(),
            parts: Vec::new(),
        };
        let tx = store.begin(&[MODELS, CHUNKS], TransactionMode::ReadWrite)?;
        delete_all(&tx, id).await?;
        put_record(&tx, &record).await?;
        commit(tx).await?;
        Ok(Rc::new(Self {
            store,
            id: id.to_owned(),
            token,
            required,
            n_parts: Cell::new(0),
            n_ended: Cell::new(0),
            in_flight: RefCell::default(),
            failure: RefCell::default(),
        }))
    }

    /// Why nothing more is stored, if so.
    pub(crate) fn failure(&self) -> Option<Rc<Error>> {
        self.failure.borrow().clone()
    }

    /// Wraps the source of the next part.
    pub(crate) async fn part(self: &Rc<Self>, inner: Box<dyn Source>, etag: Option<String>) -> WriteThrough {
        let n = self.n_parts.replace(self.n_parts.get() + 1);
        let part = Part { name: inner.name().to_owned(), total: inner.len(), stored: 0, etag };
        let added = match (part.total, room().await) {
            // Rather than filling the storage and then removing it all again.
            (Some(total), Some(room)) if total > room => Err(quota_exceeded()),
            _ => self.change(|record| record.parts.push(part)).await,
        };
        self.note(added);
        WriteThrough {
            inner,
            writer: Rc::clone(self),
            part: n,
            index: 0,
            filled: 0,
            chunk: None,
            ended: false,
        }
    }

    /// Whether every part was read to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.n_parts.get() > 0 && self.n_ended == self.n_parts
    }

    /// After the last byte: waits for what is still on its way, then makes the model one of the cache's.
    ///
    /// # Errors
    /// Why it could not be stored, `quota-exceeded` above all; what was stored is removed again.
    pub(crate) async fn finish(&self) -> Result<(), Rc<Error>> {
        self.drain(0).await;
        if self.failure().is_none() {
            let completed = self
                .change(|record| {
                    record.complete = true;
                    for part in &mut record.parts {
                        part.total = Some(part.stored);
                    }
                })
                .await;
            self.note(completed);
        }
        match self.failure() {
            None => Ok(()),
            Some(e) => {
                self.discard().await;
                Err(e)
            }
        }
    }

    /// Removes what this writer stored; another writer's model stays.
    pub(crate) async fn discard(&self) {
        self.drain(0).await;
        let remove = async {
            let tx = self.store.begin(&[MODELS, CHUNKS], TransactionMode::ReadWrite)?;
            if get_record(&tx, &self.id).await?.is_some_and(|r| r.writer == self.token) {
                delete_all(&tx, &self.id).await?;
            }
            commit(tx).await
        };
        let removed = remove.await;
        self.note(removed);
    }

    /// After a load that failed for want of bytes: what is stored stays, incomplete.
    pub(crate) async fn keep_incomplete(&self) {
        self.drain(0).await;
    }

    fn note(&self, result: Result<()>) {
        if let Err(e) = result {
            self.failure.borrow_mut().get_or_insert(Rc::new(e));
        }
    }

    async fn change(&self, edit: impl FnOnce(&mut Record)) -> Result<()> {
        let tx = self.store.begin(&[MODELS], TransactionMode::ReadWrite)?;
        let mut record =
            get_record(&tx, &self.id).await?.filter(|r| r.writer == self.token).ok_or_else(taken_over)?;
        edit(&mut record);
        put_record(&tx, &record).await?;
        commit(tx).await
    }

    async fn put_chunk(&self, part: usize, index: u32, bytes: &Uint8Array) -> Result<()> {
        let tx = self.store.begin(&[MODELS, CHUNKS], TransactionMode::ReadWrite)?;
        let mut record =
            get_record(&tx, &self.id).await?.filter(|r| r.writer == self.token).ok_or_else(taken_over)?;
        let stored =
            record.parts.get_mut(part).ok_or_else(|| Error::internal("a chunk of an unknown part"))?;
        stored.stored += u64::from(bytes.length());
        put(&tx, CHUNKS, bytes, &chunk_key(&self.id, part, index)).await?;
        put_record(&tx, &record).await?;
        commit(tx).await
    }

    /// Starts to store a chunk, once there are few enough on their way.
    async fn send(self: &Rc<Self>, part: usize, index: u32, bytes: Uint8Array) {
        self.drain(IN_FLIGHT - 1).await;
        if self.failure().is_some() {
            return;
        }
        let writer = Rc::clone(self);
        let promise = future_to_promise(async move {
            let stored = writer.put_chunk(part, index, &bytes).await;
            writer.note(stored);
            Ok(JsValue::UNDEFINED)
        });
        self.in_flight.borrow_mut().push_back(promise);
    }

    /// Waits until at most `n` chunks are on their way.
    async fn drain(&self, n: usize) {
        loop {
            let oldest = {
                let mut in_flight = self.in_flight.borrow_mut();
                if in_flight.len() <= n {
                    return;
                }
                in_flight.pop_front()
            };
            let Some(oldest) = oldest else { return };
            let _ = JsFuture::from(oldest).await; // it never rejects: failures are noted
        }
    }
}

/// A source whose bytes are stored as they pass.
pub(crate) struct WriteThrough {
    inner: Box<dyn Source>,
    writer: Rc<CacheWriter>,
    part: usize,
    index: u32,
    /// Outside of wasm memory, which never shrinks.
    chunk: Option<Uint8Array>,
    filled: usize,
    ended: bool,
}

impl WriteThrough {
    async fn pass(&mut self) -> Result<&[u8]> {
        let Self { inner, writer, part, index, chunk, filled, ended } = self;
        let total = inner.len();
        let bytes = inner.next().await?;
        if let Some(e) = writer.failure() {
            *chunk = None;
            return if writer.required { Err(Error::new(e.code(), e.message())) } else { Ok(bytes) };
        }
        if *ended {
            return Ok(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let buffer = chunk.get_or_insert_with(|| Uint8Array::new_with_length(CHUNK as u32));
            let (now, later) = rest.split_at(rest.len().min(CHUNK - *filled));
            buffer.subarray(*filled as u32, (*filled + now.len()) as u32).copy_from(now);
            *filled += now.len();
            rest = later;
            if *filled == CHUNK {
                let full = buffer.clone();
                *chunk = None;
                *filled = 0;
                writer.send(*part, *index, full).await;
                *index += 1;
            }
        }
        let read = u64::from(*index) * CHUNK as u64 + *filled as u64;
        *ended = bytes.is_empty() || Some(read) == total;
        if *ended {
            writer.n_ended.set(writer.n_ended.get() + 1);
        }
        if *ended && let Some(last) = chunk.take() {
            writer.send(*part, *index, last.slice(0, *filled as u32)).await;
        }
        Ok(bytes)
    }
}

impl Source for WriteThrough {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn len(&self) -> Option<u64> {
        self.inner.len()
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(self.pass())
    }
}

/// Bytes that storage has room for, where the browser says.
async fn room() -> Option<u64> {
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let estimate = JsFuture::from(scope.navigator().storage().estimate().ok()?).await.ok()?;
    let estimate: StorageEstimate = estimate.unchecked_into();
    Some((estimate.get_quota()? - estimate.get_usage()?).max(0.0) as u64)
}

fn taken_over() -> Error {
    Error::new(
        Code::Cache,
        "the model was deleted from the cache, or another tab loads it, while it was being stored",
    )
}
