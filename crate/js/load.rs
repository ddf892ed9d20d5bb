//! Loading and downloading.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use futures_util::lock::Mutex;
use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob};

use super::progress::Meter;
use super::{Info, Model, from_js, go_on, to_error, to_js, turn};
use crate::engine::fit::{Candidate, Machine, WASM_BYTES};
use crate::engine::{BackendChoice, Engine, LoadOptions, OpenPart, Precision, Progress, read_through};
use crate::error::Result;
use crate::source::{CacheMode, Manner, Notice, Opener, Origin, Policy, Request, Source, with_opener, world};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransferRequest {
    source: Request,
    cache: CacheMode,
    evict: bool,
    transfer: Policy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadRequest {
    #[serde(flatten)]
    transfer: TransferRequest,
    options: LoadRequestOptions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadRequestOptions {
    backend: BackendChoice,
    precision: Precision,
    context_length: Option<u32>,
    /// Models to suggest in place of one that does not fit.
    others: Vec<Candidate>,
}

/// What the page hands over beside a request.
struct Means {
    /// Those of a `files` source.
    files: Vec<Blob>,
    signal: AbortSignal,
    on_event: Function,
    /// Makes the requests in place of `fetch`.
    fetcher: Option<Function>,
}

/// Loads a model; `files` are those of a `files` source, `fetcher` makes the requests in place of `fetch`. Aborting the
/// signal ends it with `aborted`.
#[wasm_bindgen]
pub async fn load(
    request: JsValue,
    files: Vec<Blob>,
    signal: AbortSignal,
    on_event: Function,
    fetcher: Option<Function>,
) -> Result<Model, JsValue> {
    let load = async {
        let LoadRequest { transfer, options } = from_js(request)?;
        let options = LoadOptions {
            backend: options.backend,
            precision: options.precision,
            context_length: options.context_length,
            machine: Some(Machine { wasm: Some(WASM_BYTES), ..Machine::default() }),
            others: options.others,
            pause: Some(Rc::new(turn::pause)),
            start_threads: super::threads::starter(),
            ..LoadOptions::default()
        };
        let means = Means { files, signal, on_event, fetcher };
        let suspect = RefCell::default();
        let read = async |open: &mut OpenPart<'_>, on_progress: OnProgress<'_>| {
            Engine::attempt(open, &options, on_progress, &suspect).await
        };
        let (engine, cache_id, from) = through(transfer, means, read).await?;
        let info = Info { engine: engine.info().clone(), cache_id, from };
        Ok(Model { texts: Rc::clone(engine.texts()), engine: Mutex::new(engine), info })
    };
    load.await.map_err(to_error)
}

/// Fetches a model into the cache without loading it, and returns the id that the cache has it under.
#[wasm_bindgen]
pub async fn download(
    request: JsValue,
    files: Vec<Blob>,
    signal: AbortSignal,
    on_event: Function,
    fetcher: Option<Function>,
) -> Result<JsValue, JsValue> {
    let download = async {
        let transfer: TransferRequest = from_js(request)?;
        let means = Means { files, signal, on_event, fetcher };
        let read = async |open: &mut OpenPart<'_>, on_progress: OnProgress<'_>| {
            read_through(open, on_progress).await.map(Some)
        };
        let ((), cache_id, _) = through(transfer, means, read).await?;
        to_js(&cache_id)
    };
    download.await.map_err(to_error)
}

type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Lets `read` have a model's bytes, from the cache or through it; anew where it returns `None`.
async fn through<T>(
    request: TransferRequest,
    means: Means,
    read: impl AsyncFn(&mut OpenPart<'_>, OnProgress<'_>) -> Result<Option<T>>,
) -> Result<(T, Option<String>, Origin)> {
    let TransferRequest { source, cache, evict, transfer: policy } = request;
    let Means { files, signal, on_event, fetcher } = means;
    let world = world(files, source.file_names(), fetcher, &signal);
    let meter = Rc::new(Meter::new(on_event));
    let notify = {
        let meter = Rc::clone(&meter);
        Rc::new(move |notice: Notice| meter.notice(notice))
    };
    let manner = Manner { cache, evict, policy, head: None };
    let run = async |opener: Rc<Opener>| {
        meter.start(&opener);
        let mut open = parts_of(opener);
        let mut on_progress = |progress: Progress| {
            meter.progress(progress);
            go_on(&signal)
        };
        read(&mut open, &mut on_progress).await
    };
    with_opener(source, manner, world, notify, run).await
}

/// The parts of a model, as the engine asks for them.
pub(super) fn parts_of(
    opener: Rc<Opener>,
) -> impl FnMut(usize) -> LocalBoxFuture<'static, Result<Box<dyn Source>>> {
    move |n| {
        let opener = Rc::clone(&opener);
        Box::pin(async move { opener.part(n).await })
    }
}
