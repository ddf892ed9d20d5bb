//! Whether a model fits, before its weights are fetched: what it needs by the backends' own reckoning, what there is as
//! far as a browser says, and what would fit instead.

use std::iter::successors;

use serde::{Deserialize, Serialize};

use super::api::{BackendChoice, bytes_text};
use super::prepare::{context_length, run_limits};
use crate::backend::webgpu::{self, Room};
use crate::backend::{BackendKind, Footprint, cpu};
use crate::error::{Code, Error, Result};
use crate::model::{Model, Outline};
use crate::plan::Plan;

/// The most that WebAssembly's memory of 32 bits can grow to.
pub const WASM_BYTES: u64 = 1 << 32;
/// WebAssembly memory beside the backend's: tokenizer, template, chunks on their way. 54 to 59 MB were measured with
/// Qwen's vocabulary.
const RUNTIME_BYTES: u64 = 60_000_000;
/// What the check of a GPU takes on top, for the weights of a small model: with it 56 to 67 MB were measured.
const CHECK_BYTES: u64 = 10_000_000;
/// iOS is known to end tabs somewhere between 1 and 1.5 GB.
const IOS_TAB_BYTES: u64 = 1_000_000_000;
/// `navigator.deviceMemory` says at most 8 GiB; from there on it is no limit.
const DEVICE_MEMORY_CAP: u64 = 8 << 30;
/// WebGPU's alignment of bindings, where the device has not said a smaller one.
const BINDING_ALIGNMENT: u64 = 256;
/// A context shorter than this is no suggestion.
const SHORTEST_CONTEXT: u32 = 512;

/// What there is, as far as a browser says. What is left out is unknown, and limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    pub gpu: Option<GpuLimits>,
    /// Most bytes of WebAssembly memory; none natively.
    pub wasm: Option<u64>,
    /// Bytes free in the browser's storage.
    pub storage: Option<u64>,
    /// The browser's hint, in bytes.
    pub device_memory: Option<u64>,
    pub phone: Option<Phone>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phone {
    Ios,
    Android,
}

/// A WebGPU adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuLimits {
    pub adapter: String,
    /// A CPU in disguise, which [`BackendChoice::Auto`] passes over.
    pub software: bool,
    pub max_buffer_size: u64,
    pub max_storage_buffer_binding_size: u64,
}

impl GpuLimits {
    fn room(&self) -> Room {
        let (binding, buffer) = (self.max_storage_buffer_binding_size, self.max_buffer_size);
        Room { binding, buffer, align: BINDING_ALIGNMENT }
    }
}

/// Another model that could be loaded instead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Candidate {
    pub id: String,
    pub outline: Outline,
}

/// A model to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub plan: &'a Plan,
    pub trained_context: u32,
    /// Bytes that storage still has to take; unknown where the server does not say.
    pub to_store: Option<u64>,
}

/// How it is to be loaded.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FitOptions {
    pub backend: BackendChoice,
    pub context_length: Option<u32>,
    /// A model that cannot be kept must not be loaded.
    pub must_store: bool,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Needs {
    #[serde(flatten)]
    pub footprint: Footprint,
    /// WebAssembly memory: on the CPU the model is in it.
    pub wasm: u64,
    /// GPU memory.
    pub gpu: u64,
    /// Storage, beside what is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<u64>,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub limit: Limit,
    /// Browsers do not tell this limit; it may be otherwise.
    pub guess: bool,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// What the model was trained for.
    Context,
    /// There is no WebGPU.
    Webgpu,
    GpuBuffer,
    WasmMemory,
    TabMemory,
    Storage,
}

impl Limit {
    fn code(self) -> Code {
        match self {
            Limit::Context => Code::InvalidArgument,
            Limit::Webgpu => Code::NoWebgpu,
            Limit::GpuBuffer | Limit::WasmMemory | Limit::TabMemory => Code::OutOfMemory,
            Limit::Storage => Code::QuotaExceeded,
        }
    }
}

/// What would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Suggestion {
    Context {
        context_length: u32,
    },
    Backend {
        backend: BackendKind,
    },
    /// Of the catalogue.
    Model {
        id: String,
    },
    /// Free so many bytes, or do without the cache.
    Storage {
        bytes: u64,
    },
}

