//! The models in the browser's storage.

use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use super::{go_on, to_error, to_js};
use crate::error::{Code, Error, Result};
use crate::source::{self, Record, delete, evict, locks, storage, verify};

/// `CachedModel` of `pkg/src/types.ts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CachedModel {
    id: String,
    name: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    complete: bool,
    created: f64,
    last_used: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sha256: Vec<String>,
}

impl From<Record> for CachedModel {
    fn from(r: Record) -> Self {
        Self {
            bytes: r.stored(),
            total: r.total(),
            complete: r.is_whole(0),
            sha256: r.parts.iter().filter_map(|p| p.sha256.clone()).collect(),
            id: r.id,
            name: r.name,
            created: r.created,
            last_used: r.last_used,
        }
    }
}

fn models(records: Vec<Record>) -> Result<JsValue> {
    to_js(&records.into_iter().map(CachedModel::from).collect::<Vec<_>>())
}

/// Has pieces of models read by `read(database, store, key)`, which gives a promise of the value: by another worker.
#[wasm_bindgen]
pub fn use_reader(read: Function) {
    source::use_reader(read);
}

/// The models in the browser's storage, last used first.
#[wasm_bindgen]
pub async fn cache_list() -> Result<JsValue, JsValue> {
    let list = async { models(storage().await?.list().await?) };
    list.await.map_err(to_error)
}

/// Removes a model from the browser's storage; false where there is none of this id.
#[wasm_bindgen]
pub async fn cache_delete(id: String) -> Result<bool, JsValue> {
    let delete = async { delete(storage().await?.as_ref(), &id).await };
    delete.await.map_err(to_error)
}

/// Removes the least recently used models until so many bytes are freed, or none is left; returns those removed. What a tab
/// is storing stays.
#[wasm_bindgen]
pub async fn cache_evict(bytes: f64) -> Result<JsValue, JsValue> {
    let evict = async {
        let (storage, locks) = (storage().await?, locks()?);
        models(evict(storage.as_ref(), bytes.max(0.0) as u64, &locks).await?)
    };
    evict.await.map_err(to_error)
}

/// `Verified` of `pkg/src/types.ts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    ok: bool,
    bytes: u64,
    damaged_bytes: u64,
    sha256: Vec<Option<String>>,
}

/// Reads a model once more and compares it with what was stored.
#[wasm_bindgen]
pub async fn cache_verify(id: String, signal: AbortSignal) -> Result<JsValue, JsValue> {
    let verify = async {
        let check = || match go_on(&signal) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(Error::new(Code::Aborted, "the caller cancelled")),
        };
        let found = verify(storage().await?.as_ref(), &id, &check).await?;
        let ok = found.damaged == 0;
        to_js(&Verified { ok, bytes: found.bytes, damaged_bytes: found.damaged, sha256: found.sha256 })
    };
    verify.await.map_err(to_error)
}
