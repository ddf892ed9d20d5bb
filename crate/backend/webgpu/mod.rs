//! Runs plans on WebGPU through wgpu: the same code natively (Vulkan, Metal, DX12) and in a browser.
//!
//! Nothing but core WebGPU is required, and its default limits suffice. Everything is made by `prepare`; a run writes
//! one small buffer, records its dispatches and submits once, or a few times where it is long.

mod arrange;
mod batch;
mod device;
mod draft;
mod memory;
mod pipelines;
mod prepare;
#[cfg_attr(target_arch = "wasm32", path = "no_profile.rs")]
mod profile;
mod program;
mod race;
mod run;
mod sampling;
#[cfg(test)]
pub(crate) mod tests;
mod weights;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{LocalBoxFuture, ready};

pub use self::arrange::Room;
use self::batch::Counts;
pub use self::batch::Splits;
use self::device::{Gpu, Reports};
pub use self::memory::footprint;
use self::memory::{Memory, State};
use self::pipelines::Pipelines;
use self::profile::Profile;
pub use self::program::Matvec;
use self::program::Program;
pub(crate) use self::race::Rounds;
use self::sampling::Sampling;
use self::weights::{Progress, Uploader};
use super::{Backend, BackendInfo, BackendKind, DispatchTime, RunLimits, RunStats};
use crate::error::{Code, Error, Result};
use crate::plan::fuse::Step;
use crate::plan::state::{PageCopy, PageId};
use crate::plan::{Batch, BufferId, Plan, Slice, WeightId};
use crate::sampler::Sampler;

/// How to use the GPU. `Default` is what a user who says nothing gets.
#[derive(Debug, Clone, Default)]
pub struct WebGpuOptions {
    /// Keep to the limits that every WebGPU device has.
    pub default_limits: bool,
    /// Split weights into parts whose bindings have at most so many bytes; the device's limit holds anyway.
    pub max_weight_binding: Option<u64>,
    /// One shape of the one-row matrix product for all weights; else the adapter and the weight decide.
    pub matvec: Option<Matvec>,
    /// How many workgroups share the pages of a row; else as many as are fast.
    pub splits: Option<Splits>,
    /// Multiplications of a run to submit at once, about; else as many as any device does in a short time.
    pub max_submission: Option<u64>,
    /// Do several operations in one step though buffers are kept: then only what steps write can be read.
    pub fuse: bool,
    /// Activations may be rounded to bytes for products, where the device multiplies bytes: less exact, and faster.
    pub rounded: bool,
    /// The plainest kernels alone: an operation a step, a thread a row. For devices that compute others wrongly.
    pub plain: bool,
    /// Tokens are chosen by the CPU alone.
    pub no_choosing: bool,
    /// Take the time of every dispatch, natively, where the device tells it.
    pub profile: bool,
    #[cfg(test)]
    pub(crate) spoil: Vec<Damage>,
    /// Kernels as on hardware.
    #[cfg(test)]
    pub(crate) as_hardware: bool,
}

/// What is wrong with a kernel's shader on a device that a test plays.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damage {
    pub(crate) kernel: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// Bytes of weights that may wait in the queue natively before an upload waits for them.
#[cfg(not(target_arch = "wasm32"))]
const MAX_QUEUED_BYTES: u64 = 64 << 20;

/// A GPU, and the plan that it was prepared for.
#[derive(Debug)]
pub struct WebGpuBackend {
    gpu: Gpu,
    info: BackendInfo,
    options: WebGpuOptions,
    /// What activations are rounded for.
    rounds: Rounds,
    pipelines: Rc<RefCell<Pipelines>>,
    prepared: Option<Prepared>,
    stats: Cell<RunStats>,
    profile: Option<Profile>,
}

#[derive(Debug)]
struct Prepared {
    /// What was prepared, its buffers merged.
    plan: Plan,
    /// Where the buffers of the plan before are.
    places: Vec<Slice>,
    /// Up to how many lines of a run a buffer is not written, because steps pass it by.
    passed: Vec<u32>,
    limits: RunLimits,
    memory: Memory,
    steps: Vec<Step>,
    /// `None` until [`WebGpuBackend::make_kernels`].
    program: Option<Program>,
    /// `None` where the vocabulary is not one that it can choose from.
    sampling: Option<Sampling>,
    /// What the device will say of the memory, and of the kernels, until it is asked.
    allocated: Option<Reports>,
    compiled: Option<Reports>,
    progress: Vec<Progress>,
    uploader: Uploader,
    /// Run data of the last run; its allocation is reused.
    words: Vec<u32>,
    last: Counts,
    /// Rows of the smallest table that tokens index.
    n_tokens: u32,
}

