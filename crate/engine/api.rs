//! What goes into an engine and what comes out: options, requests, events, results.

use std::fmt;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::fit::{Candidate, Machine};
use crate::backend::RunStats;
use crate::chat::Part;
use crate::error::Result;
use crate::threads::Pool;

/// Which backend to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// WebGPU where there is an adapter that is not a software one, else the CPU.
    #[default]
    Auto,
    Cpu,
    WebGpu,
}

/// Whether WebGPU may trade activation precision for speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Activations are rounded to 8 bits for products where the device is clearly faster that way, as a trial at load shows.
    #[default]
    Auto,
    /// Activations stay f32.
    Exact,
    /// Activations are rounded wherever weights are quantized, without a trial.
    Rounded,
}

/// Lets the host do other work between steps; a browser worker takes its messages then.
pub type Pause = Rc<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// Makes a pool of threads; natively [`Pool::new`], in a browser threads are workers and take a while to start.
pub type StartThreads = Rc<dyn Fn() -> LocalBoxFuture<'static, Result<Pool>>>;

/// How to load. `Default` is what a user who says nothing gets.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadOptions {
    pub backend: BackendChoice,
    pub precision: Precision,
    /// Tokens of prompt and answer together; at most what the model was trained for. Default: the smaller of that
    /// and 4096.
    pub context_length: Option<u32>,
    /// What there is to run it on: what surely does not fit is refused before its weights are fetched. Default: the load
    /// is tried.
    #[serde(skip)]
    pub machine: Option<Machine>,
    /// Models to suggest in place of one that does not fit.
    #[serde(skip)]
    pub others: Vec<Candidate>,
    /// Keep every activation buffer readable (tests).
    #[serde(skip)]
    pub keep_buffers: bool,
    /// Take the time of every dispatch, natively on WebGPU (benchmarks).
    #[serde(skip)]
    pub profile: bool,
    #[serde(skip)]
    pub pause: Option<Pause>,
    /// Starts the threads of the CPU backend, where that is used. Default: the caller's thread alone.
    #[serde(skip)]
    pub start_threads: Option<StartThreads>,
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("backend", &self.backend)
            .field("precision", &self.precision)
            .field("context_length", &self.context_length)
            .field("keep_buffers", &self.keep_buffers)
            .finish_non_exhaustive()
    }
}

/// How far a load is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub phase: Phase,
    /// Bytes of all parts that have arrived and are in place.
    pub bytes: u64,
    /// Bytes of all parts, where known.
    pub total: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the file's header.
    Header,
    /// Weights arrive and go to the backend.
    Weights,
    /// Pipelines, tokenizer, first run.
    Prepare,
    Ready,
}

/// How WebGPU computes, the fastest way first: who computes wrongly on a device makes room for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernels {
    /// Products of activations rounded to 8 bits.
    Rounded,
    /// Activations stay f32.
    Exact,
    /// An operation a step, a thread a row.
    Plain,
}

/// What a small model gave on the device, beside the plain references.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfCheck {
    /// Of the logits: about 1e-4 where all is well.
    pub relative_error: f64,
    /// Those that are used.
    pub kernels: Kernels,
    /// What faster ones did that are not used because they compute wrongly on this device.
    pub failed: Vec<String>,
}

/// What was loaded, and on what it runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineInfo {
    pub architecture: String,
    pub name: Option<String>,
    /// The type that most of the weights have, as in file names: `Q4_0`, `Q4_K`.
    pub quantization: String,
    pub parameters: u64,
    pub context_length: u32,
    /// What the model was trained for.
    pub trained_context_length: u32,
    pub n_vocab: u32,
    /// `cpu` or `webgpu`.
    pub backend: String,
    pub adapter: String,
    pub features: Vec<String>,
    /// Threads of the CPU that compute.
    pub threads: usize,
    /// Why this backend, in a sentence.
    pub why: String,
    /// On WebGPU: whether the device was found to compute what it should, before the weights came.
    pub self_check: Option<SelfCheck>,
    /// Bytes held for weights, state and scratch.
    pub memory_bytes: u64,
    /// Whether the chat template knows tools and thinking.
    pub supports_tools: bool,
    pub supports_thinking: bool,
}

/// What to answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prompt {
    /// Encoded as it stands, behind the token that the file asks for (`add_bos_token`; Qwen's do not); `<|im_start|>` and
    /// its like in it are ordinary text.
    Text(String),
    Ids(Vec<u32>),
    Chat(ChatRequest),
}

/// Messages in OpenAI's shape, as the model's template takes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatRequest {
    pub messages: Vec<serde_json::Value>,
    pub tools: Option<Vec<serde_json::Value>>,
    /// Further template variables (`enable_thinking`).
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// Default true: the text ends where the assistant's turn begins. False: the answer goes on with the last message,
    /// where that is the assistant's; else the text ends behind it.
    pub add_generation_prompt: Option<bool>,
}

/// What to do when the prompt does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// `context-full`.
    #[default]
    Error,
    /// Oldest turns (not the system message, nor the last turn) are left out, with an event: as many as must be, and up to
    /// a quarter of the context more, so that the next requests of a growing conversation begin like this one, whose state
    /// they then use.
    DropOldest,
}

/// How to answer. What is `None` takes the model's own recommendation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateOptions {
    /// Default: what the context has room for.
    pub max_tokens: Option<u32>,
    /// 0 is greedy: the most likely token, with the penalties that are given here and no recommended ones.
    pub temperature: Option<f32>,
    pub top_k: Option<u32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    /// Token id and what is added to its logit.
    pub logit_bias: Vec<(u32, f32)>,
    /// Default: drawn by the host.
    pub seed: Option<u64>,
    /// The answer ends before any of these.
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    /// Log-probabilities of this many best tokens, beside the chosen one's.
    pub logprobs: Option<u32>,
    pub overflow: Overflow,
}

/// What happens while an answer is made.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    /// `done` of `total` prompt tokens are in the state.
    Prefill { done: u32, total: u32 },
    /// Turns left out to make room.
    Dropped { turns: u32 },
    /// A token was chosen. `text` is what can be shown now: whole characters, never part of a stop string.
    /// In an answer to a [`Prompt::Chat`], `parts` says the same apart: thoughts, text, calls of tools.
    Token { id: u32, text: String, parts: Vec<Part>, logprob: Option<TokenLogprob> },
    /// What was held back until the end.
    Tail { text: String, parts: Vec<Part> },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprob {
    pub logprob: f32,
    /// The best tokens and their log-probabilities, best first.
    pub top: Vec<(u32, f32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens` or the context.
    Length,
    /// The event callback broke off.
    Aborted,
}

/// An answer.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub ids: Vec<u32>,
    pub text: String,
    /// Of an answer to a [`Prompt::Chat`]: its text by what it is, neighbours of a kind joined.
    pub parts: Vec<Part>,
    pub finish: Finish,
    pub prompt_tokens: u32,
    /// Of those, how many were in the state already.
    pub cached_tokens: u32,
    pub stats: GenerateStats,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct GenerateStats {
    pub prefill_seconds: f64,
    pub prefill_tokens: u32,
    pub decode_seconds: f64,
    pub decode_tokens: u32,
    /// Cost of the prefill runs, and of the decode runs.
    #[serde(skip)]
    pub prefill_run: RunStats,
    #[serde(skip)]
    pub run: RunStats,
}

/// A size for a person to read: "1.2 GB".
pub(super) fn bytes_text(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.0} MB", (bytes as f64 / 1e6).max(1.0)),
    }
}
