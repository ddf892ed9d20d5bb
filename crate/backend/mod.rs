//! What runs a plan. A backend knows nothing of Qwen; a model knows nothing of a device.

pub mod cpu;
pub mod webgpu;

use std::future::ready;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::plan::state::{PageCopy, PageId};
use crate::plan::{Batch, BufferId, Plan, RowSet, WeightId};
use crate::sampler::Sampler;

/// Which backend, where that has to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    Cpu,
    WebGpu,
}

impl BackendKind {
    pub fn as_str(self) -> &'static str {
        match self {
            BackendKind::Cpu => "cpu",
            BackendKind::WebGpu => "webgpu",
        }
    }
}

/// What a user may want to know of the backend in use.
#[derive(Debug, Clone)]
pub struct BackendInfo {
    pub kind: BackendKind,
    /// The adapter's own description, or the instruction set in use.
    pub adapter: String,
    /// Optional features in use.
    pub features: Vec<String>,
    /// Threads of this machine's CPU that compute; with a GPU that is one.
    pub n_threads: usize,
}

/// How much a prepared plan has to take at once.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// Rows a run.
    pub max_rows: usize,
    /// Rows with logits a run.
    pub max_outputs: usize,
    /// Sequences a run.
    pub max_sequences: usize,
    /// Pages of state in the pool.
    pub n_pages: usize,
    /// Gives every buffer memory of its own, so that `read_buffer` can show any of them.
    pub keep_buffers: bool,
}

impl RunLimits {
    /// Lines that a buffer of these rows needs.
    pub fn lines(&self, rows: RowSet) -> usize {
        match rows {
            RowSet::All => self.max_rows,
            RowSet::Output => self.max_outputs,
        }
    }
}

/// Bytes that a prepared plan holds once every page of state is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    pub weights: u64,
    /// Keys and values of the whole context.
    pub kv: u64,
    /// Activations, tables, what goes to the device and comes back.
    pub scratch: u64,
}

impl Footprint {
    pub fn total(&self) -> u64 {
        self.weights + self.kv + self.scratch
    }
}

/// What runs cost since the counters were last taken; a CPU has no dispatches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStats {
    pub weight_bytes_read: u64,
    pub dispatches: u64,
    pub submits: u64,
    pub pipelines_created: u64,
    pub bind_groups_created: u64,
    pub buffers_created: u64,
    pub bytes_written: u64,
    pub bytes_read_back: u64,
}

/// How long dispatches of one kernel with so many workgroups took on the GPU, together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DispatchTime {
    pub kernel: &'static str,
    pub groups: u64,
    pub n: u64,
    pub seconds: f64,
}

/// Runs plans. The order of calls is `prepare`, `upload` of every weight, `finish_upload`, then runs.
pub trait Backend {
    fn info(&self) -> &BackendInfo;

    /// Allocates weights, state and scratch, and makes whatever a run needs. Afterwards a run allocates nothing. What a
    /// device finds out later, `finish_upload` reports.
    fn prepare(&mut self, plan: Arc<Plan>, limits: RunLimits) -> LocalBoxFuture<'_, Result<()>>;

    /// Takes whole rows of a weight, `first_row` on, in the file's own layout. Rows come in order and once.
    fn upload(&mut self, weight: WeightId, first_row: u32, bytes: &[u8]) -> Result<()>;

    /// Waits until what is queued at the call is done, so that a fast source does not pile up copies.
    fn flush(&mut self) -> LocalBoxFuture<'static, Result<()>>;

    /// After the last upload: waits for it and reports what failed on the way (GPU memory above all).
    fn finish_upload(&mut self) -> LocalBoxFuture<'_, Result<()>>;

    /// Starts a run. It may still be under way on return; a later call sees its effects.
    fn run(&mut self, batch: &Batch<'_>) -> Result<()>;

    /// Waits until the runs started so far are done.
    fn finished(&mut self) -> LocalBoxFuture<'static, Result<()>> {
        Box::pin(ready(Ok(())))
    }

    /// Tells how tokens are to be chosen from now on, in `sampler`'s place, and gives how many choices may be under way
    /// at once; 0: this backend leaves choosing to its caller.
    fn start_choosing(&mut self, _sampler: &Sampler) -> Result<usize> {
        Ok(0)
    }

    /// Starts a run with one row of logits, and chooses a token from them, as the sampler's draw number `draw`. A later
    /// batch means that token by [`Row::CHOSEN`]. After [`Backend::start_choosing`] only.
    fn run_and_choose(&mut self, _batch: &Batch<'_>, _draw: u32) -> Result<()> {
        Err(Error::internal("this backend leaves choosing to its caller"))
    }

    /// The oldest choice that was not taken yet.
    fn choice(&mut self) -> LocalBoxFuture<'_, Result<u32>> {
        Box::pin(ready(Err(Error::internal("this backend leaves choosing to its caller"))))
    }

    /// Forgets the choices that are under way. What the runs write to the state, they still write.
    fn stop_choosing(&mut self) {}

    /// The logits of the last run, `[output rows, n_vocab]`, into `out` (resized to fit).
    fn read_logits<'a>(&'a mut self, out: &'a mut Vec<f32>) -> LocalBoxFuture<'a, Result<()>>;

    /// Any buffer after a run prepared with [`RunLimits::keep_buffers`]: `[rows, width]`.
    fn read_buffer(&mut self, id: BufferId) -> LocalBoxFuture<'_, Result<Vec<f32>>>;

    /// Copies a page of every layer's state.
    fn copy_page(&mut self, copy: PageCopy) -> Result<()>;

    /// A page of every layer's state as bytes, and back. The bytes mean something only to a backend prepared with the
    /// same plan and kind.
    fn read_page(&mut self, page: PageId) -> LocalBoxFuture<'_, Result<Vec<u8>>>;
    fn write_page(&mut self, page: PageId, bytes: &[u8]) -> Result<()>;

    /// Bytes held for weights, state and scratch.
    fn memory_bytes(&self) -> u64;

    /// The counters since the last call.
    fn take_stats(&mut self) -> RunStats;

    /// Times of dispatches since the last call, where the backend was told to take them.
    fn take_times(&mut self) -> Vec<DispatchTime> {
        Vec::new()
    }
}