impl WebGpuBackend {
    /// Opens the fastest adapter.
    ///
    /// # Errors
    /// `no-webgpu` where there is none.
    pub async fn new(options: WebGpuOptions) -> Result<Self> {
        let gpu = Gpu::request(&options).await?;
        let name = gpu.adapter.name.trim();
        let mut adapter =
            if name.is_empty() { "WebGPU adapter without a name".into() } else { name.to_string() };
        if gpu.adapter.device_type == wgpu::DeviceType::Cpu {
            adapter.push_str(" (software)");
        }
        #[cfg_attr(not(test), expect(unused_mut, reason = "only tests damage kernels"))]
        let mut pipelines = Pipelines::default();
        #[cfg(test)]
        pipelines.spoil.clone_from(&options.spoil);
        let rounded = options.rounded && gpu.has_byte_products && !options.plain;
        let rounds = Rounds { few: rounded, many: rounded };
        let features = rounds.features();
        let info = BackendInfo { kind: BackendKind::WebGpu, adapter, features, n_threads: 1 };
        let pipelines = Rc::new(RefCell::new(pipelines));
        Ok(Self {
            profile: options.profile.then(|| Profile::new(&gpu)).flatten(),
            gpu,
            info,
            options,
            rounds,
            pipelines,
            prepared: None,
            stats: Cell::default(),
        })
    }

    /// Whether the adapter is a CPU in disguise, slower than the CPU backend.
    pub fn is_software(&self) -> bool {
        self.gpu.adapter.device_type == wgpu::DeviceType::Cpu
    }

    /// For which products activations are rounded to bytes.
    pub(crate) fn rounds(&self) -> Rounds {
        self.rounds
    }

    /// From the next plan on tokens are chosen by the CPU alone.
    pub fn leave_choosing(&mut self) {
        self.options.no_choosing = true;
    }

    /// What the device allows of one buffer.
    pub fn room(&self) -> Room {
        Room::of(&self.gpu.device.limits())
    }

    fn count(&self, add: impl FnOnce(&mut RunStats)) {
        let mut stats = self.stats.get();
        add(&mut stats);
        self.stats.set(stats);
    }

    fn prepared(&self) -> Result<&Prepared> {
        self.gpu.check()?;
        self.prepared.as_ref().ok_or_else(not_prepared)
    }
}

fn no_sampling() -> Error {
    Error::internal("this backend leaves choosing to its caller")
}

fn not_prepared() -> Error {
    Error::internal("no plan is prepared")
}

fn check_page(prepared: &Prepared, page: PageId) -> Result<()> {
    if (page.0 as usize) < prepared.limits.n_pages {
        return Ok(());
    }
    Err(Error::internal(format!("page {} of a pool of {}", page.0, prepared.limits.n_pages)))
}

/// Whole f32 values from bytes of any alignment.
fn floats_into(bytes: &[u8], out: &mut Vec<f32>) {
    out.resize(bytes.len() / 4, 0.0);
    bytemuck::cast_slice_mut(out).copy_from_slice(bytes);
}

