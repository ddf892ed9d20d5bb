//! The browser's side of what downloading and caching need.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Blob, WorkerGlobalScope};
use web_time::Instant;

use super::Source;
use super::blob::BlobSource;
use super::cache::{IndexedDb, Lasting, Storage};
use super::http::Http;
use super::lock::WebLocks;
use super::world::{Clock, Files, World};
use crate::error::{Code, Error, Result};

/// The world as a worker of a page sees it. `files` are those of a `files` request, with their names.
pub(crate) fn world(
    files: Vec<Blob>,
    names: Vec<String>,
    fetcher: Option<Function>,
    signal: &AbortSignal,
) -> World {
    World {
        clock: Rc::new(Timers { signal: signal.clone(), began: Instant::now() }),
        transport: Rc::new(Http { signal: signal.clone(), fetcher }),
        storage: Rc::new(|| Box::pin(connection())),
        locks: Rc::new(WebLocks { signal: signal.clone() }),
        files: Rc::new(Blobs { files, names, signal: signal.clone() }),
    }
}

async fn connection() -> Result<Rc<dyn Storage>> {
    Ok(Rc::new(IndexedDb::open().await?))
}

/// The browser's storage.
///
/// # Errors
/// `cache`, as [`IndexedDb::open`].
pub(crate) async fn storage() -> Result<Rc<dyn Storage>> {
    Lasting::open(Rc::new(|| Box::pin(connection()))).await
}

/// The locks of this origin, for what cannot be cancelled.
pub(crate) fn locks() -> Result<WebLocks> {
    let never = AbortController::new()
        .map_err(|e| Error::internal("a lock cannot be asked for").with_cause(describe(&e)))?;
    Ok(WebLocks { signal: never.signal() })
}

struct Blobs {
    files: Vec<Blob>,
    names: Vec<String>,
    signal: AbortSignal,
}

impl Files for Blobs {
    fn open(&self, n: usize, from: u64) -> Option<Box<dyn Source>> {
        let (file, name) = self.files.get(n).zip(self.names.get(n))?;
        Some(Box::new(BlobSource::new(file.clone(), name, from, &self.signal)))
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, ms: f64) -> i32;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: i32);
}

struct Timers {
    signal: AbortSignal,
    began: Instant,
}

impl Clock for Timers {
    fn now(&self) -> f64 {
        js_sys::Date::now()
    }

    fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    fn random(&self) -> f64 {
        js_sys::Math::random()
    }

    fn sleep(&self, ms: f64) -> LocalBoxFuture<'static, ()> {
        Box::pin(Alarm::new(ms, &self.signal, &[(&self.signal, "abort")]).wait())
    }

    fn online(&self) -> bool {
        scope().navigator().on_line()
    }

    fn until_online(&self, ms: f64) -> LocalBoxFuture<'static, ()> {
        Box::pin(Alarm::new(ms, &self.signal, &[(&self.signal, "abort"), (&scope(), "online")]).wait())
    }

    fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(future);
    }

    fn check(&self) -> Result<()> {
        if self.signal.aborted() { Err(aborted()) } else { Ok(()) }
    }
}

/// Rings after a while, or at the first of some events; silent once it is dropped.
struct Alarm {
    promise: Promise,
    timer: i32,
    events: Vec<(web_sys::EventTarget, &'static str)>,
    ring: Function,
}

impl Alarm {
    fn new(ms: f64, signal: &AbortSignal, events: &[(&web_sys::EventTarget, &'static str)]) -> Self {
        let ring: RefCell<Option<Function>> = RefCell::default();
        let promise = Promise::new(&mut |resolve, _| *ring.borrow_mut() = Some(resolve));
        let ring = ring.take().unwrap_or_else(|| Function::new_no_args(""));
        let ms = if signal.aborted() { 0.0 } else { ms };
        // Longer ones overflow the browser's counter and ring at once.
        let timer = set_timeout(&ring, ms.min(2e9));
        let events: Vec<_> = events.iter().map(|&(target, name)| (target.clone(), name)).collect();
        for (target, name) in &events {
            let _ = target.add_event_listener_with_callback(name, &ring); // a function can always listen
        }
        Self { promise, timer, events, ring }
    }

    async fn wait(self) {
        let _ = JsFuture::from(self.promise.clone()).await; // nothing rejects it
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        clear_timeout(self.timer);
        for (target, name) in &self.events {
            let _ = target.remove_event_listener_with_callback(name, &self.ring); // it was added
        }
    }
}

fn scope() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// The error of a cancelled load.
pub(crate) fn aborted() -> Error {
    Error::new(Code::Aborted, "the load was cancelled")
}

/// A JavaScript exception in words.
pub(crate) fn describe(thrown: &JsValue) -> String {
    if let Some(error) = thrown.dyn_ref::<js_sys::Error>() {
        return format!("{}: {}", String::from(error.name()), String::from(error.message()));
    }
    if let Some(exception) = thrown.dyn_ref::<web_sys::DomException>() {
        return format!("{}: {}", exception.name(), exception.message());
    }
    thrown.as_string().unwrap_or_else(|| format!("{thrown:?}"))
}