impl Suggestion {
    fn text(&self) -> String {
        match self {
            Suggestion::Context { context_length } => format!("use a context of {context_length} tokens"),
            Suggestion::Backend { backend } => format!("use the backend \"{}\"", backend.as_str()),
            Suggestion::Model { id } => format!("load {id}, which fits"),
            Suggestion::Storage { bytes } => {
                format!("delete {} of stored models, or load without the cache", bytes_text(*bytes))
            }
        }
    }
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fit {
    pub fits: bool,
    /// Whether it does not fit is a guess: a load is tried all the same.
    pub guess: bool,
    pub backend: BackendKind,
    pub context_length: u32,
    pub needs: Needs,
    pub has: Machine,
    /// Whether storage can keep it; unknown where the browser or the server does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeps: Option<bool>,
    /// All of it in a sentence or two.
    pub why: String,
    pub problems: Vec<Problem>,
    pub suggestions: Vec<Suggestion>,
}

/// A model on one backend.
#[derive(Debug)]
struct Case {
    backend: BackendKind,
    needs: Needs,
    problems: Vec<Problem>,
}

impl Machine {
    /// What a tab may take in all: a guess, and where it comes from.
    fn tab(&self) -> Option<(u64, &'static str)> {
        if self.phone == Some(Phone::Ios) {
            return Some((IOS_TAB_BYTES, "iOS is known to end tabs that take more"));
        }
        let memory = self.device_memory.filter(|&bytes| bytes < DEVICE_MEMORY_CAP)?;
        Some((memory / 2, "half of what this device says it has"))
    }
}

impl Case {
    fn new(subject: Subject<'_>, backend: BackendKind, context: u32, machine: &Machine) -> Result<Self> {
        let limits = run_limits(context, backend);
        let mut problems = Vec::new();
        let mut problem = |limit, guess, text| problems.push(Problem { limit, guess, text });
        if context > subject.trained_context {
            let text = format!(
                "a context of {context} tokens is asked for, and the model was trained for {}",
                subject.trained_context
            );
            problem(Limit::Context, false, text);
        }
        let (footprint, wasm, gpu) = match backend {
            BackendKind::Cpu => {
                let footprint = cpu::footprint(subject.plan, limits)?;
                (footprint, footprint.total() + RUNTIME_BYTES, 0)
            }
            BackendKind::WebGpu => {
                let boundless = Room { binding: u64::MAX, buffer: u64::MAX, align: BINDING_ALIGNMENT };
                let footprint = webgpu::footprint(subject.plan, limits, boundless)?;
                match &machine.gpu {
                    None => problem(Limit::Webgpu, false, "there is no WebGPU adapter".to_owned()),
                    Some(gpu) => {
                        if let Err(e) = webgpu::footprint(subject.plan, limits, gpu.room()) {
                            problem(Limit::GpuBuffer, false, e.message());
                        }
                    }
                }
                (footprint, RUNTIME_BYTES + CHECK_BYTES, footprint.total())
            }
        };
        if let Some(most) = machine.wasm.filter(|&most| wasm > most) {
            let text = format!("WebAssembly has at most {} of memory", bytes_text(most));
            problem(Limit::WasmMemory, false, text);
        }
        if let Some((most, why)) = machine.tab().filter(|&(most, _)| wasm + gpu > most) {
            let text = format!("a tab here may have about {} at most ({why})", bytes_text(most));
            problem(Limit::TabMemory, true, text);
        }
        let needs = Needs { footprint, wasm, gpu, storage: subject.to_store };
        Ok(Self { backend, needs, problems })
    }

    fn fits(&self) -> bool {
        self.problems.is_empty()
    }

    fn surely_not(&self) -> bool {
        self.problems.iter().any(|p| !p.guess)
    }

