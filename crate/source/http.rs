//! Requests by the browser's `fetch`, in the worker, or by a function of the caller's, on the page.

use futures_util::future::LocalBoxFuture;
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, AbortSignal, Headers, ReadableStreamDefaultReader, ReadableStreamReadResult,
    ReferrerPolicy, RequestCache, RequestInit, Response, WorkerGlobalScope,
};

use super::browser::{aborted, describe};
use super::download::host;
use super::world::{Ask, Body, Reply, Transport};
use crate::error::{Code, Error, Result};

pub(crate) struct Http {
    pub(crate) signal: AbortSignal,
    /// Makes the requests in place of `fetch`.
    pub(crate) fetcher: Option<Function>,
}

impl Http {
    async fn send(&self, ask: Ask<'_>) -> Result<Reply> {
        if self.signal.aborted() {
            return Err(aborted());
        }
        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let mut headers = ask.headers.to_vec();
        if let Some((from, to)) = ask.range {
            // In this form a range needs no preflight.
            let to = to.map_or(String::new(), |to| (to - 1).to_string());
            headers.push(("Range".into(), format!("bytes={from}-{to}")));
        }
        let abort = Abort::after(&self.signal)?;
        let sent = match &self.fetcher {
            None => fetch(&scope, ask.url, &headers, &abort.signal())?,
            Some(fetcher) => call(fetcher, ask.url, &headers, &abort.signal())
                .unwrap_or_else(|thrown| Promise::reject(&thrown)),
        };
        let response = match JsFuture::from(sent).await {
            Ok(response) => response,
            Err(_) if self.signal.aborted() => return Err(aborted()),
            Err(e) => return Err(unreachable(&scope, host(ask.url), &e)),
        };
        let response: Response = response.unchecked_into();
        let reader = response.body().map(|body| body.get_reader().unchecked_into());
        Ok(Reply {
            status: response.status(),
            headers: entries(&response.headers()),
            body: Box::new(Streamed {
                reader,
                signal: self.signal.clone(),
                piece: Vec::new(),
                _abort: abort,
            }),
        })
    }
}

impl Transport for Http {
    fn ask<'a>(&'a self, ask: Ask<'a>) -> LocalBoxFuture<'a, Result<Reply>> {
        Box::pin(self.send(ask))
    }

    fn asks_freely(&self) -> bool {
        self.fetcher.is_none()
    }
}

/// Ends one request when it is dropped, or when the load is cancelled.
pub(super) struct Abort {
    controller: AbortController,
    signal: AbortSignal,
    listener: Closure<dyn Fn()>,
}

impl Abort {
    pub(super) fn after(signal: &AbortSignal) -> Result<Self> {
        let internal = |e: JsValue| Error::internal("a request cannot be made").with_cause(describe(&e));
        let controller = AbortController::new().map_err(internal)?;
        let listener = Closure::new({
            let controller = controller.clone();
            move || controller.abort()
        });
        signal
            .add_event_listener_with_callback("abort", listener.as_ref().unchecked_ref())
            .map_err(internal)?;
        Ok(Self { controller, signal: signal.clone(), listener })
    }

    pub(super) fn signal(&self) -> AbortSignal {
        self.controller.signal()
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        let listener = self.listener.as_ref().unchecked_ref();
        let _ = self.signal.remove_event_listener_with_callback("abort", listener); // it is there
        self.controller.abort();
    }
}

/// A body as it arrives.
struct Streamed {
    /// None: there is no body.
    reader: Option<ReadableStreamDefaultReader>,
    signal: AbortSignal,
    piece: Vec<u8>,
    _abort: Abort,
}

impl Streamed {
    async fn read(&mut self) -> Result<usize> {
        self.piece.clear();
        let Some(reader) = &self.reader else { return Ok(0) };
        while self.piece.is_empty() {
            let read = match JsFuture::from(reader.read()).await {
                Ok(read) => read.unchecked_into::<ReadableStreamReadResult>(),
                Err(_) if self.signal.aborted() => return Err(aborted()),
                Err(e) => return Err(Error::new(Code::Network, describe(&e))),
            };
            if read.get_done().unwrap_or(false) {
                return Ok(0);
            }
            let bytes: Uint8Array = read.get_value().unchecked_into();
            self.piece.resize(bytes.length() as usize, 0);
            bytes.copy_to(&mut self.piece);
        }
        Ok(self.piece.len())
    }
}

impl Body for Streamed {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<usize>> {
        Box::pin(self.read())
    }

    fn bytes(&self) -> &[u8] {
        &self.piece
    }
}

fn fetch(
    scope: &WorkerGlobalScope,
    url: &str,
    headers: &[(String, String)],
    signal: &AbortSignal,
) -> Result<Promise> {
    let init = RequestInit::new();
    init.set_signal(Some(signal));
    // The browser's own cache would keep a second copy, and a page's address is no business of a model's host.
    init.set_cache(RequestCache::NoStore);
    init.set_referrer_policy(ReferrerPolicy::NoReferrer);
    let fields = Headers::new().map_err(|e| Error::internal("no headers").with_cause(describe(&e)))?;
    for (name, value) in headers {
        fields.set(name, value).map_err(|e| {
            Error::invalid_argument(format!("headers: {name:?} cannot be sent")).with_cause(describe(&e))
        })?;
    }
    init.set_headers(fields.as_ref());
    Ok(scope.fetch_with_str_and_init(url, &init))
}

/// Asks the caller's own function, which takes plain objects.
fn call(
    fetcher: &Function,
    url: &str,
    headers: &[(String, String)],
    signal: &AbortSignal,
) -> std::result::Result<Promise, JsValue> {
    let (init, fields) = (Object::new(), Object::new());
    for (name, value) in headers {
        Reflect::set(&fields, &name.into(), &value.into())?;
    }
    Reflect::set(&init, &"headers".into(), &fields)?;
    Reflect::set(&init, &"signal".into(), signal)?;
    Ok(fetcher.call2(&JsValue::NULL, &url.into(), &init)?.unchecked_into())
}

fn entries(headers: &Headers) -> Vec<(String, String)> {
    let pair = |entry: JsValue| {
        let entry: Array = entry.unchecked_into();
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    // Their names are in lower case.
    headers.entries().into_iter().filter_map(|entry| pair(entry.ok()?.unchecked_into())).collect()
}

fn unreachable(scope: &WorkerGlobalScope, host: &str, cause: &JsValue) -> Error {
    let message = if scope.navigator().on_line() {
        format!(
            "no answer from {host}: it is down or unreachable, does not let this page read it (CORS), or the page's \
             Content-Security-Policy (connect-src) forbids it; or download the file and open it from disk"
        )
    } else {
        format!("this device is offline; connect it to load from {host}, or use a model from the cache")
    };
    Error::new(Code::Network, message).with_cause(describe(cause))
}
