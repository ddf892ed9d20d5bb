//! Whether a model fits.

use std::rc::Rc;

use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob};

use super::load::parts_of;
use super::{from_js, to_error, to_js};
use crate::engine::fit::{Candidate, FitOptions, Machine, Subject, WASM_BYTES, fit};
use crate::engine::read_header;
use crate::error::{Code, Error, Result};
use crate::model::{Model, Outline};
use crate::source::{CacheMode, Manner, Opener, Policy, Request, World, world};

/// Bytes of a file to ask for first: a header with Qwen's vocabulary has 6 MB.
const HEAD: u64 = 8 << 20;

/// `WireFit` of `pkg/src/wire.ts`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FitRequest {
    /// What the model is, where a catalogue tells; else its header is read from the source.
    outline: Option<Outline>,
    source: Option<Request>,
    transfer: Policy,
    /// Size of the file, where the catalogue has it.
    bytes: Option<u64>,
    /// Bytes that the cache has already; none where it is not to be used.
    stored: Option<u64>,
    options: FitOptions,
    machine: Machine,
    others: Vec<Candidate>,
}

/// Whether a model fits. Reads at most the header of `source`, for which `files` and `fetcher` are as for a load.
#[wasm_bindgen]
pub async fn fits(
    request: JsValue,
    files: Vec<Blob>,
    signal: AbortSignal,
    fetcher: Option<Function>,
) -> Result<JsValue, JsValue> {
    let judge = async {
        let FitRequest { outline, source, transfer, bytes, stored, options, machine, others } =
            from_js(request)?;
        let (model, total) = match (outline, source) {
            (Some(outline), _) => {
                let bytes = bytes.unwrap_or_else(|| outline.file_bytes());
                (Model::from_outline(&outline)?, Some(bytes))
            }
            (None, Some(source)) => {
                let world = world(files, source.file_names(), fetcher, &signal);
                read_model(&source, transfer, &world).await?
            }
            (None, None) => return Err(Error::invalid_argument("there is no model to judge")),
        };
        let subject = Subject {
            plan: &model.plan,
            trained_context: model.config.context_length,
            to_store: stored.zip(total).map(|(stored, total)| total.saturating_sub(stored)),
        };
        let machine = Machine { wasm: Some(WASM_BYTES), ..machine };
        to_js(&fit(subject, options, &machine, &others)?)
    };
    judge.await.map_err(to_error)
}

/// What a header says, and the size of the file or files. Nothing is stored.
async fn read_model(source: &Request, policy: Policy, world: &World) -> Result<(Model, Option<u64>)> {
    let mut head = Some(HEAD);
    loop {
        let manner = Manner { cache: CacheMode::Off, evict: false, policy, head };
        let opener = Opener::new(source.clone(), manner, world.clone(), Rc::new(|_| ())).await?;
        match read_header(&mut parts_of(Rc::new(opener))).await {
            // A longer header than most: what follows is asked for too, up to all of it.
            Err(e) if e.code() == Code::TruncatedFile && head.is_some() => {
                head = head.map(|n| 8 * n).filter(|&n| n < 1 << 30);
            }
            read => return read,
        }
    }
}
