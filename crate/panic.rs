//! What the page is told before a panic stops the instance.
#![allow(unreachable_pub, reason = "exports to JavaScript are public and nothing in Rust names them")]

use std::cell::RefCell;

use js_sys::Function;
use wasm_bindgen::prelude::*;

thread_local! {
    static ON_PANIC: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Call first: a panic is told to `on_panic` before it stops the instance for good.
#[wasm_bindgen]
pub fn start(on_panic: Function) {
    ON_PANIC.set(Some(on_panic));
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let told = ON_PANIC.take().map(|f| f.call1(&JsValue::NULL, &info.to_string().into()));
        if let Some(Err(e)) = told {
            web_sys::console::error_1(&e);
        }
    }));
}
