//! Models in the browser's storage: an IndexedDB database with two object stores.
//!
//! - `models`, key: the model's id. A [`Record`].
//! - `chunks`, key: `[id, part, index]`. Consecutive pieces of [`CHUNK`] bytes of each part (the last one shorter), as
//!   `Uint8Array`.
//!
//! A chunk and the record that counts it are written in one transaction, in order: whatever breaks off, `stored` bytes
//! of a part are there from its start, so that a download can be taken up again. A record is `complete` only once a
//! model was loaded from these very bytes.

mod read;
mod write;

use idb::{
    Database, DatabaseEvent, Factory, KeyRange, ObjectStoreParams, Query, Transaction, TransactionMode,
};
use js_sys::Array;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use web_sys::{DomException, IdbTransaction};

pub(crate) use read::CacheSource;
pub(crate) use write::CacheWriter;

use crate::error::{Code, Error, Result};

const DATABASE: &str = "qwenlet";
/// Of the layout described above.
const VERSION: u32 = 1;
const MODELS: &str = "models";
const CHUNKS: &str = "chunks";
/// Bytes a chunk: few transactions, little memory.
const CHUNK: usize = 8 << 20;

/// What is known of a stored model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) chunk_bytes: u32,
    /// Milliseconds since 1970.
    pub(crate) created: f64,
    pub(crate) last_used: f64,
    pub(crate) complete: bool,
    /// Names the load that writes; another load takes over by putting its own name here.
    writer: String,
    pub(crate) parts: Vec<Part>,
}

/// One file of a stored model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) total: Option<u64>,
    /// Bytes there, from the start.
    pub(crate) stored: u64,
    /// Tells versions of the file apart: ETag, or the time of the last change.
    pub(crate) etag: Option<String>,
}

impl Record {
    /// Bytes in storage.
    pub(crate) fn stored(&self) -> u64 {
        self.parts.iter().map(|p| p.stored).sum()
    }

    /// Bytes of the whole model, where all the parts' sizes are known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.parts.iter().map(|p| p.total).sum()
    }
}

/// An open connection to the database.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
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
                let database = event.database()?;
                database.create_object_store(MODELS, ObjectStoreParams::new())?;
                database.create_object_store(CHUNKS, ObjectStoreParams::new())?;
                Ok::<_, idb::Error>(())
            };
            if let Err(e) = create() {
                web_sys::console::error_1(&e.to_string().into());
            }
        });
        let mut database: Database = request.await.map_err(unavailable)?;
        // A later version of the layout, in another tab, must not have to wait for this one.
        database.on_version_change(|event| {
            if let Ok(database) = event.database() {
                database.close();
            }
        });
        Ok(Self { database })
    }

    /// Every model of which anything is stored, last used first.
    pub(crate) async fn list(&self) -> Result<Vec<Record>> {
        let tx = self.begin(&[MODELS], TransactionMode::ReadOnly)?;
        let request = tx.object_store(MODELS).and_then(|s| s.get_all(None, None)).map_err(reading)?;
        let values = request.await.map_err(reading)?;
        let mut records = values.into_iter().map(from_js).collect::<Result<Vec<Record>>>()?;
        records.retain(|r| r.complete || r.stored() > 0);
        records.sort_by(|a, b| b.last_used.total_cmp(&a.last_used));
        Ok(records)
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Option<Record>> {
        let tx = self.begin(&[MODELS], TransactionMode::ReadOnly)?;
        get_record(&tx, id).await
    }

    /// Notes that a model is being used.
    pub(crate) async fn touch(&self, id: &str) -> Result<()> {
        let tx = self.begin(&[MODELS], TransactionMode::ReadWrite)?;
        if let Some(mut record) = get_record(&tx, id).await? {
            record.last_used = js_sys::Date::now();
            put_record(&tx, &record).await?;
        }
        commit(tx).await
    }

    /// Removes a model; false where there is none.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        let tx = self.begin(&[MODELS, CHUNKS], TransactionMode::ReadWrite)?;
        let existed = get_record(&tx, id).await?.is_some();
        delete_all(&tx, id).await?;
        commit(tx).await?;
        Ok(existed)
    }

    fn begin(&self, stores: &[&str], mode: TransactionMode) -> Result<Transaction> {
        self.database.transaction(stores, mode).map_err(|e| failed("the browser's storage was closed", &e))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.database.close();
    }
}

fn chunk_key(id: &str, part: usize, index: u32) -> JsValue {
    Array::of3(&id.into(), &(part as f64).into(), &index.into()).into()
}

async fn get_record(tx: &Transaction, id: &str) -> Result<Option<Record>> {
    let key = Query::Key(id.into());
    let request = tx.object_store(MODELS).and_then(|s| s.get(key)).map_err(reading)?;
    request.await.map_err(reading)?.map(from_js).transpose()
}

async fn put_record(tx: &Transaction, record: &Record) -> Result<()> {
    let value = serde_wasm_bindgen::to_value(record)
        .map_err(|e| Error::internal("a record cannot be stored").with_cause(e.to_string()))?;
    put(tx, MODELS, &value, &record.id.as_str().into()).await
}

async fn put(tx: &Transaction, store: &str, value: &JsValue, key: &JsValue) -> Result<()> {
    let request = tx.object_store(store).and_then(|s| s.put(value, Some(key))).map_err(writing)?;
    request.await.map_err(writing)?;
    Ok(())
}

async fn delete_all(tx: &Transaction, id: &str) -> Result<()> {
    // Arrays sort after numbers and strings: [id, []] is past every chunk of this model.
    let first = Array::of1(&id.into());
    let past = Array::of2(&id.into(), &Array::new());
    let chunks = KeyRange::bound(&first, &past, None, Some(true)).map_err(writing)?;
    let request = tx.object_store(CHUNKS).and_then(|s| s.delete(chunks)).map_err(writing)?;
    request.await.map_err(writing)?;
    let key = Query::Key(id.into());
    let request = tx.object_store(MODELS).and_then(|s| s.delete(key)).map_err(writing)?;
    request.await.map_err(writing)
}

/// Waits until a transaction is stored. Where storage is full, this is where it shows.
async fn commit(tx: Transaction) -> Result<()> {
    let raw = IdbTransaction::from(tx);
    let outcome = Transaction::from(raw.clone()).await;
    match (outcome, raw.error()) {
        (Ok(result), _) if result.is_committed() => Ok(()),
        (_, Some(exception)) => Err(storage_error("storing failed", &exception)),
        (Err(e), None) => Err(writing(e)),
        (Ok(_), None) => Err(Error::new(Code::Cache, "the browser broke off storing")),
    }
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
            quota_exceeded().with_cause(other.to_string())
        }
        other => Error::new(Code::Cache, what).with_cause(other.to_string()),
    }
}

fn storage_error(what: &str, exception: &DomException) -> Error {
    let cause = format!("{}: {}", exception.name(), exception.message());
    match exception.name().as_str() {
        "QuotaExceededError" => quota_exceeded().with_cause(cause),
        _ => Error::new(Code::Cache, what).with_cause(cause),
    }
}

fn quota_exceeded() -> Error {
    Error::new(
        Code::QuotaExceeded,
        "the browser's storage for this site is full, so this model is not kept; delete other models from the cache or \
         free disk space",
    )
}
