//! IndexedDB as the storage: a database with two object stores.
//!
//! - `models`, key: the model's id. A [`Record`].
//! - `chunks`, key: `[id, part, index]`. Consecutive pieces of each part (the last one shorter), as `Blob` in Chromium, which
//!   reads one in half the time, or as `Uint8Array`: others gain nothing, and WebKit has lost blobs.

use std::cell::{Cell, RefCell};
use std::future::IntoFuture;
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, TryFutureExt};
use idb::event::Event;
use idb::request::Request as _;
use idb::{
    Database, DatabaseEvent, Factory, KeyRange, ObjectStore, ObjectStoreParams, Query, Transaction,
    TransactionMode,
};
use js_sys::{Array, ArrayBuffer, Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, DomException, IdbTransaction, StorageEstimate, WorkerGlobalScope};

use super::{Change, Chunk, ChunkKey, Clear, Edit, Record, Room, Storage, quota_exceeded};
use crate::error::{Code, Error, Result};
use crate::source::browser::describe;

const DATABASE: &str = "qwenlet";
/// Of the layout described above. 1 had records without sums, see [`super::SCHEMA`]; the object stores are the same.
const VERSION: u32 = 2;
const MODELS: &str = "models";
const CHUNKS: &str = "chunks";
/// What browsers call it where a connection is gone.
const LOST: [&str; 3] = ["InvalidStateError", "UnknownError", "AbortError"];

thread_local! {
    static READER: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Has pieces read by `read(database, store, key)`, which gives a promise of the value and does it on another thread. What
/// it cannot read is read here.
pub(crate) fn use_reader(read: Function) {
    READER.set(Some(read));
}

/// An open connection to the database.
#[derive(Debug, Clone)]
pub(crate) struct IndexedDb {
    database: Rc<Connection>,
}

#[derive(Debug)]
struct Connection {
    database: Database,
    /// Whether pieces are stored as blobs.
    blobs: Cell<bool>,
    /// Whether it is of no more use.
    lost: Rc<Cell<bool>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.close();
    }
}

impl IndexedDb {
    /// Opens the database, and makes it where there is none.
    ///
    /// # Errors
    /// `cache`: no IndexedDB here (private windows of some browsers), or a newer version of this package has been at
    /// work.
    pub(crate) async fn open() -> Result<Self> {
        let unavailable = |e| failed("the browser's storage cannot be opened; cache: false does without", &e);
        let mut request =
            Factory::new().and_then(|f| f.open(DATABASE, Some(VERSION))).map_err(unavailable)?;
        request.on_upgrade_needed(|event| {
            // A failure here aborts the upgrade, and the request reports it.
            let create = || {
                if event.old_version()? == 0 {
                    let database = event.database()?;
                    database.create_object_store(MODELS, ObjectStoreParams::new())?;
                    database.create_object_store(CHUNKS, ObjectStoreParams::new())?;
                }
                Ok::<_, idb::Error>(())
            };
            if let Err(e) = create() {
                web_sys::console::error_1(&e.to_string().into());
            }
        });
        let mut database: Database = request.await.map_err(unavailable)?;
        let lost = Rc::new(Cell::new(false));
        // A later version of the layout, in another tab, must not have to wait for this one.
        database.on_version_change({
            let lost = Rc::clone(&lost);
            move |event| {
                lost.set(true);
                if let Ok(database) = event.database() {
                    database.close();
                }
            }
        });
        database.on_close({
            let lost = Rc::clone(&lost);
            move |_| lost.set(true)
        });
        Ok(Self { database: Rc::new(Connection { database, blobs: Cell::new(false), lost }) })
    }

    fn begin(&self, stores: &[&str], mode: TransactionMode) -> Result<Transaction> {
        self.database.database.transaction(stores, mode).map_err(|e| {
            self.database.lost.set(true);
            failed("the browser's storage was closed", &e)
        })
    }

