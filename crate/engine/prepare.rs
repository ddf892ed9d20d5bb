//! Which backend a model runs on, with how much context, and making it ready.

use std::sync::Arc;

use super::fit::{self, GpuLimits, Machine, Subject};
use super::{BackendChoice, Kernels, LoadOptions, Precision, SelfCheck};
use crate::backend::cpu::CpuBackend;
use crate::backend::webgpu::{Room, WebGpuBackend, WebGpuOptions};
use crate::backend::{Backend, BackendKind, RunLimits};
use crate::check as selfcheck;
use crate::error::{Code, Error, Result};
use crate::model::Model;
use crate::plan::Plan;
use crate::plan::state::PAGE_TOKENS;
use crate::threads::Pool;

/// The context of a load that does not ask for one.
const DEFAULT_CONTEXT: u32 = 4096;
/// Rows of a prefill run: enough to use each weight often, few enough to stay responsive.
pub(super) const MAX_ROWS: usize = 128;
/// Rows of a run that can ask for logits.
const MAX_OUTPUTS: usize = crate::session::MAX_LOGIT_ROWS;
/// Sequences of a run.
const MAX_SEQUENCES: usize = 4;

/// The context to use: what is asked for, or a default that most devices have room for.
///
/// # Errors
/// `invalid-argument` for more than the model was trained for.
pub(super) fn context_length(trained: u32, asked: Option<u32>) -> Result<u32> {
    match asked {
        None => Ok(trained.min(DEFAULT_CONTEXT)),
        Some(n) if (1..=trained).contains(&n) => Ok(n),
        Some(n) => Err(Error::invalid_argument(format!(
            "contextLength is {n}; this model takes 1 to {trained} tokens"
        ))),
    }
}

/// What a backend is prepared for.
pub(super) fn run_limits(context_length: u32) -> RunLimits {
    RunLimits {
        max_rows: MAX_ROWS,
        max_outputs: MAX_OUTPUTS,
        max_sequences: MAX_SEQUENCES,
        n_pages: (context_length as usize).div_ceil(PAGE_TOKENS) + 1,
        keep_buffers: false,
    }
}

/// Bytes of weights that decoding is tried with: more than most caches hold.
const TRIED_BYTES: u64 = 32 << 20;

/// Plans to try a GPU with.
pub(super) struct Trials {
    /// Whether it computes what it should.
    miniature: Arc<Plan>,
    /// How fast it decodes, and prefills.
    decode: Arc<Plan>,
    prefill: Arc<Plan>,
}

impl Trials {
    pub(super) fn of(model: &Model) -> Result<Self> {
        Ok(Self {
            miniature: Arc::new(model.miniature()?),
            decode: Arc::new(model.excerpt(TRIED_BYTES)?),
            prefill: Arc::new(model.excerpt(0)?),
        })
    }
}

/// A backend that is ready for weights.
pub(super) struct Prepared {
    pub(super) backend: Box<dyn Backend>,
    /// Why it was chosen.
    pub(super) why: String,
    pub(super) self_check: Option<SelfCheck>,
}

/// The backend to use. What cannot fit is refused here, before the weights; `trials` are to find out whether a GPU
/// computes what it should, and how.
pub(super) async fn prepare(
    options: &LoadOptions,
    plan: &Arc<Plan>,
    trials: Result<Trials>,
    limits: RunLimits,
    trained_context: u32,
    context: u32,
) -> Result<Prepared> {
    let check = |backend, gpu| match &options.machine {
        None => Ok(()),
        Some(machine) => {
            let subject = Subject { plan, trained_context, to_store: None };
            fit::check(subject, backend, context, &Machine { gpu, ..machine.clone() }, &options.others)
        }
    };
    let why = match options.backend {
        BackendChoice::Cpu => "the CPU was asked for".to_owned(),
        choice => match prepare_webgpu(choice, options.precision, plan, trials, limits, &check).await {
            Ok((backend, self_check)) => {
                let why = match choice {
                    BackendChoice::WebGpu => "WebGPU was asked for",
                    _ => "a WebGPU adapter is available",
                };
                return Ok(Prepared { backend, why: why.to_owned(), self_check: Some(self_check) });
            }
            Err(error) if choice == BackendChoice::WebGpu => return Err(error),
            Err(error) => format!("WebGPU is not used: {error}"),
        },
    };
    check(BackendKind::Cpu, None)?;
    let pool = match &options.start_threads {
        Some(start) => start().await?,
        None => Pool::alone(),
    };
    let mut backend = Box::new(CpuBackend::new(pool));
    backend.prepare(plan.clone(), limits).await?;
    Ok(Prepared { backend, why, self_check: None })
}

async fn prepare_webgpu(
    choice: BackendChoice,
    precision: Precision,
    plan: &Arc<Plan>,
    trials: Result<Trials>,
    limits: RunLimits,
    check: &dyn Fn(BackendKind, Option<GpuLimits>) -> Result<()>,
) -> Result<(Box<dyn Backend>, SelfCheck)> {
    let rounded = precision != Precision::Exact;
    let mut backend = Box::new(WebGpuBackend::new(WebGpuOptions { rounded, ..Default::default() }).await?);
    let (adapter, software) = (backend.info().adapter.clone(), backend.is_software());
    if choice == BackendChoice::Auto && software {
        return Err(Error::new(
            Code::NoWebgpu,
            format!("the adapter \"{adapter}\" is a software one, slower than the CPU path"),
        ));
    }
    let Room { binding, buffer, .. } = backend.room();
    check(
        BackendKind::WebGpu,
        Some(GpuLimits {
            adapter,
            software,
            max_buffer_size: buffer,
            max_storage_buffer_binding_size: binding,
        }),
    )?;
    let trials = trials?;
    // On software adapters rounding was found to be faster, and trials would take seconds.
    if precision == Precision::Auto && !backend.is_software() {
        backend.race(&trials.decode, &trials.prefill).await?;
    }
    let mut kernels = if backend.rounds().any() { Kernels::Rounded } else { Kernels::Exact };
    let mut failed = Vec::new();
    let relative_error = loop {
        let rounds = backend.rounds();
        let error = match selfcheck::check(backend.as_mut(), &trials.miniature, rounds).await {
            Ok(found) => {
                if let Some(wrong) = found.wrong_choice {
                    failed.push(wrong);
                    backend.leave_choosing();
                }
                break found.relative_error;
            }
            Err(error) => error,
        };
        kernels = match kernels {
            Kernels::Rounded => Kernels::Exact,
            Kernels::Exact => Kernels::Plain,
            Kernels::Plain => return Err(error),
        };
        failed.push(error.to_string());
        let options = WebGpuOptions { plain: kernels == Kernels::Plain, ..Default::default() };
        backend = Box::new(WebGpuBackend::new(options).await?);
    };
    let verdict = SelfCheck { relative_error, kernels, failed };
    backend.prepare(plan.clone(), limits).await?;
    Ok((backend, verdict))
}
