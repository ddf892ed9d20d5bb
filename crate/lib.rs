//! Qwen language models inside a browser tab. `ARCHITECTURE.md` is the map; this file only lists the parts.
#![cfg_attr(
    feature = "checks",
    allow(dead_code, unused_imports, reason = "the module of the kernels' tests exports nothing else")
)]

pub mod backend;
pub mod chat;
mod check;
pub mod engine;
pub mod error;
pub mod gguf;
pub mod kernels;
pub mod model;
pub mod plan;
pub mod quant;
pub mod sampler;
mod session;
pub mod source;
#[cfg(any(test, feature = "checks"))]
pub(crate) mod testing;
pub mod threads;
pub mod tokenizer;

// The module of the kernels' tests does without: what nothing exports is not linked, which takes a minute.
#[cfg(all(target_arch = "wasm32", not(feature = "checks")))]
mod js;
#[cfg(target_arch = "wasm32")]
mod panic;

pub use error::{Code, Error, Result};
