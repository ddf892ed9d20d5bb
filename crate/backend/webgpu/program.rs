//! A plan made ready: pipelines, bind groups and parameters, so that a run only has to say how many rows it has.

use super::batch::Counts;
use super::device::{Buffer, Gpu};
use super::draft::{Draft, When, Work, draft};
use super::memory::Memory;
use super::pipelines::Pipelines;
use super::race::Rounds;
use crate::error::Result;
use crate::kernels::shader::{self, FIRST_BUFFER};
use crate::plan::fuse::Step;
use crate::plan::{Plan, RowSet};
use crate::quant::GgmlType;

/// One way to dispatch; the first whose `max_lines` is not exceeded is taken.
#[derive(Debug)]
struct Shape {
    kernel: &'static str,
    max_lines: u32,
    pipeline: wgpu::ComputePipeline,
    /// Workgroups in x, lines that a workgroup in y covers, whether one in z has a share of a row's pages.
    groups: u32,
    lines: u32,
    shares: bool,
}

/// A dispatch, in runs with so many lines.
#[derive(Debug)]
struct Dispatch {
    bind_group: wgpu::BindGroup,
    rows: RowSet,
    min_lines: u32,
    when: When,
    shapes: Vec<Shape>,
    /// Bytes of weights that one workgroup row in y reads.
    weight_bytes: u64,
    work: Work,
}

/// The dispatches of a plan.
#[derive(Debug)]
pub(super) struct Program {
    dispatches: Vec<Dispatch>,
    pub(super) params: Buffer,
}

/// What was recorded of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Recorded {
    pub(super) dispatches: u64,
    pub(super) weight_bytes: u64,
}

/// Which shape of the product with few lines; the names are those of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matvec {
    Thin,
    Narrow,
    Wide,
    Serial,
}

/// What kernels are chosen by, beside the operation's shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Else by the number of rows.
    pub(super) matvec: Option<Matvec>,
    /// Where activations are rounded to bytes, for weights that can be read as bytes.
    pub(super) rounds: Rounds,
}

/// Weight rows up to which only the most threads a row fill a GPU, and from which on it is filled without many.
const FEW_WEIGHT_ROWS: u32 = 2048;
const MANY_WEIGHT_ROWS: u32 = 32_768;

impl Choice {
    /// Products of few lines with so many weight rows in these formats.
    pub(super) fn matvec(self, n_rows: u32, formats: &[GgmlType]) -> &'static shader::Forms {
        let by_size = match n_rows {
            ..=FEW_WEIGHT_ROWS => Matvec::Thin,
            MANY_WEIGHT_ROWS.. => Matvec::Wide,
            _ => Matvec::Narrow,
        };
        let shape = match self.matvec.unwrap_or(by_size) {
            Matvec::Thin => &shader::MATVEC_THIN,
            Matvec::Narrow => &shader::MATVEC_NARROW,
            Matvec::Wide => &shader::MATVEC_WIDE,
            Matvec::Serial => &shader::MATVEC_SERIAL,
        };
        let rounded = formats.iter().all(|ty| self.rounds.hold(1, *ty));
        if rounded { &shape.rounded } else { &shape.exact }
    }

    /// Products of many lines: a kernel for up to 32, and one for more.
    pub(super) fn matmul(self, format: GgmlType) -> [&'static shader::Kernel; 2] {
        match self.rounds.hold(usize::MAX, format) {
            true => [&shader::MATMUL_32_ROUNDED, &shader::MATMUL_64_ROUNDED],
            false => [&shader::MATMUL_32, &shader::MATMUL_64],
        }
    }
}