    /// Notes where an error is one of the connection.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && LOST.iter().any(|name| e.to_string().contains(name))
        {
            self.database.lost.set(true);
        }
        result
    }

    /// As [`Self::apply_as`]; as bytes where the browser does not store this very piece as a blob.
    async fn apply(&self, id: &str, edit: Edit) -> Result<()> {
        let blobs = &self.database.blobs;
        let put_one = Rc::new(Cell::new(false));
        let applied = self.apply_as(id, Rc::clone(&edit), blobs.get().then(|| Rc::clone(&put_one))).await;
        let applied = match applied {
            Err(e) if put_one.get() && e.code() != Code::QuotaExceeded => {
                let again = self.apply_as(id, edit, None).await;
                blobs.set(again.is_err());
                again
            }
            applied => applied,
        };
        self.noted(applied)
    }

    /// Reads a record and writes what `edit` makes of it, in one transaction; a piece as a blob where `blobs` is to note so.
    async fn apply_as(&self, id: &str, edit: Edit, blobs: Option<Rc<Cell<bool>>>) -> Result<()> {
        let tx = self.begin(&[MODELS, CHUNKS], TransactionMode::ReadWrite)?;
        let models = tx.object_store(MODELS).map_err(writing)?;
        let chunks = tx.object_store(CHUNKS).map_err(writing)?;
        let mut read = models.get(Query::Key(id.into())).map_err(reading)?;
        let raw = IdbTransaction::from(tx);
        let ended = end_of(&raw);
        let (sender, mut receiver) = futures_channel::oneshot::channel();
        let (id, tx) = (id.to_owned(), raw.clone());
        // Within the event: a transaction ends when an event leaves it without a request, and where threads share memory a
        // task that waited for the event runs only later.
        read.on_success(move |event| {
            let record = event.target().and_then(|read| read.result()).map_err(reading);
            let written = record
                .and_then(|record| write(&models, &chunks, &id, edit(record_of(record)?)?, blobs.as_deref()));
            if written.is_err() {
                // One that failed by itself cannot be ended again.
                let _ = tx.abort();
            }
            let _ = sender.send(written); // whoever asked is waiting below
        });
        let committed = ended.await?;
        if let Ok(Some(Err(e))) = receiver.try_recv() {
            return Err(e);
        }
        // Where storage is full, this is where it shows.
        match raw.error() {
            _ if committed => Ok(()),
            Some(exception) => Err(storage_error("storing failed", &exception)),
            None => Err(Error::new(Code::Cache, "the browser broke off storing")),
        }
    }

    /// Reads a piece by this connection, on this thread.
    fn chunk_here(&self, key: JsValue) -> LocalBoxFuture<'static, Result<Option<Chunk>>> {
        let start = || {
            let tx = self.begin(&[CHUNKS], TransactionMode::ReadOnly)?;
            let request = tx.object_store(CHUNKS).and_then(|s| s.get(Query::Key(key)));
            // Its callbacks are set here, before the answer can come.
            Ok::<_, Error>(request.map_err(reading)?.into_future())
        };
        let answer = match start() {
            Ok(answer) => answer,
            Err(e) => return Box::pin(std::future::ready(Err(e))),
        };
        let answer = self.to_its_end(answer);
        let lost = Rc::clone(&self.database.lost);
        Box::pin(async move {
            let read = async {
                let Some(value) = answer.await?.map_err(reading)? else { return Ok(None) };
                match value.dyn_into::<Blob>() {
                    Ok(blob) => bytes_of(&blob).await.map(|bytes| Some(Chunk::from_js(bytes))),
                    Err(value) => Ok(chunk_of(value)),
                }
            };
            let read = read.await;
            // Blobs have failed with the connection that they came by.
            lost.set(lost.get() || read.is_err());
            read
        })
    }

    /// Whether this is Chromium, and a blob comes back from storage as it went there.
    async fn keeps_blobs(&self) -> Result<bool> {
        const PROBE: [u8; 3] = [1, 2, 3];
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        if !js_sys::Reflect::has(&scope.navigator(), &"userAgentData".into()).unwrap_or(false) {
            return Ok(false);
        }
        // No model has an empty id.
        let key: JsValue = Array::of1(&"".into()).into();
        let tx = self.begin(&[CHUNKS], TransactionMode::ReadWrite)?;
        let chunks = tx.object_store(CHUNKS).map_err(writing)?;
        let ended = end_of(&IdbTransaction::from(tx));
        chunks.put(&blob_of(&Uint8Array::from(&PROBE[..]))?.into(), Some(&key)).map_err(writing)?;
        if !ended.await? {
            return Ok(false);
        }
        let found = self.chunk_here(key.clone()).await?;
        let tx = self.begin(&[CHUNKS], TransactionMode::ReadWrite)?;
        tx.object_store(CHUNKS).and_then(|s| s.delete(Query::Key(key))).map_err(writing)?;
        end_of(&IdbTransaction::from(tx)).await?;
        let mut bytes = Vec::new();
        if let Some(chunk) = found {
            chunk.read(&mut bytes);
        }
        Ok(bytes == PROBE)
    }

    /// Runs to its end though nobody may want the result any more: a request that was sent calls back, and whoever takes
    /// the call has to live until then.
    fn to_its_end<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
    ) -> LocalBoxFuture<'static, Result<T>> {
        let (sender, receiver) = futures_channel::oneshot::channel();
        let connection = Rc::clone(&self.database);
        wasm_bindgen_futures::spawn_local(async move {
            let _ = sender.send(work.await);
            drop(connection);
        });
        Box::pin(receiver.map_err(|_| Error::internal("a request without an answer")))
    }
}

