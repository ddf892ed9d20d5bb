//! Runs plans on the CPU: native, or wasm with `simd128`.
//!
//! Weights are kept once, in the type that the file has, interleaved for wide loads as they arrive. Scratch and
//! activations are allocated by `prepare`, a page of state when a run first touches it; a run allocates nothing else.

mod run;
mod state;

use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{Backend, BackendInfo, BackendKind, Footprint, RunLimits, RunStats};
use crate::error::{Error, Result, ResultExt};
use crate::kernels::attention::tasks::Tasks;
use crate::kernels::matmul::{Activations, Matrix};
use crate::kernels::simd;
use crate::kernels::store_kv::cpu::padded;
use crate::kernels::zeros;
use crate::plan::merge::{Merged, merge};
use crate::plan::state::{PageCopy, PageId};
use crate::plan::{Batch, BufferId, Layout, Op, Plan, RowSet, Slice, WeightId, WeightKind};
use crate::quant;
use crate::threads::Pool;
use state::State;

/// The CPU as a [`Backend`].
#[derive(Debug)]
pub struct CpuBackend {
    info: BackendInfo,
    pool: Rc<Pool>,
    prepared: Option<Prepared>,
    stats: RunStats,
}

/// What a prepared plan holds, without allocating it.
///
/// # Errors
/// `internal` for a weight whose rows are not whole blocks.
pub fn footprint(plan: &Plan, limits: RunLimits) -> Result<Footprint> {
    let plan = &merge(plan).plan;
    let weights = plan.weights.iter().map(|w| match w.kind {
        WeightKind::Matrix => Matrix::bytes_of(w.ty, w.rows as usize, w.cols as usize),
        WeightKind::Vector => Ok(4 * u64::from(w.cols)),
    });
    let layout = if limits.keep_buffers { Layout::separate(plan) } else { Layout::shared(plan, &[]) };
    let slots = layout.slots.iter().map(|slot| 4 * limits.lines(slot.rows) as u64 * u64::from(slot.width));
    let rotations = 2 * 4 * (limits.max_rows * plan.rope.freqs.len()) as u64;
    let activations = Activations::bytes_of(limits.max_rows, widest_input(plan));
    let (width, n_heads) = longest_query(plan);
    let attention = Tasks::bytes_of(limits.max_rows, limits.n_pages, limits.max_sequences, width, n_heads);
    Ok(Footprint {
        weights: weights.sum::<Result<u64>>()?,
        kv: State::new(&plan.layers, limits.n_pages)?.bytes_when_full(),
        scratch: slots.sum::<u64>() + rotations + activations + attention,
    })
}

/// Values of the longest line that a matrix product reads.
fn widest_input(plan: &Plan) -> usize {
    let widths = plan.ops.iter().map(|op| if let Op::MatMul { x, .. } = op { x.width } else { 0 });
    widths.max().unwrap_or(0) as usize
}

/// Values, as attention holds them, and heads of the longest line of queries.
fn longest_query(plan: &Plan) -> (usize, usize) {
    let queries = plan.ops.iter().filter_map(|op| match op {
        Op::Attention { q, n_heads, .. } => {
            let head_dim = padded(q.width.checked_div(*n_heads).unwrap_or(0) as usize);
            Some((head_dim * *n_heads as usize, *n_heads as usize))
        }
        _ => None,
    });
    queries.fold((0, 0), |(width, heads), (w, h)| (usize::max(width, w), usize::max(heads, h)))
}

/// A plan with its memory.
#[derive(Debug)]
struct Prepared {
    plan: Arc<Plan>,
    /// Where each buffer of the plan that was given is in `plan`, which has those merged that products of one input write.
    places: Vec<Slice>,
    pool: Rc<Pool>,
    limits: RunLimits,
    layout: Layout,
    weights: Vec<Weight>,
    /// By slot of the layout.
    scratch: Vec<Vec<f32>>,
    state: State,
    attention: Tasks,
    /// What the last matrix product made of its input, for the next one that reads the same.
    activations: Activations,
    /// What `activations` were made of.
    input: Option<Slice>,
    /// Cosines and sines of the run's positions, `[rows, freqs]` each.
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Rows, and rows with logits, of the last run.
    n_rows: usize,
    n_outputs: usize,
}