    /// "1.2 GB on the CPU: weights 0.6 GB, …".
    fn needs_text(&self, context: u32) -> String {
        let Footprint { weights, kv, scratch } = self.needs.footprint;
        format!(
            "{} on {} (weights {}, context of {context} tokens {}, scratch {})",
            bytes_text(self.needs.wasm + self.needs.gpu),
            match self.backend {
                BackendKind::Cpu => "the CPU",
                BackendKind::WebGpu => "WebGPU",
            },
            bytes_text(weights),
            bytes_text(kv),
            bytes_text(scratch),
        )
    }
}

/// Judges a model. `others` are looked through for one that would fit instead, in their order.
///
/// # Errors
/// `invalid-model` where the plan is one that no backend takes.
pub fn fit(
    subject: Subject<'_>,
    options: FitOptions,
    machine: &Machine,
    others: &[Candidate],
) -> Result<Fit> {
    let context = wanted_context(subject, options);
    let mut case = choose(subject, options.backend, context, machine)?;
    let keeps = subject.to_store.zip(machine.storage).map(|(needs, has)| needs <= has);
    let short = subject.to_store.unwrap_or(0).saturating_sub(machine.storage.unwrap_or(u64::MAX));
    let storage = || {
        format!(
            "the browser's storage has {} left, and the file takes {}",
            bytes_text(machine.storage.unwrap_or(0)),
            bytes_text(subject.to_store.unwrap_or(0))
        )
    };
    if options.must_store && keeps == Some(false) {
        case.problems.push(Problem { limit: Limit::Storage, guess: false, text: storage() });
    }
    let mut suggestions = Vec::new();
    if !case.fits() {
        suggestions = suggest(subject, options, case.backend, context, machine, others)?;
        if keeps == Some(false) && options.must_store {
            suggestions.insert(0, Suggestion::Storage { bytes: short });
        }
    }
    let mut why = verdict(&case, context, &suggestions);
    if keeps == Some(false) && !options.must_store {
        why.push_str(&format!(" It runs without being kept: {}.", storage()));
        suggestions.push(Suggestion::Storage { bytes: short });
    }
    Ok(Fit {
        fits: case.fits(),
        guess: !case.fits() && !case.surely_not(),
        backend: case.backend,
        context_length: context,
        needs: case.needs,
        has: machine.clone(),
        keeps,
        why,
        problems: case.problems,
        suggestions,
    })
}

/// Refuses what surely does not fit, with the text of [`fit`]. What is only guessed is tried.
///
/// # Errors
/// The code of the limit that is in the way.
pub(super) fn check(
    subject: Subject<'_>,
    backend: BackendKind,
    context: u32,
    machine: &Machine,
    others: &[Candidate],
) -> Result<()> {
    let mut case = Case::new(subject, backend, context, machine)?;
    case.problems.retain(|p| !p.guess);
    let Some(first) = case.problems.first() else { return Ok(()) };
    let code = first.limit.code();
    let wish = match backend {
        BackendKind::Cpu => BackendChoice::Cpu,
        BackendKind::WebGpu => BackendChoice::WebGpu,
    };
    let options = FitOptions { backend: wish, context_length: Some(context), must_store: false };
    let suggestions = suggest(subject, options, backend, context, machine, others)?;
    Err(Error::new(code, verdict(&case, context, &suggestions)))
}

fn wanted_context(subject: Subject<'_>, options: FitOptions) -> u32 {
    options.context_length.unwrap_or_else(|| context_length(subject.trained_context, None).unwrap_or(1))
}

/// As a load chooses: the GPU where it can, unless it is none.
fn choose(subject: Subject<'_>, wish: BackendChoice, context: u32, machine: &Machine) -> Result<Case> {
    let case = |backend| Case::new(subject, backend, context, machine);
    match wish {
        BackendChoice::Cpu => case(BackendKind::Cpu),
        BackendChoice::WebGpu => case(BackendKind::WebGpu),
        BackendChoice::Auto if machine.gpu.as_ref().is_some_and(|gpu| !gpu.software) => {
            let gpu = case(BackendKind::WebGpu)?;
            if gpu.surely_not() { case(BackendKind::Cpu) } else { Ok(gpu) }
        }
        BackendChoice::Auto => case(BackendKind::Cpu),
    }
}

fn suggest(
    subject: Subject<'_>,
    options: FitOptions,
    backend: BackendKind,
    context: u32,
    machine: &Machine,
    others: &[Candidate],
) -> Result<Vec<Suggestion>> {
    let mut found = Vec::new();
    if !Case::new(subject, backend, context, machine)?.fits() {
        let halves = successors(Some(1u32 << 22), |n| Some(n / 2)).take_while(|&n| n >= SHORTEST_CONTEXT);
        let mut shorter: Vec<u32> = halves.chain([subject.trained_context]).collect();
        shorter.retain(|&n| n < context && n <= subject.trained_context);
        shorter.sort_unstable_by(|a, b| b.cmp(a));
        for n in shorter {
            if Case::new(subject, backend, n, machine)?.fits() {
                found.push(Suggestion::Context { context_length: n });
                break;
            }
        }
        let on_cpu = Case::new(subject, BackendKind::Cpu, context, machine)?;
        if backend == BackendKind::WebGpu && on_cpu.fits() {
            found.push(Suggestion::Backend { backend: BackendKind::Cpu });
        }
    }
    for other in others {
        let model = Model::from_outline(&other.outline)?;
        let trained_context = model.config.context_length;
        let alternative = Subject { plan: &model.plan, trained_context, to_store: None };
        let context =
            context.min(wanted_context(alternative, FitOptions { context_length: None, ..options }));
        let case = choose(alternative, options.backend, context, machine)?;
        let stored =
            !options.must_store || machine.storage.is_none_or(|has| other.outline.file_bytes() <= has);
        if case.fits() && stored {
            found.push(Suggestion::Model { id: other.id.clone() });
            break;
        }
    }
    Ok(found)
}

fn verdict(case: &Case, context: u32, suggestions: &[Suggestion]) -> String {
    let needs = case.needs_text(context);
    if case.fits() {
        return format!("it needs {needs}");
    }
    let problems: Vec<&str> = case.problems.iter().map(|p| p.text.as_str()).collect();
    let verb = if case.surely_not() { "does not fit" } else { "may not fit" };
    let mut text = format!("the model {verb}: {}; it needs {needs}", problems.join("; "));
    if !suggestions.is_empty() {
        let ways: Vec<String> = suggestions.iter().map(Suggestion::text).collect();
        text.push_str(&format!(". To go on: {}", ways.join(", or ")));
    }
    text
}

#[cfg(test)]
mod tests;