/// Whether a transaction that has just begun is committed, once it has ended. The crate's own future ends with the first
/// request that fails, and what comes after that finds nobody.
fn end_of(tx: &IdbTransaction) -> impl Future<Output = Result<bool>> + use<> {
    let ended = JsFuture::from(Promise::new(&mut |resolve, _| {
        tx.set_oncomplete(Some(&resolve));
        tx.set_onabort(Some(&resolve));
    }));
    async move {
        let event = ended
            .await
            .map_err(|e| Error::internal("a transaction without an end").with_cause(describe(&e)))?;
        Ok(event.unchecked_into::<web_sys::Event>().type_() == "complete")
    }
}

/// Asks for everything that a change writes.
fn write(
    models: &ObjectStore,
    chunks: &ObjectStore,
    id: &str,
    change: Change,
    blobs: Option<&Cell<bool>>,
) -> Result<()> {
    let Change { record, clear, put } = change;
    let cleared = match clear {
        Clear::Nothing => None,
        Clear::Part(n) => Some(Array::of2(&id.into(), &(n as f64).into())),
        Clear::All => Some(Array::of1(&id.into())),
    };
    if let Some(from) = cleared {
        // Arrays sort after numbers and strings: this is past every chunk that begins with `from`.
        let past = from.slice(0, from.length());
        past.push(&Array::new());
        let range = KeyRange::bound(&from, &past, None, Some(true)).map_err(writing)?;
        chunks.delete(range).map_err(writing)?;
    }
    if let Some((key, chunk)) = &put {
        let value = match blobs {
            Some(put_one) => {
                put_one.set(true);
                blob_of(chunk.as_js())?.into()
            }
            None => JsValue::from(chunk.as_js()),
        };
        chunks.put(&value, Some(&key_of(key))).map_err(writing)?;
    }
    let key: JsValue = id.into();
    match &record {
        Some(record) => {
            let value = serde_wasm_bindgen::to_value(record)
                .map_err(|e| Error::internal("a record cannot be stored").with_cause(e.to_string()))?;
            models.put(&value, Some(&key)).map_err(writing)?;
        }
        None => drop(models.delete(Query::Key(key)).map_err(writing)?),
    }
    Ok(())
}

impl Storage for IndexedDb {
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<Record>>> {
        let this = self.clone();
        Box::pin(async move {
            let tx = this.begin(&[MODELS], TransactionMode::ReadOnly)?;
            let request = tx.object_store(MODELS).and_then(|s| s.get_all(None, None)).map_err(reading)?;
            let values = this.noted(request.await.map_err(reading))?;
            let mut records = values.into_iter().map(from_js).collect::<Result<Vec<Record>>>()?;
            records.retain(|r| r.complete || r.stored() > 0);
            records.sort_by(|a, b| b.last_used.total_cmp(&a.last_used));
            Ok(records)
        })
    }