#[derive(Debug)]
struct Weight {
    data: WeightData,
    /// Rows that have arrived.
    rows: u32,
}

#[derive(Debug)]
enum WeightData {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

impl Default for CpuBackend {
    fn default() -> Self {
        Self::new(Pool::alone())
    }
}

impl CpuBackend {
    /// Runs on the threads of a pool.
    pub fn new(pool: Pool) -> Self {
        Self {
            info: BackendInfo {
                kind: BackendKind::Cpu,
                adapter: simd::name().to_owned(),
                features: simd::features().map(str::to_owned).collect(),
                n_threads: pool.n_threads(),
            },
            pool: Rc::new(pool),
            prepared: None,
            stats: RunStats::default(),
        }
    }

    fn prepared(&mut self) -> Result<&mut Prepared> {
        self.prepared.as_mut().ok_or_else(|| Error::internal("the CPU backend was not prepared"))
    }
}

impl Prepared {
    fn new(plan: &Plan, limits: RunLimits, pool: Rc<Pool>) -> Result<Self> {
        let Merged { plan, places } = merge(plan);
        let layout = if limits.keep_buffers { Layout::separate(&plan) } else { Layout::shared(&plan, &[]) };
        let scratch = layout
            .slots
            .iter()
            .map(|slot| {
                let rows = limits.lines(slot.rows);
                zeros(rows * slot.width as usize, || format!("{rows} rows of {} activations", slot.width))
            })
            .collect::<Result<_>>()?;
        let weights = plan
            .weights
            .iter()
            .map(|w| {
                let data = match w.kind {
                    WeightKind::Matrix => {
                        WeightData::Matrix(Matrix::new(w.ty, w.rows as usize, w.cols as usize)?)
                    }
                    WeightKind::Vector => {
                        WeightData::Vector(zeros(w.cols as usize, || "a vector".to_owned())?)
                    }
                };
                Ok(Weight { data, rows: 0 })
            })
            .zip(&plan.weights)
            .map(|(weight, w)| weight.context(|| format!("tensor {}", w.name)))
            .collect::<Result<Vec<_>>>()?;
        let (width, n_heads) = longest_query(&plan);
        let n_freqs = plan.rope.freqs.len();
        Ok(Self {
            state: State::new(&plan.layers, limits.n_pages)?,
            attention: Tasks::new(limits.max_rows, limits.n_pages, limits.max_sequences, width, n_heads)?,
            activations: Activations::new(limits.max_rows, widest_input(&plan))?,
            input: None,
            cos: zeros(limits.max_rows * n_freqs, || "rotation tables".to_owned())?,
            sin: zeros(limits.max_rows * n_freqs, || "rotation tables".to_owned())?,
            n_rows: 0,
            n_outputs: 0,
            plan: Arc::new(plan),
            places,
            pool,
            limits,
            layout,
            weights,
            scratch,
        })
    }

    fn upload(&mut self, id: WeightId, first_row: u32, bytes: &[u8]) -> Result<()> {
        let index = id.0 as usize;
        let (Some(w), Some(weight)) = (self.plan.weights.get(index), self.weights.get_mut(index)) else {
            return Err(Error::internal(format!("upload of weight {index} of {}", self.weights.len())));
        };
        let row_bytes = w.ty.row_bytes(u64::from(w.cols)).unwrap_or(0) as usize;
        let n = bytes.len().checked_div(row_bytes).unwrap_or(0);
        if first_row != weight.rows
            || n * row_bytes != bytes.len()
            || first_row as usize + n > w.rows as usize
        {
            return Err(Error::internal(format!(
                "{} bytes at row {first_row} of tensor {}: row {} of {}, {row_bytes} bytes each, comes next",
                bytes.len(),
                w.name,
                weight.rows,
                w.rows
            )));
        }
        match &mut weight.data {
            WeightData::Matrix(matrix) => matrix.write_rows(first_row as usize, bytes)?,
            WeightData::Vector(values) => {
                if n > 0 {
                    quant::decode(w.ty, bytes, values)?;
                }
            }
        }
        weight.rows += n as u32;
        Ok(())
    }

