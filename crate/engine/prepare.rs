//! Which backend a model runs on, with how much context, and making it ready.
//!
//! A GPU is checked while the weights arrive. Where the check fails, the load begins anew with safer kernels or on the CPU:
//! what a download has stored by then is not fetched again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::LocalBoxFuture;

use super::fit::{self, GpuLimits, Machine, Subject};
use super::{BackendChoice, Kernels, LoadOptions, Precision, SelfCheck};
use crate::backend::cpu::CpuBackend;
use crate::backend::webgpu::{Room, WebGpuBackend, WebGpuOptions};
use crate::backend::{Backend, BackendKind, RunLimits};
use crate::check::{self as selfcheck, Found};
use crate::error::{Code, Error, Result};
use crate::model::Model;
use crate::plan::Plan;
use crate::plan::state::PAGE_TOKENS;
use crate::threads::Pool;

/// The context of a load that does not ask for one.
const DEFAULT_CONTEXT: u32 = 4096;
/// Rows of a prefill run, at most: enough to use each weight often, few enough to stay responsive. A large GPU needs more
/// to be busy; the session gives it as many as it does in little time.
const MAX_ROWS: usize = 128;
const MAX_GPU_ROWS: usize = 512;
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
pub(super) fn run_limits(context_length: u32, backend: BackendKind) -> RunLimits {
    RunLimits {
        max_rows: match backend {
            BackendKind::Cpu => MAX_ROWS,
            // A short context has no use for as many.
            BackendKind::WebGpu => MAX_GPU_ROWS.min((context_length as usize).next_multiple_of(MAX_ROWS)),
        },
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

/// Why a load ends before there is an engine.
pub(super) enum Stop {
    /// For good.
    Error(Error),
    /// The GPU computes wrongly, or fails, with the kernels that it was prepared for: with safer ones, or on the CPU, it may
    /// go on.
    Suspect(Suspect),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Kernels of a GPU that failed the check, and how.
#[derive(Debug)]
pub struct Suspect {
    kernels: Kernels,
    why: String,
}

impl Kernels {
    fn safer(self) -> Option<Self> {
        match self {
            Self::Rounded => Some(Self::Exact),
            Self::Exact => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// What is to be prepared, and how.
pub(super) struct Wish<'a> {
    pub(super) options: &'a LoadOptions,
    pub(super) plan: &'a Arc<Plan>,
    /// To find out whether a GPU computes what it should, and how fast.
    pub(super) trials: Result<Trials>,
    pub(super) trained_context: u32,
    pub(super) context: u32,
}

/// A GPU as a load finds it; `None` where it is not asked for.
pub(super) type Gpu = Option<Result<WebGpuBackend>>;

/// Opens the GPU, which needs to know nothing of the model.
pub(super) async fn open_gpu(options: &LoadOptions) -> Gpu {
    if options.backend == BackendChoice::Cpu {
        return None;
    }
    let rounded = options.precision != Precision::Exact;
    Some(WebGpuBackend::new(WebGpuOptions { rounded, profile: options.profile, ..Default::default() }).await)
}

/// The backend to use.
pub(super) enum Choice {
    Cpu {
        why: String,
    },
    /// With room for the weights already.
    WebGpu(Target),
}

/// A backend that takes weights, and why it was chosen.
pub(super) struct Target {
    backend: On,
    why: String,
    /// Whether a GPU that fails may be left for safer kernels, or, where the user leaves the choice, for the CPU.
    may_begin_anew: bool,
    may_leave: bool,
}

enum On {
    Cpu(Box<CpuBackend>),
    WebGpu(Box<WebGpuBackend>, Check),
}

/// Whether a GPU computes what it should.
enum Check {
    /// It is being found out for these kernels; those of the model are made afterwards.
    Pending(Kernels, LocalBoxFuture<'static, Result<Found>>),
    Passed(SelfCheck),
}

impl Wish<'_> {
    /// What surely cannot fit is refused here, before the weights. A GPU's check begins, and goes on while they arrive; that
    /// of a suspect one is done here, so that no load begins a third time.
    pub(super) async fn choose(&self, gpu: Gpu, suspect: Option<Suspect>) -> Result<Choice, Stop> {
        let asked = self.options.backend;
        let why = match gpu {
            None => "the CPU was asked for".to_owned(),
            Some(opened) => match self.webgpu(opened, suspect).await {
                Ok(target) => return Ok(Choice::WebGpu(target)),
                Err(Stop::Error(error)) if asked != BackendChoice::WebGpu => {
                    format!("WebGPU is not used: {error}")
                }
                Err(stop) => return Err(stop),
            },
        };
        self.check_fit(BackendKind::Cpu, None)?;
        Ok(Choice::Cpu { why })
    }

    fn limits(&self, backend: BackendKind) -> RunLimits {
        RunLimits { keep_buffers: self.options.keep_buffers, ..run_limits(self.context, backend) }
    }

    fn check_fit(&self, backend: BackendKind, gpu: Option<GpuLimits>) -> Result<()> {
        let Some(machine) = &self.options.machine else { return Ok(()) };
        let subject = Subject { plan: self.plan, trained_context: self.trained_context, to_store: None };
        fit::check(subject, backend, self.context, &Machine { gpu, ..machine.clone() }, &self.options.others)
    }

    async fn webgpu(&self, opened: Result<WebGpuBackend>, suspect: Option<Suspect>) -> Result<Target, Stop> {
        let mut backend = Box::new(opened?);
        let (adapter, software) = (backend.info().adapter.clone(), backend.is_software());
        let asked = self.options.backend;
        if asked == BackendChoice::Auto && software {
            let message = format!("the adapter \"{adapter}\" is a software one, slower than the CPU path");
            return Err(Error::new(Code::NoWebgpu, message).into());
        }
        let Room { binding, buffer, .. } = backend.room();
        self.check_fit(
            BackendKind::WebGpu,
            Some(GpuLimits {
                adapter,
                software,
                max_buffer_size: buffer,
                max_storage_buffer_binding_size: binding,
            }),
        )?;
        let trials = self.trials.as_ref().map_err(|e| Error::new(e.code(), e.to_string()))?;
        let miniature = &trials.miniature;
        let may_begin_anew = suspect.is_none();
        let suspect = match suspect {
            Some(suspect) => Some(suspect),
            None => self.race(&mut backend, trials, software).await?,
        };
        let check = match suspect {
            Some(suspect) => Check::Passed(in_turn(&mut backend, miniature, suspect).await?),
            None => {
                let rounds = backend.rounds();
                let kernels = if rounds.any() { Kernels::Rounded } else { Kernels::Exact };
                let (mut tried, miniature) = (backend.beside(selfcheck::splits), miniature.clone());
                let check = async move { selfcheck::check(&mut tried, &miniature, rounds).await };
                Check::Pending(kernels, Box::pin(check))
            }
        };
        backend.allocate(self.plan, self.limits(BackendKind::WebGpu))?;
        // Before anything is compiled, for which the answer would wait.
        backend.allocated().await?;
        if matches!(check, Check::Passed(_)) {
            backend.make_kernels()?;
        }
        let may_leave = asked != BackendChoice::WebGpu;
        let why = if may_leave { "a WebGPU adapter is available" } else { "WebGPU was asked for" };
        let mut target =
            Target { backend: On::WebGpu(backend, check), why: why.to_owned(), may_begin_anew, may_leave };
        target.meanwhile(selfcheck::turn()).await?;
        Ok(target)
    }
}

impl Wish<'_> {
    /// Finds out what to round; where the device fails at that, what is suspect.
    async fn race(
        &self,
        backend: &mut WebGpuBackend,
        trials: &Trials,
        software: bool,
    ) -> Result<Option<Suspect>> {
        // On software adapters rounding was found to be faster, and trials would take seconds.
        if self.options.precision != Precision::Auto || software {
            return Ok(None);
        }
        match backend.race(&trials.decode, &trials.prefill).await {
            Ok(()) => Ok(None),
            Err(e) if matches!(e.code(), Code::Gpu | Code::DeviceLost) => {
                Ok(Some(Suspect { kernels: Kernels::Rounded, why: e.to_string() }))
            }
            Err(e) => Err(e),
        }
    }
}

/// Checks kernels safer than those that failed, one after the other, each on a new device: nobody knows what the last one
/// still does.
async fn in_turn(backend: &mut WebGpuBackend, miniature: &Arc<Plan>, suspect: Suspect) -> Result<SelfCheck> {
    let Suspect { mut kernels, why } = suspect;
    let mut last = Error::new(Code::NoWebgpu, why.clone());
    let mut failed = vec![why];
    loop {
        kernels = match kernels.safer() {
            Some(safer) => safer,
            None => return Err(last),
        };
        let options = WebGpuOptions { plain: kernels == Kernels::Plain, ..Default::default() };
        *backend = WebGpuBackend::new(options).await?;
        let rounds = backend.rounds();
        let mut tried = backend.beside(selfcheck::splits);
        match selfcheck::check(&mut tried, miniature, rounds).await {
            Ok(found) => return Ok(passed(backend, kernels, found, failed)),
            Err(error) => {
                failed.push(error.to_string());
                last = error;
            }
        }
    }
}

fn passed(backend: &mut WebGpuBackend, kernels: Kernels, found: Found, mut failed: Vec<String>) -> SelfCheck {
    if let Some(wrong) = found.wrong_choice {
        failed.push(wrong);
        backend.leave_choosing();
    }
    SelfCheck { relative_error: found.relative_error, kernels, failed }
}

impl Choice {
    /// Makes room where there is none yet.
    pub(super) async fn prepare(self, wish: &Wish<'_>) -> Result<Target> {
        let why = match self {
            Self::WebGpu(target) => return Ok(target),
            Self::Cpu { why } => why,
        };
        let pool = match &wish.options.start_threads {
            Some(start) => start().await?,
            None => Pool::alone(),
        };
        let mut backend = Box::new(CpuBackend::new(pool));
        backend.prepare(wish.plan.clone(), wish.limits(BackendKind::Cpu)).await?;
        Ok(Target { backend: On::Cpu(backend), why, may_begin_anew: false, may_leave: false })
    }
}

impl Target {
    pub(super) fn backend(&mut self) -> &mut dyn Backend {
        match &mut self.backend {
            On::Cpu(backend) => backend.as_mut(),
            On::WebGpu(backend, _) => backend.as_mut(),
        }
    }

    /// Waits while the check goes on.
    pub(super) async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Stop> {
        let mut wait = pin!(wait);
        poll_fn(|context| match self.poll_check(context) {
            Poll::Ready(Err(stop)) => Poll::Ready(Err(stop)),
            Poll::Ready(Ok(())) | Poll::Pending => wait.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Ready where there is nothing more to find out.
    fn poll_check(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let On::WebGpu(backend, check) = &mut self.backend else { return Poll::Ready(Ok(())) };
        let Check::Pending(kernels, pending) = check else { return Poll::Ready(Ok(())) };
        let kernels = *kernels;
        match ready!(pending.as_mut().poll(context)) {
            Ok(found) => *check = Check::Passed(passed(backend, kernels, found, Vec::new())),
            Err(e) if e.code() == Code::NoWebgpu => {
                return Poll::Ready(Err(Stop::Suspect(Suspect { kernels, why: e.to_string() })));
            }
            Err(e) => return Poll::Ready(Err(self.stop(e))),
        }
        Poll::Ready(backend.make_kernels().map_err(|e| self.stop(e)))
    }

    /// What an error before there is an engine means: a device that fails has failed its check, and one that ran out of
    /// memory after all may be left.
    pub(super) fn stop(&self, error: Error) -> Stop {
        let On::WebGpu(_, check) = &self.backend else { return Stop::Error(error) };
        let kernels = match check {
            Check::Pending(kernels, _) => *kernels,
            Check::Passed(check) => check.kernels,
        };
        let kernels = match error.code() {
            Code::Gpu | Code::DeviceLost => kernels,
            // No others need less.
            Code::OutOfMemory if self.may_leave => Kernels::Plain,
            _ => return Stop::Error(error),
        };
        if !self.may_begin_anew {
            return Stop::Error(error);
        }
        Stop::Suspect(Suspect { kernels, why: error.to_string() })
    }

    /// After the last weight.
    pub(super) async fn finish(mut self) -> Result<Ready, Stop> {
        poll_fn(|context| self.poll_check(context)).await?;
        if let Err(error) = self.backend().finish_upload().await {
            return Err(self.stop(error));
        }
        let why = self.why;
        Ok(match self.backend {
            On::Cpu(backend) => Ready { backend, why, self_check: None },
            On::WebGpu(backend, Check::Passed(check)) => Ready { backend, why, self_check: Some(check) },
            On::WebGpu(_, Check::Pending(..)) => return Err(Error::internal("a GPU was not checked").into()),
        })
    }
}

/// A backend that can run.
pub(super) struct Ready {
    pub(super) backend: Box<dyn Backend>,
    /// Why it was chosen.
    pub(super) why: String,
    pub(super) self_check: Option<SelfCheck>,
}
