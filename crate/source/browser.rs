//! Small things that every source of the browser needs.

use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Code, Error};

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