    fn check_uploads(&self) -> Result<()> {
        for (w, weight) in self.plan.weights.iter().zip(&self.weights) {
            if weight.rows != w.rows {
                return Err(Error::internal(format!(
                    "tensor {}: {} of {} rows were uploaded",
                    w.name, weight.rows, w.rows
                )));
            }
        }
        Ok(())
    }

    /// The lines of a buffer after a run.
    fn lines(&self, id: BufferId) -> &[f32] {
        let buffer = self.plan.buffer(id);
        let n = match buffer.rows {
            RowSet::All => self.n_rows,
            RowSet::Output => self.n_outputs,
        };
        &self.scratch[self.layout.slot(id)][..n * buffer.width as usize]
    }

    fn memory_bytes(&self) -> u64 {
        let weights = self.weights.iter().map(|w| match &w.data {
            WeightData::Matrix(m) => m.bytes(),
            WeightData::Vector(v) => size_of_val(v.as_slice()),
        });
        let scratch = self.scratch.iter().chain([&self.cos, &self.sin]);
        let scratch = scratch.map(|s| size_of_val(s.as_slice()));
        let kept = self.activations.bytes() + self.attention.bytes() + self.state.bytes();
        (weights.chain(scratch).sum::<usize>() + kept) as u64
    }
}

impl Backend for CpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn prepare(&mut self, plan: Arc<Plan>, limits: RunLimits) -> LocalBoxFuture<'_, Result<()>> {
        // What was prepared before is given back first: two models need not fit at once.
        self.prepared = None;
        Box::pin(ready(Prepared::new(&plan, limits, Rc::clone(&self.pool)).map(|p| self.prepared = Some(p))))
    }

    fn upload(&mut self, weight: WeightId, first_row: u32, bytes: &[u8]) -> Result<()> {
        self.prepared()?.upload(weight, first_row, bytes)
    }

    fn flush(&mut self) -> LocalBoxFuture<'static, Result<()>> {
        Box::pin(ready(Ok(())))
    }

    fn finish_upload(&mut self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(ready(self.prepared().and_then(|p| p.check_uploads())))
    }

    fn run(&mut self, batch: &Batch<'_>) -> Result<()> {
        let read = self.prepared()?.run(batch)?;
        self.stats.weight_bytes_read += read;
        Ok(())
    }

    fn read_logits<'a>(&'a mut self, out: &'a mut Vec<f32>) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(ready(self.prepared().map(|p| {
            out.clear();
            out.extend_from_slice(p.lines(p.plan.logits));
        })))
    }

    fn read_buffer(&mut self, id: BufferId) -> LocalBoxFuture<'_, Result<Vec<f32>>> {
        Box::pin(ready(self.prepared().and_then(|p| {
            let place = p.places.get(id.0 as usize).filter(|_| p.limits.keep_buffers);
            let Some(place) = place else {
                return Err(Error::internal(format!("buffer {} is not kept", id.0)));
            };
            Ok(place.of_lines(p.lines(place.buffer), p.plan.buffer(place.buffer).width))
        })))
    }

    fn copy_page(&mut self, copy: PageCopy) -> Result<()> {
        self.prepared()?.state.copy(copy)
    }

    fn read_page(&mut self, page: PageId) -> LocalBoxFuture<'_, Result<Vec<u8>>> {
        Box::pin(ready(self.prepared().and_then(|p| p.state.read(page))))
    }

    fn write_page(&mut self, page: PageId, bytes: &[u8]) -> Result<()> {
        self.prepared()?.state.write(page, bytes)
    }

    fn memory_bytes(&self) -> u64 {
        self.prepared.as_ref().map_or(0, Prepared::memory_bytes)
    }

    fn take_stats(&mut self) -> RunStats {
        std::mem::take(&mut self.stats)
    }
}

#[cfg(test)]
mod tests;