    fn get(&self, id: &str) -> LocalBoxFuture<'static, Result<Option<Record>>> {
        let (this, id) = (self.clone(), id.to_owned());
        Box::pin(async move {
            let tx = this.begin(&[MODELS], TransactionMode::ReadOnly)?;
            this.noted(get_record(&tx, &id).await)
        })
    }

    fn expect_pieces(&self) -> LocalBoxFuture<'static, ()> {
        let this = self.clone();
        let probe = self.to_its_end(async move {
            let keeps = this.keeps_blobs().await.unwrap_or(false);
            this.database.blobs.set(keeps);
        });
        Box::pin(async move {
            let _ = probe.await; // then they are stored the other way
        })
    }

    fn change(&self, id: &str, edit: Edit) -> LocalBoxFuture<'static, Result<()>> {
        let (this, id) = (self.clone(), id.to_owned());
        let applied = self.to_its_end(async move { this.apply(&id, edit).await });
        Box::pin(async move { applied.await? })
    }

    fn chunk(&self, key: &ChunkKey) -> LocalBoxFuture<'static, Result<Option<Chunk>>> {
        let key = key_of(key);
        let elsewhere = READER.with_borrow(|read| {
            let asked = read.as_ref()?.call3(&JsValue::NULL, &DATABASE.into(), &CHUNKS.into(), &key).ok()?;
            Some(JsFuture::from(asked.unchecked_into::<Promise>()))
        });
        let Some(elsewhere) = elsewhere else { return self.chunk_here(key) };
        let this = self.clone();
        Box::pin(async move {
            match elsewhere.await {
                Ok(value) => Ok(chunk_of(value)),
                Err(_) => this.chunk_here(key).await,
            }
        })
    }

    fn is_lost(&self) -> bool {
        self.database.lost.get()
    }

    fn room(&self) -> LocalBoxFuture<'static, Option<Room>> {
        Box::pin(async {
            let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
            let estimate = JsFuture::from(scope.navigator().storage().estimate().ok()?).await.ok()?;
            let estimate: StorageEstimate = estimate.unchecked_into();
            Some(Room { usage: estimate.get_usage()? as u64, quota: estimate.get_quota()? as u64 })
        })
    }
}

fn blob_of(bytes: &Uint8Array) -> Result<Blob> {
    let blob = Blob::new_with_u8_array_sequence(&Array::of1(bytes));
    blob.map_err(|e| Error::new(Code::Cache, "storing failed").with_cause(describe(&e)))
}

async fn bytes_of(blob: &Blob) -> Result<Uint8Array> {
    let buffer = JsFuture::from(blob.array_buffer()).await.map_err(|e| {
        Error::new(Code::Cache, "reading the browser's storage failed").with_cause(describe(&e))
    })?;
    Ok(Uint8Array::new(buffer.unchecked_ref::<ArrayBuffer>()))
}

/// What a request for a piece found; `undefined`: there is none.
fn chunk_of(found: JsValue) -> Option<Chunk> {
    found.dyn_into::<Uint8Array>().ok().map(Chunk::from_js)
}

fn key_of(key: &ChunkKey) -> JsValue {
    Array::of3(&key.id.as_str().into(), &(key.part as f64).into(), &key.index.into()).into()
}

async fn get_record(tx: &Transaction, id: &str) -> Result<Option<Record>> {
    let key = Query::Key(id.into());
    let request = tx.object_store(MODELS).and_then(|s| s.get(key)).map_err(reading)?;
    request.await.map_err(reading)?.map(from_js).transpose()
}

/// What a request for a record found; `undefined`: there is none.
fn record_of(found: JsValue) -> Result<Option<Record>> {
    if found.is_undefined() { Ok(None) } else { from_js(found).map(Some) }
}

fn from_js(value: JsValue) -> Result<Record> {
    serde_wasm_bindgen::from_value(value).map_err(|e| {
        Error::new(Code::Cache, "the cache's list of models is damaged; clear this site's data")
            .with_cause(e.to_string())
    })
}

fn reading(e: idb::Error) -> Error {
    failed("reading the browser's storage failed", &e)
}

fn writing(e: idb::Error) -> Error {
    failed("storing failed", &e)
}

fn failed(what: &str, e: &idb::Error) -> Error {
    match e {
        idb::Error::DomException(exception) => storage_error(what, exception),
        // The names of the others carry an exception, if at all, in their text.
        other if other.to_string().contains("QuotaExceeded") => {
            quota_exceeded("").with_cause(other.to_string())
        }
        other => Error::new(Code::Cache, what).with_cause(other.to_string()),
    }
}

fn storage_error(what: &str, exception: &DomException) -> Error {
    let cause = format!("{}: {}", exception.name(), exception.message());
    match exception.name().as_str() {
        "QuotaExceededError" => quota_exceeded("").with_cause(cause),
        _ => Error::new(Code::Cache, what).with_cause(cause),
    }
}
