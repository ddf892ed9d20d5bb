//! What every step of a plan dispatches, before the buffer with the parameters of all of them exists.

mod attend;
mod op;
mod project;

use super::arrange::{Part, Stored};
use super::batch::Counts;
use super::device::buffer_size;
use super::memory::Memory;
use super::program::{Choice, whole};
use crate::error::{Code, Error, Result, ResultExt};
use crate::kernels::shader::{Kernel, LANES};
use crate::plan::fuse::{Fusion, Product, Step};
use crate::plan::{Plan, RowSet, Slice, WeightId};
use crate::quant::GgmlType;
use crate::quant::gpu::Packing;
use attend::Attend;
use project::Projection;

/// Lines up to which a matrix product reads the weight once a line: beyond, the shape that unpacks it for many pays.
pub(super) const FEW_LINES: u32 = 4;

/// A kernel, the formats that it is made for, workgroups in x, lines that a workgroup in y covers, whether a workgroup in
/// z has a share of a row's pages, lines up to which it is taken.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kernel: &'static Kernel,
    pub(super) formats: Vec<GgmlType>,
    pub(super) groups: u32,
    pub(super) lines: u32,
    pub(super) shares: bool,
    pub(super) max_lines: u32,
}

impl Shape {
    fn new(kernel: &'static Kernel, groups: u32) -> Self {
        Self { kernel, formats: Vec::new(), groups, lines: 1, shares: false, max_lines: u32::MAX }
    }

    fn of(self, formats: &[GgmlType]) -> Self {
        Self { formats: formats.to_vec(), ..self }
    }
}

/// Runs that a dispatch takes part in, beside those with too few or too many lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    /// Whether no two rows of the run are of one sequence.
    pub(super) apart: Option<bool>,
    /// Whether the run is more than a few rows, all of one sequence.
    pub(super) tiled: Option<bool>,
    /// Whether several workgroups share the pages of a row.
    pub(super) split: Option<bool>,
}

impl When {
    const ALL: Self = Self { apart: None, tiled: None, split: None };

    /// Lines of a dispatch of these rows in a run; `None` where it takes no part.
    pub(super) fn lines(self, rows: RowSet, min_lines: u32, counts: Counts) -> Option<u32> {
        let lines = counts.lines(rows);
        (lines >= min_lines.max(1) && self.holds(counts)).then_some(lines)
    }

    fn holds(self, counts: Counts) -> bool {
        self.apart.is_none_or(|apart| apart == counts.apart)
            && self.tiled.is_none_or(|tiled| tiled == counts.tiled)
            && self.split.is_none_or(|split| split == (counts.splits > 1))
    }
}

/// A dispatch.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) buffers: Vec<wgpu::BufferBinding<'a>>,
    pub(super) params: Vec<u32>,
    pub(super) rows: RowSet,
    /// It takes no part in runs with fewer.
    pub(super) min_lines: u32,
    pub(super) when: When,
    pub(super) shapes: Vec<Shape>,
    pub(super) weight_bytes: u64,
    pub(super) work: Work,
}

impl Draft<'_> {
    /// Keeps of it what runs like this one take; whether that is anything.
    pub(super) fn keep(&mut self, counts: Counts) -> bool {
        let lines = self.when.lines(self.rows, self.min_lines, counts);
        let taken = lines.and_then(|lines| self.shapes.iter().position(|s| lines <= s.max_lines));
        self.shapes = taken.map(|i| self.shapes.swap_remove(i)).into_iter().collect();
        taken.is_some()
    }
}

/// Multiplications of a dispatch, about.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Work {
    /// A line.
    pub(super) line: u64,
    /// A line, for each page that its run attends to.
    pub(super) page: u64,
}

impl Work {
    const NONE: Self = Self { line: 0, page: 0 };

    pub(super) fn of(self, lines: u32, counts: Counts) -> u64 {
        u64::from(lines) * (self.line + self.page * u64::from(counts.pages))
    }
}

/// The dispatches of a plan so far.
struct Drafts<'a> {
    plan: &'a Plan,
    memory: &'a Memory,
    choice: Choice,
    list: Vec<Draft<'a>>,
}

/// The dispatches of all steps, in order.
pub(super) fn draft<'a>(
    plan: &'a Plan,
    steps: &[Step],
    memory: &'a Memory,
    choice: Choice,
) -> Result<Vec<Draft<'a>>> {
    let mut drafts = Drafts { plan, memory, choice, list: Vec::new() };
    for step in steps {
        drafts.step(step)?;
    }
    Ok(drafts.list)
}

