//! One writer a model: a Web Lock, held across all tabs and workers of the origin.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use super::browser::{aborted, describe};
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
pub(crate) struct Lock {
    /// None where the browser has no locks.
    release: Option<Function>,
}

impl Lock {
    /// Takes the lock if nobody has it. `None`: somebody has.
    pub(crate) async fn try_acquire(name: &str) -> Result<Option<Self>> {
        let options = Object::new();
        set(&options, "ifAvailable", &JsValue::TRUE);
        Self::request(name, &options).await
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// `aborted`, by the signal.
    pub(crate) async fn acquire(name: &str, signal: &AbortSignal) -> Result<Self> {
        let options = Object::new();
        set(&options, "signal", signal);
        match Self::request(name, &options).await {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(Error::internal("a lock that was waited for was not given")),
            Err(_) if signal.aborted() => Err(aborted()),
            Err(e) => Err(e),
        }
    }

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