impl Program {
    /// For runs of any kind, or `only` for those like one.
    pub(super) fn new(
        gpu: &Gpu,
        plan: &Plan,
        steps: &[Step],
        memory: &Memory,
        choice: Choice,
        only: Option<Counts>,
        pipelines: &mut Pipelines,
    ) -> Result<Self> {
        let mut drafts = draft(plan, steps, memory, choice)?;
        if let Some(counts) = only {
            drafts.retain_mut(|draft| draft.keep(counts));
        }

        // Every dispatch's parameters lie in one buffer, each at an offset that a binding may have.
        let align = gpu.device.limits().min_uniform_buffer_offset_alignment as usize;
        let mut bytes = Vec::new();
        let mut offsets = Vec::new();
        for draft in &drafts {
            bytes.resize(bytes.len().next_multiple_of(align), 0);
            offsets.push(bytes.len() as u64);
            bytes.extend(draft.params.iter().flat_map(|w| w.to_le_bytes()));
            // A uniform struct is a multiple of 16 bytes.
            bytes.resize(bytes.len().next_multiple_of(16), 0);
        }
        let params = gpu.buffer(
            "parameters",
            bytes.len() as u64,
            wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        );
        if !bytes.is_empty() {
            gpu.queue.write_buffer(&params, 0, &bytes);
        }

        let mut dispatches = Vec::with_capacity(drafts.len());
        for (draft, &offset) in drafts.into_iter().zip(&offsets) {
            let Draft { buffers, params: words, rows, min_lines, when, shapes, weight_bytes, work } = draft;
            let layout = pipelines.layout(gpu, shapes[0].kernel);
            let size = words.len().next_multiple_of(4) as u64 * 4;
            let parameters =
                wgpu::BufferBinding { buffer: &params, offset, size: wgpu::BufferSize::new(size) };
            let mut entries = vec![bind(0, parameters), bind(1, whole(&memory.run))];
            entries.extend(buffers.into_iter().zip(FIRST_BUFFER..).map(|(buffer, at)| bind(at, buffer)));
            let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(shapes[0].kernel.name),
                layout: &layout,
                entries: &entries,
            });
            let mut made = Vec::with_capacity(shapes.len());
            for shape in shapes {
                made.push(Shape {
                    kernel: shape.kernel.name,
                    max_lines: shape.max_lines,
                    pipeline: pipelines.get(gpu, shape.kernel, &shape.formats)?,
                    groups: shape.groups,
                    lines: shape.lines,
                    shares: shape.shares,
                });
            }
            dispatches.push(Dispatch { bind_group, rows, min_lines, when, shapes: made, weight_bytes, work });
        }
        Ok(Self { dispatches, params })
    }

    pub(super) fn n_bind_groups(&self) -> usize {
        self.dispatches.len()
    }

    /// Records dispatches of a run from number `from` on, until they have `most` multiplications or more; `dispatched` hears
    /// of each, its kernel and how many workgroups it has. Gives where to go on.
    pub(super) fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        counts: Counts,
        (from, most): (usize, u64),
        dispatched: &mut impl FnMut(&mut wgpu::ComputePass<'_>, &'static str, u64),
    ) -> (Recorded, Option<usize>) {
        let mut recorded = Recorded::default();
        let mut work = 0;
        for (i, dispatch) in self.dispatches.iter().enumerate().skip(from) {
            let Some(lines) = dispatch.when.lines(dispatch.rows, dispatch.min_lines, counts) else {
                continue;
            };
            let Some(shape) = dispatch.shapes.iter().find(|s| lines <= s.max_lines) else { continue };
            if work >= most {
                return (recorded, Some(i));
            }
            let y = lines.div_ceil(shape.lines);
            pass.set_pipeline(&shape.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            let z = if shape.shares { counts.splits } else { 1 };
            pass.dispatch_workgroups(shape.groups, y, z);
            dispatched(pass, shape.kernel, u64::from(shape.groups) * u64::from(y) * u64::from(z));
            recorded.dispatches += 1;
            recorded.weight_bytes += dispatch.weight_bytes * u64::from(y);
            work += dispatch.work.of(lines, counts);
        }
        (recorded, None)
    }
}

pub(super) fn bind(binding: u32, buffer: wgpu::BufferBinding<'_>) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) }
}

pub(super) fn whole(buffer: &wgpu::Buffer) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset: 0, size: None }
}
