//! Threads in a browser: workers that share this instance's memory, started by `pkg/src/threads.ts`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::engine::StartThreads;
use crate::error::{Error, Result};
use crate::threads::{Pool, Shared};

thread_local! {
    static WANTED: RefCell<Option<(u32, Function)>> = const { RefCell::new(None) };
}

/// Says how a CPU backend gets `n` threads, its own included: `start(others, address, module, memory)` gives a promise of
/// how many of the others run.
#[wasm_bindgen]
pub fn use_threads(n: u32, start: Function) {
    WANTED.set(Some((n, start)));
}

pub(super) fn starter() -> Option<StartThreads> {
    let (n, start) = WANTED.take()?;
    // A module without shared memory has one thread whatever is asked for.
    if n < 2 || !cfg!(target_feature = "atomics") {
        return None;
    }
    Some(Rc::new(move || {
        let start = start.clone();
        Box::pin(async move { start_pool(n, &start).await })
    }))
}

async fn start_pool(n: u32, start: &Function) -> Result<Pool> {
    let failed =
        |e: JsValue| Error::internal("threads could not be started").with_cause(crate::source::describe(&e));
    let mut pool = Pool::alone();
    // Never freed: threads end with the worker, and may look at it until then.
    let shared = Arc::into_raw(pool.shared());
    let (others, address) = (JsValue::from(n - 1), JsValue::from(shared as u32));
    let promise: Promise = start
        .call4(&JsValue::NULL, &others, &address, &wasm_bindgen::module(), &wasm_bindgen::memory())
        .map_err(failed)?
        .unchecked_into();
    let started = JsFuture::from(promise).await.map_err(failed)?;
    pool.add_helpers(started.as_f64().unwrap_or(0.0) as usize);
    Ok(pool)
}

/// The pool of an address that `start` was given.
fn pool_at(address: u32) -> &'static Shared {
    // SAFETY: `start_pool` made the address of an Arc that is never dropped.
    unsafe { &*(address as *const Shared) }
}

/// Computes for a pool until the worker ends.
#[wasm_bindgen]
pub fn help(pool: u32) {
    pool_at(pool).help();
}

/// Says that a thread of a pool stopped.
#[wasm_bindgen]
pub fn thread_died(pool: u32) {
    pool_at(pool).break_down();
}
