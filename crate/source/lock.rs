//! One writer a model: a Web Lock, held across all tabs and workers of the origin.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::{Either, LocalBoxFuture, pending, select};
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, BroadcastChannel, MessageEvent};

use super::browser::{aborted, describe};
use super::http::Abort;
use super::queue::SILENCE;
use super::world::{Clock, Locks};
use crate::error::{Code, Error, Result};

// web-sys has this interface only behind its flag for unstable ones.
#[wasm_bindgen]
extern "C" {
    type Scope;
    #[wasm_bindgen(method, getter)]
    fn navigator(this: &Scope) -> Navigator;

    type Navigator;
    #[wasm_bindgen(method, getter)]
    fn locks(this: &Navigator) -> Option<LockManager>;

    type LockManager;
    #[wasm_bindgen(method)]
    fn request(this: &LockManager, name: &str, options: &Object, callback: &JsValue) -> Promise;
}

/// A held lock; dropping it lets the next one in. The browser does so too when the worker ends.
struct Lock {
    /// None where the browser has no locks.
    release: Option<Function>,
}

/// The locks of this origin. Whoever holds one may tell the others how far it is.
pub(crate) struct WebLocks {
    pub(crate) signal: AbortSignal,
}

impl Locks for WebLocks {
    fn try_acquire<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Option<Box<dyn Any>>>> {
        Box::pin(async move {
            let options = Object::new();
            set(&options, "ifAvailable", &JsValue::TRUE);
            Ok(Lock::request(name, &options).await?.map(|lock| Box::new(lock) as Box<dyn Any>))
        })
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        on_bytes: &'a dyn Fn(u64, Option<u64>),
    ) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        Box::pin(async move {
            let options = Object::new();
            // Whoever waits no longer must not be given it.
            let abort = Abort::after(&self.signal)?;
            set(&options, "signal", &abort.signal());
            let mut lock = pin!(Lock::request(name, &options));
            let mut reports = Reports::listen(name);
            loop {
                match select(lock.as_mut(), pin!(reports.next())).await {
                    Either::Left((Ok(Some(lock)), _)) => return Ok(Box::new(lock) as Box<dyn Any>),
                    Either::Left((Ok(None), _)) => {
                        return Err(Error::internal("a lock that was waited for was not given"));
                    }
                    Either::Left((Err(_), _)) if self.signal.aborted() => return Err(aborted()),
                    Either::Left((Err(e), _)) => return Err(e),
                    Either::Right(((bytes, total), _)) => on_bytes(bytes, total),
                }
            }
        })
    }

    fn steal<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        Box::pin(async move {
            let options = Object::new();
            set(&options, "steal", &JsValue::TRUE);
            let lock = Lock::request(name, &options).await?;
            Ok(Box::new(lock) as Box<dyn Any>)
        })
    }
}

/// Tells those who wait for a lock how far its holder is.
pub(crate) struct Reporter(Option<Rc<Channel>>);

struct Channel {
    channel: BroadcastChannel,
    last: Cell<(u64, Option<u64>)>,
}

/// Milliseconds between two reports where there is nothing new to tell: those who wait know by it that this tab runs.
const ALIVE: f64 = SILENCE / 6.0;

impl Reporter {
    pub(crate) fn new(name: &str, clock: Rc<dyn Clock>) -> Self {
        let Ok(channel) = BroadcastChannel::new(name) else { return Self(None) };
        let channel = Rc::new(Channel { channel, last: Cell::default() });
        let weak = Rc::downgrade(&channel);
        wasm_bindgen_futures::spawn_local(async move {
            while clock.check().is_ok() {
                clock.sleep(ALIVE).await;
                let Some(channel) = weak.upgrade() else { return };
                channel.send();
            }
        });
        Self(Some(channel))
    }

    pub(crate) fn tell(&self, bytes: u64, total: Option<u64>) {
        if let Some(channel) = &self.0 {
            channel.last.set((bytes, total));
            channel.send();
        }
    }
}

impl Channel {
    fn send(&self) {
        let (bytes, total) = self.last.get();
        let total = total.map_or(JsValue::NULL, |n| (n as f64).into());
        let _ = self.channel.post_message(&Array::of2(&(bytes as f64).into(), &total)); // numbers can be sent
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// What a [`Reporter`] of this name tells.
struct Reports {
    received: mpsc::UnboundedReceiver<(u64, Option<u64>)>,
    channel: Option<BroadcastChannel>,
    _listener: Closure<dyn Fn(MessageEvent)>,
}

impl Reports {
    fn listen(name: &str) -> Self {
        let (sender, received) = mpsc::unbounded();
        let listener = Closure::new(move |event: MessageEvent| {
            let Ok(report) = event.data().dyn_into::<Array>() else { return };
            let Some(bytes) = report.get(0).as_f64() else { return };
            let _ = sender.unbounded_send((bytes as u64, report.get(1).as_f64().map(|n| n as u64))); // or nobody waits
        });
        let channel = BroadcastChannel::new(name).ok();
        if let Some(channel) = &channel {
            channel.set_onmessage(Some(listener.as_ref().unchecked_ref()));
        }
        Self { received, channel, _listener: listener }
    }

    async fn next(&mut self) -> (u64, Option<u64>) {
        match self.received.next().await {
            Some(report) => report,
            None => pending().await,
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            channel.set_onmessage(None);
            channel.close();
        }
    }
}

impl Lock {
    async fn request(name: &str, options: &Object) -> Result<Option<Self>> {
        let scope: Scope = js_sys::global().unchecked_into();
        // Without Web Locks (an insecure context) the writer's token in the store still keeps two writers apart.
        let Some(locks) = scope.navigator().locks() else {
            return Ok(Some(Self { release: None }));
        };
        // The lock is held until the promise that the callback returns settles: `release` settles it.
        let release = Rc::new(RefCell::new(None));
        let mut callback = JsValue::UNDEFINED;
        let given = Promise::new(&mut |resolve, _| {
            let release = Rc::clone(&release);
            callback = Closure::once_into_js(move |lock: JsValue| -> JsValue {
                let held = match lock.is_null() {
                    true => JsValue::UNDEFINED,
                    false => Promise::new(&mut |done, _| *release.borrow_mut() = Some(done)).into(),
                };
                let _ = resolve.call0(&JsValue::NULL); // a promise's resolver does not throw
                held
            });
        });
        let request = JsFuture::from(locks.request(name, options, &callback));
        if let Either::Right((Err(e), _)) = select(JsFuture::from(given), request).await {
            return Err(Error::new(Code::Cache, "the browser refused a lock").with_cause(describe(&e)));
        }
        Ok(release.borrow_mut().take().map(|release| Self { release: Some(release) }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(release) = &self.release {
            let _ = release.call0(&JsValue::NULL); // a promise's resolver does not throw
        }
    }
}

fn set(object: &Object, key: &str, value: &JsValue) {
    let _ = Reflect::set(object, &key.into(), value); // a plain object takes any key
}
