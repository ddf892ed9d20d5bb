//! The few verbs that cross to JavaScript, here and in `js/`; `pkg/src/worker.ts` is their only caller. Values cross as plain objects, errors
//! as `{ code, message, cause? }`.
#![allow(unreachable_pub, reason = "exports to JavaScript are public and nothing in Rust names them")]

mod cache;
mod fit;
mod load;
mod progress;
mod threads;
mod turn;

use std::ops::ControlFlow;
use std::rc::Rc;

use futures_util::lock::Mutex;
use js_sys::Function;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::chat::Part;
use crate::engine::{ChatRequest, Engine, EngineInfo, Event, GenerateOptions, Prompt, Texts, TokenLogprob};
use crate::error::{Error, Result};
use crate::source::Origin;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(flatten)]
    engine: EngineInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_id: Option<String>,
    from: Origin,
}

/// A loaded model. One answer at a time has the engine; others wait for it. What needs its texts alone does not.
#[derive(Debug)]
#[wasm_bindgen]
pub struct Model {
    engine: Mutex<Engine>,
    texts: Rc<Texts>,
    info: Info,
}

#[wasm_bindgen]
impl Model {
    pub fn info(&self) -> Result<JsValue, JsValue> {
        to_js(&self.info).map_err(to_error)
    }

    pub fn backend_bytes(&self) -> f64 {
        self.info.engine.memory_bytes as f64
    }

    /// Answers; events go to `on_event` as they happen. Aborting the signal ends the answer after the current token.
    pub async fn generate(
        &self,
        prompt: JsValue,
        options: JsValue,
        signal: AbortSignal,
        on_event: Function,
    ) -> Result<JsValue, JsValue> {
        let answer = async {
            let prompt: Prompt = from_js(prompt)?;
            let options: GenerateOptions = from_js(options)?;
            let mut engine = self.engine.lock().await;
            let mut on_event = |event: Event| {
                match event {
                    Event::Token { id, text, parts, logprob: Some(logprob) } => {
                        let logprob = self.logprob(id, &logprob);
                        emit(&on_event, &TokenEvent { kind: "token", id, text, parts, logprob });
                    }
                    other => emit(&on_event, &other),
                }
                go_on(&signal)
            };
            let outcome = engine.generate(&prompt, &options, &mut on_event).await?;
            to_js(&outcome)
        };
        answer.await.map_err(to_error)
    }

    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, JsValue> {
        self.texts.tokenize(text, special).map_err(to_error)
    }

    pub fn detokenize(&self, ids: &[u32]) -> Result<String, JsValue> {
        self.texts.detokenize(ids).map_err(to_error)
    }

    pub fn count_tokens(&self, request: JsValue) -> Result<u32, JsValue> {
        from_js(request).and_then(|request: ChatRequest| self.texts.count_tokens(&request)).map_err(to_error)
    }
}

impl Model {
    /// Log-probabilities with what the tokens stand for.
    fn logprob(&self, id: u32, logprob: &TokenLogprob) -> Logprob {
        let of = |id: u32, logprob: f32| {
            let bytes = self.texts.tokenizer().token_bytes(id);
            OneLogprob { token: String::from_utf8_lossy(&bytes).into_owned(), bytes, logprob }
        };
        let top = logprob.top.iter().map(|&(id, logprob)| of(id, logprob)).collect();
        Logprob { chosen: of(id, logprob.logprob), top }
    }
}

/// [`Event::Token`] with log-probabilities in OpenAI's shape.
#[derive(Serialize)]
struct TokenEvent {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u32,
    text: String,
    parts: Vec<Part>,
    logprob: Logprob,
}

#[derive(Serialize)]
struct Logprob {
    #[serde(flatten)]
    chosen: OneLogprob,
    top: Vec<OneLogprob>,
}

#[derive(Serialize)]
struct OneLogprob {
    token: String,
    /// A token may end inside a character: its text then shows U+FFFD, its bytes are whole.
    bytes: Vec<u8>,
    logprob: f32,
}

fn go_on(signal: &AbortSignal) -> ControlFlow<()> {
    if signal.aborted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Hands an event to the caller. A listener that throws is the caller's own trouble, and is shown as such.
fn emit(on_event: &Function, event: &impl Serialize) {
    let told = to_js(event).map_err(to_error).and_then(|value| on_event.call1(&JsValue::NULL, &value));
    if let Err(e) = told {
        web_sys::console::error_1(&e);
    }
}

fn to_js(value: &impl Serialize) -> Result<JsValue> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|e| Error::internal("a value cannot cross to JavaScript").with_cause(e.to_string()))
}

fn from_js<T: for<'a> Deserialize<'a>>(value: JsValue) -> Result<T> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|e| Error::invalid_argument(format!("the request is not of the expected form: {e}")))
}

#[derive(Serialize)]
struct PlainError {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

fn to_error(e: Error) -> JsValue {
    let cause = std::error::Error::source(&e).map(ToString::to_string);
    let plain = PlainError { code: e.code().as_str(), message: e.message(), cause };
    to_js(&plain).unwrap_or_else(|e| JsValue::from_str(&e.to_string()))
}