impl<'a> Drafts<'a> {
    fn push(&mut self, draft: Draft<'a>) {
        self.list.push(draft);
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let is_whole = match &step.fusion {
            Fusion::Single => false,
            &Fusion::Attend { layer, q, k, v, q_norm, k_norm, out, n_heads, scale, .. } => {
                let pairs = self.plan.rope.freqs.len() as u32;
                let norms = [q_norm, k_norm];
                return self.attend(&Attend { layer, q, k, v, norms, pairs, out, n_heads, scale });
            }
            Fusion::Project { x, select, norm, products, accumulate } => {
                let (x, select, norm, accumulate) = (*x, *select, *norm, *accumulate);
                self.project(Projection { x, select, norm, products, gated: false, accumulate })?
            }
            Fusion::Gated { x, norm, gate, up, out } => {
                let products = &[*gate, *up].map(|weight| Product { weight, bias: None, out: *out });
                let (x, norm) = (*x, Some(*norm));
                self.project(Projection { x, select: false, norm, products, gated: true, accumulate: false })?
            }
        };
        // A run with more lines, or any where the step's weights do not fit a binding, takes the operations one by one.
        let min_lines = if is_whole { FEW_LINES + 1 } else { 1 };
        for i in step.ops.clone() {
            let op = &self.plan.ops[i];
            self.op(op, min_lines).context(|| format!("operation {i} ({op:?})"))?;
        }
        Ok(())
    }
}

/// The planes of a part. A format without scales binds the quants twice: the kernel does not read them.
fn planes<'a>(memory: &'a Memory, part: &Part) -> [wgpu::BufferBinding<'a>; 2] {
    let plane = |offset, bytes| wgpu::BufferBinding {
        buffer: &memory.weights.buffers[part.buffer],
        offset,
        size: wgpu::BufferSize::new(bytes),
    };
    let quants = plane(part.quants_at, part.quant_bytes);
    let scales = if part.scale_bytes == 0 { quants.clone() } else { plane(part.scales_at, part.scale_bytes) };
    [quants, scales]
}

/// Offset and line stride of a slice in f32.
fn place(plan: &Plan, slice: Slice) -> (u32, u32) {
    (slice.offset, plan.buffer(slice.buffer).width)
}

/// Offset and line stride of a slice in `vec4<f32>`.
fn place4(plan: &Plan, slice: Slice) -> Result<(u32, u32)> {
    let (offset, stride) = place(plan, slice);
    if [offset, stride, slice.width].iter().any(|v| !v.is_multiple_of(4)) {
        let name = &plan.buffer(slice.buffer).name;
        let what = format!(
            "{name}: WebGPU needs columns in multiples of 4, not {offset}, {} of {stride}",
            slice.width
        );
        return Err(Error::new(Code::InvalidModel, what));
    }
    Ok((offset / 4, stride / 4))
}

fn rows_of(plan: &Plan, slice: Slice) -> RowSet {
    plan.buffer(slice.buffer).rows
}

fn lanes(n: u32) -> u32 {
    n.div_ceil(LANES as u32)
}

fn matrix(memory: &Memory, weight: WeightId) -> Result<(&Packing, &[Part])> {
    match &memory.weights.places[weight.0 as usize] {
        Stored::Matrix { packing, parts } => Ok((packing, parts)),
        Stored::Vector { .. } => Err(Error::internal("a vector where a matrix is needed")),
    }
}

/// Where a vector starts in the buffer of vectors, in bytes.
fn vector_at(memory: &Memory, weight: WeightId) -> Result<u64> {
    match memory.weights.places[weight.0 as usize] {
        Stored::Vector { at } => Ok(at),
        Stored::Matrix { .. } => Err(Error::internal("a matrix where a vector is needed")),
    }
}

fn vector<'a>(plan: &Plan, memory: &'a Memory, weight: WeightId) -> Result<wgpu::BufferBinding<'a>> {
    Ok(wgpu::BufferBinding {
        buffer: &memory.weights.vectors,
        offset: vector_at(memory, weight)?,
        size: wgpu::BufferSize::new(buffer_size(u64::from(plan.weight(weight).cols) * 4)),
    })
}

fn needs(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(what)) }
}