impl Backend for WebGpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn prepare(&mut self, plan: Arc<Plan>, limits: RunLimits) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.allocate(&plan, limits)?;
            self.make_kernels()
        })
    }

    fn upload(&mut self, weight: WeightId, first_row: u32, bytes: &[u8]) -> Result<()> {
        self.gpu.check()?;
        let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
        let i = weight.0 as usize;
        let (Some(w), Some(progress)) = (p.plan.weights.get(i), p.progress.get_mut(i)) else {
            return Err(Error::internal(format!("weight {i} of {}", p.plan.weights.len())));
        };
        p.uploader.upload(&self.gpu, &p.memory.weights, (weight, w), progress, first_row, bytes)?;
        // In a browser the caller awaits `flush`; natively nothing else bounds what waits.
        #[cfg(not(target_arch = "wasm32"))]
        if p.uploader.queued() > MAX_QUEUED_BYTES {
            p.uploader.take_queued();
            pollster::block_on(self.gpu.idle())?;
        }
        Ok(())
    }

    fn flush(&mut self) -> LocalBoxFuture<'static, Result<()>> {
        match self.prepared.as_mut().map_or(0, |p| p.uploader.take_queued()) {
            0 => Box::pin(ready(self.gpu.check())),
            _ => self.finished(),
        }
    }

    fn finish_upload(&mut self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async {
            let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
            let missing = p.plan.weights.iter().zip(&p.progress).find(|(w, done)| !done.is_complete(w));
            if let Some((weight, _)) = missing {
                return Err(Error::new(
                    Code::InvalidModel,
                    format!("tensor {} was not loaded whole", weight.name),
                ));
            }
            p.progress = Vec::new();
            p.uploader = Uploader::default();
            self.allocated().await?;
            self.compiled().await?;
            self.gpu.idle().await
        })
    }

    fn run(&mut self, batch: &Batch<'_>) -> Result<()> {
        self.submit(batch, None)
    }

    fn finished(&mut self) -> LocalBoxFuture<'static, Result<()>> {
        let gpu = self.gpu.clone();
        let (done, submission) = gpu.on_done();
        Box::pin(async move { gpu.wait(done, Some(submission)).await })
    }

    fn start_choosing(&mut self, sampler: &Sampler) -> Result<usize> {
        self.gpu.check()?;
        let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
        let Some(sampling) = &mut p.sampling else { return Ok(0) };
        let (most, written) = sampling.start(&self.gpu, sampler);
        self.count(|s| s.bytes_written += written);
        Ok(most)
    }

    fn run_and_choose(&mut self, batch: &Batch<'_>, draw: u32) -> Result<()> {
        self.submit(batch, Some(draw))
    }

    fn choice(&mut self) -> LocalBoxFuture<'_, Result<u32>> {
        Box::pin(async {
            self.gpu.check()?;
            let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
            let sampling = p.sampling.as_mut().ok_or_else(no_sampling)?;
            let id = sampling.choice(&self.gpu).await?;
            self.count(|s| s.bytes_read_back += sampling::CHOICE);
            Ok(id)
        })
    }

    fn stop_choosing(&mut self) {
        if let Some(sampling) = self.prepared.as_mut().and_then(|p| p.sampling.as_mut()) {
            sampling.forget();
        }
    }

    fn read_logits<'a>(&'a mut self, out: &'a mut Vec<f32>) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let p = self.prepared()?;
            let line = u64::from(p.plan.buffer(p.plan.logits).width) * 4;
            let bytes = line * u64::from(p.last.outputs);
            out.clear();
            if bytes == 0 {
                return Ok(());
            }
            self.count(|s| s.bytes_read_back += bytes);
            self.gpu.read(&p.memory.readback, bytes, |b| floats_into(b, out)).await
        })
    }

    fn read_buffer(&mut self, id: BufferId) -> LocalBoxFuture<'_, Result<Vec<f32>>> {
        Box::pin(async move {
            let p = self.prepared()?;
            if !p.limits.keep_buffers {
                return Err(Error::internal("buffers share memory: prepare the plan with `keep_buffers`"));
            }
            let Some(&place) = p.places.get(id.0 as usize) else {
                return Err(Error::internal(format!("buffer {} of {}", id.0, p.places.len())));
            };
            let buffer = p.plan.buffer(place.buffer);
            let lines = p.last.lines(buffer.rows);
            if lines <= p.passed[place.buffer.0 as usize] && lines > 0 {
                return Err(Error::internal(format!("{} is passed by in runs like the last", buffer.name)));
            }
            let mut all = Vec::new();
            if lines > 0 {
                let bytes = u64::from(lines) * u64::from(buffer.width) * 4;
                self.read_ranges(&[(p.memory.slot(place.buffer), 0, bytes)], |b| floats_into(b, &mut all))
                    .await?;
            }
            Ok(place.of_lines(&all, buffer.width))
        })
    }

    fn copy_page(&mut self, copy: PageCopy) -> Result<()> {
        let p = self.prepared()?;
        check_page(p, copy.from)?;
        check_page(p, copy.to)?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (buffer, bytes) in p.memory.state.iter().flat_map(State::buffers) {
            let [from, to] = [copy.from, copy.to].map(|page| u64::from(page.0) * bytes);
            encoder.copy_buffer_to_buffer(buffer, from, &p.memory.page, 0, bytes);
            encoder.copy_buffer_to_buffer(&p.memory.page, 0, buffer, to, bytes);
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.count(|s| s.submits += 1);
        Ok(())
    }

    fn read_page(&mut self, page: PageId) -> LocalBoxFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            let p = self.prepared()?;
            check_page(p, page)?;
            let parts = p.memory.state.iter().flat_map(State::buffers);
            let ranges: Vec<_> =
                parts.map(|(buffer, bytes)| (buffer, u64::from(page.0) * bytes, bytes)).collect();
            let mut out = Vec::new();
            self.read_ranges(&ranges, |b| out.extend_from_slice(b)).await?;
            Ok(out)
        })
    }

    fn write_page(&mut self, page: PageId, bytes: &[u8]) -> Result<()> {
        let p = self.prepared()?;
        check_page(p, page)?;
        if bytes.len() as u64 != p.memory.page_bytes() {
            return Err(Error::invalid_argument(format!(
                "a page of this model has {} bytes, not {}",
                p.memory.page_bytes(),
                bytes.len()
            )));
        }
        let mut rest = bytes;
        for (buffer, bytes) in p.memory.state.iter().flat_map(State::buffers) {
            let (now, later) = rest.split_at(bytes as usize);
            self.gpu.queue.write_buffer(buffer, u64::from(page.0) * bytes, now);
            rest = later;
        }
        self.count(|s| s.bytes_written += bytes.len() as u64);
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        self.prepared.as_ref().map_or(0, |p| {
            let sampling = if p.sampling.is_some() { sampling::bytes(&p.plan) } else { 0 };
            p.memory.bytes + p.program.as_ref().map_or(0, |p| p.params.size()) + sampling
        })
    }

    fn take_stats(&mut self) -> RunStats {
        self.stats.take()
    }

    fn take_times(&mut self) -> Vec<DispatchTime> {
        self.profile.as_mut().map(Profile::take).unwrap_or_default()
    }
}
