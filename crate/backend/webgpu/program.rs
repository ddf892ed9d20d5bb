//! A plan made ready: pipelines, bind groups and parameters, so that a run only has to say how many rows it has.

use std::collections::HashMap;

use super::device::Gpu;
use super::memory::Memory;
use super::weights::{Part, Stored};
use crate::error::{Code, Error, Result, ResultExt};
use crate::kernels::shader::params::{Embed, MatMul, RmsNorm, Rope, SelectRows, SiluMul, StoreKv};
use crate::kernels::shader::{self, Access, FIRST_BUFFER, Kernel, LANES, params, run};
use crate::plan::state::PAGE_TOKENS;
use crate::plan::{LayerState, Op, Plan, RowSet, Slice, WeightId};
use crate::quant::GgmlType;

/// One way to run a step; the first whose `max_lines` is not exceeded is taken.
#[derive(Debug)]
struct Shape {
    max_lines: u32,
    pipeline: wgpu::ComputePipeline,
    /// Workgroups in x, and lines that a workgroup in y covers.
    groups: u32,
    lines: u32,
}

/// A dispatch.
#[derive(Debug)]
struct Step {
    bind_group: wgpu::BindGroup,
    rows: RowSet,
    shapes: Vec<Shape>,
    /// Bytes of weights that one workgroup row in y reads.
    weight_bytes: u64,
}

/// What a step is made from, before the buffer with every step's parameters exists.
struct Draft<'a> {
    buffers: Vec<wgpu::BufferBinding<'a>>,
    params: Vec<u32>,
    rows: RowSet,
    /// Kernel, format, max_lines, groups, lines.
    shapes: Vec<(&'static Kernel, Option<GgmlType>, u32, u32, u32)>,
    weight_bytes: u64,
}

/// The steps of a plan.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    pub(super) params: wgpu::Buffer,
}

/// What recording a run cost.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Recorded {
    pub(super) dispatches: u64,
    pub(super) weight_bytes: u64,
}

/// Which shape of the one-row matrix product; the names are those of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matvec {
    Narrow,
    Wide,
    Serial,
}

/// What kernels are chosen by, beside the operation's shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Else by the number of rows.
    pub(super) matvec: Option<Matvec>,
}

/// Weight rows from which on a GPU is filled without many threads a row.
const MANY_WEIGHT_ROWS: u32 = 4096;

impl Choice {
    fn matvec(self, n_rows: u32) -> &'static Kernel {
        let by_size = if n_rows >= MANY_WEIGHT_ROWS { Matvec::Wide } else { Matvec::Narrow };
        match self.matvec.unwrap_or(by_size) {
            Matvec::Narrow => &shader::MATVEC_NARROW,
            Matvec::Wide => &shader::MATVEC_WIDE,
            Matvec::Serial => &shader::MATVEC_SERIAL,
        }
    }
}

/// Lines up to which a matrix product reads the weight once a line: beyond, the shape that unpacks it for many pays.
const FEW_LINES: u32 = 4;

impl Program {
    pub(super) fn new(gpu: &Gpu, plan: &Plan, memory: &Memory, choice: Choice) -> Result<Self> {
        let mut drafts = Vec::new();
        for (i, op) in plan.ops.iter().enumerate() {
            draft(plan, memory, choice, op, &mut drafts).context(|| format!("operation {i} ({op:?})"))?;
        }

        // Every step's parameters lie in one buffer, each at an offset that a binding may have.
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

        let mut pipelines = Pipelines::default();
        let mut steps = Vec::with_capacity(drafts.len());
        for (draft, &offset) in drafts.iter().zip(&offsets) {
            let mut shapes = Vec::with_capacity(draft.shapes.len());
            for &(kernel, ty, max_lines, groups, lines) in &draft.shapes {
                shapes.push(Shape { max_lines, pipeline: pipelines.get(gpu, kernel, ty)?, groups, lines });
            }
            let layout = pipelines.layout(gpu, draft.shapes[0].0);
            let words = draft.params.len().next_multiple_of(4) as u64;
            let mut entries = vec![
                bind(
                    0,
                    wgpu::BufferBinding { buffer: &params, offset, size: wgpu::BufferSize::new(words * 4) },
                ),
                bind(1, whole(&memory.run)),
            ];
            let buffers = draft.buffers.iter().zip(FIRST_BUFFER..);
            entries.extend(buffers.map(|(buffer, at)| bind(at, buffer.clone())));
            let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(draft.shapes[0].0.name),
                layout: &layout,
                entries: &entries,
            });
            steps.push(Step { bind_group, rows: draft.rows, shapes, weight_bytes: draft.weight_bytes });
        }
        Ok(Self { steps, params })
    }

    pub(super) fn n_bind_groups(&self) -> usize {
        self.steps.len()
    }

    /// Records every dispatch of a run with so many rows and rows of logits.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, n_rows: u32, n_outputs: u32) -> Recorded {
        let mut recorded = Recorded::default();
        for step in &self.steps {
            let lines = match step.rows {
                RowSet::All => n_rows,
                RowSet::Output => n_outputs,
            };
            let Some(shape) = step.shapes.iter().find(|s| lines <= s.max_lines) else { continue };
            if lines == 0 {
                continue;
            }
            let y = lines.div_ceil(shape.lines);
            pass.set_pipeline(&shape.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[]);
            pass.dispatch_workgroups(shape.groups, y, 1);
            recorded.dispatches += 1;
            recorded.weight_bytes += step.weight_bytes * u64::from(y);
        }
        recorded
    }
}

/// Pipelines by kernel and format, and the layouts that they share.
#[derive(Default)]
pub(super) struct Pipelines {
    made: HashMap<(&'static str, Option<GgmlType>), wgpu::ComputePipeline>,
    layouts: HashMap<Vec<bool>, wgpu::BindGroupLayout>,
}

impl Pipelines {
    /// Kernels whose buffers are used in the same ways share a layout, and with it bind groups.
    pub(super) fn layout(&mut self, gpu: &Gpu, kernel: &Kernel) -> wgpu::BindGroupLayout {
        let key: Vec<bool> = kernel.buffers.iter().map(|b| b.access == Access::Read).collect();
        let make = || {
            let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            };
            let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
            let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform), entry(1, storage(true))];
            entries.extend(key.iter().zip(FIRST_BUFFER..).map(|(&read, at)| entry(at, storage(read))));
            gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(kernel.name),
                entries: &entries,
            })
        };
        self.layouts.entry(key.clone()).or_insert_with(make).clone()
    }

    pub(super) fn get(
        &mut self,
        gpu: &Gpu,
        kernel: &'static Kernel,
        ty: Option<GgmlType>,
    ) -> Result<wgpu::ComputePipeline> {
        if let Some(pipeline) = self.made.get(&(kernel.name, ty)) {
            return Ok(pipeline.clone());
        }
        let unpack = ty.map(|ty| &shader::UNPACKS[ty as usize]);
        let label = format!("{} {}", kernel.name, unpack.map_or("", |u| u.name));
        let text = shader::assemble(kernel, unpack, PAGE_TOKENS)
            .map_err(|e| Error::internal(format!("shader {label}")).with_cause(e))?;
        let layout = self.layout(gpu, kernel);
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        self.made.insert((kernel.name, ty), pipeline.clone());
        Ok(pipeline)
    }
}

pub(super) fn bind(binding: u32, buffer: wgpu::BufferBinding<'_>) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) }
}

pub(super) fn whole(buffer: &wgpu::Buffer) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset: 0, size: None }
}

/// The planes of a part. A format without scales binds the quants twice: the kernel does not read them.
fn planes(part: &Part) -> [wgpu::BufferBinding<'_>; 2] {
    let plane = |offset, bytes| wgpu::BufferBinding {
        buffer: &part.buffer,
        offset,
        size: wgpu::BufferSize::new(bytes),
    };
    let quants = plane(0, part.quant_bytes);
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

fn matrix(memory: &Memory, weight: WeightId) -> Result<(&crate::quant::gpu::Packing, &[Part])> {
    match &memory.weights[weight.0 as usize] {
        Stored::Matrix { packing, parts } => Ok((packing, parts)),
        Stored::Vector { .. } => Err(Error::internal("a vector where a matrix is needed")),
    }
}

fn vector(memory: &Memory, weight: WeightId) -> Result<&wgpu::Buffer> {
    match &memory.weights[weight.0 as usize] {
        Stored::Vector { buffer } => Ok(buffer),
        Stored::Matrix { .. } => Err(Error::internal("a matrix where a vector is needed")),
    }
}

/// The dispatches of an operation.
fn draft<'a>(
    plan: &Plan,
    memory: &'a Memory,
    choice: Choice,
    op: &Op,
    drafts: &mut Vec<Draft<'a>>,
) -> Result<()> {
    let slot = |slice: Slice| whole(memory.slot(slice.buffer));
    let needs = |holds: bool, what: &str| if holds { Ok(()) } else { Err(Error::internal(what)) };
    let any = u32::MAX;
    let all_rows = |slice: Slice| needs(rows_of(plan, slice) == RowSet::All, "needs a line for every row");
    let single = |kernel, groups, buffers, params, rows| Draft {
        buffers,
        params,
        rows,
        shapes: vec![(kernel, None, any, groups, 1)],
        weight_bytes: 0,
    };
    match *op {
        Op::Embed { table, out } => {
            all_rows(out)?;
            let (packing, parts) = matrix(memory, table)?;
            let weight = plan.weight(table);
            needs(weight.cols == out.width, "the table's rows are not as long as the output")?;
            let (out_offset, out_stride) = place4(plan, out)?;
            for part in parts {
                let [quants, scales] = planes(part);
                let params = Embed {
                    out_offset,
                    out_stride,
                    groups: packing.groups as u32,
                    units: packing.units as u32,
                    first_row: part.first_row,
                    n_rows: part.n_rows,
                };
                drafts.push(Draft {
                    buffers: vec![quants, scales, slot(out)],
                    params: params.words(),
                    rows: RowSet::All,
                    shapes: vec![(&shader::EMBED, Some(weight.ty), any, lanes(packing.groups as u32), 1)],
                    weight_bytes: (part.quant_bytes + part.scale_bytes) / u64::from(part.n_rows),
                });
            }
        }
        Op::MatMul { x, weight, bias, out, accumulate } => {
            let rows = rows_of(plan, out);
            let (packing, parts) = matrix(memory, weight)?;
            let w = plan.weight(weight);
            needs(w.cols == x.width && w.rows == out.width, "matrix and slices differ in shape")?;
            needs(rows_of(plan, x) == rows, "input and output have different rows")?;
            let (x_offset, x_stride) = place4(plan, x)?;
            let (out_offset, out_stride) = place(plan, out);
            let bias_buffer = bias.map(|b| vector(memory, b)).transpose()?;
            for part in parts {
                let [quants, scales] = planes(part);
                let params = MatMul {
                    x_offset,
                    x_stride,
                    out_offset,
                    out_stride,
                    groups: packing.groups as u32,
                    units: packing.units as u32,
                    first_row: part.first_row,
                    n_rows: part.n_rows,
                    has_bias: u32::from(bias.is_some()),
                    accumulate: u32::from(accumulate),
                    count_at: match rows {
                        RowSet::All => run::N_ROWS,
                        RowSet::Output => run::N_OUTPUTS,
                    } as u32,
                };
                let matvec = choice.matvec(part.n_rows);
                let few = part.n_rows.div_ceil((shader::TILE_ROWS * matvec.constant("tiles")) as u32);
                let many = part.n_rows.div_ceil(shader::MATMUL_COLS as u32);
                let tiled = |kernel: &'static Kernel, max_lines| {
                    (kernel, Some(w.ty), max_lines, many, kernel.constant("lines") as u32)
                };
                drafts.push(Draft {
                    // Without a bias any read-only buffer will do.
                    buffers: vec![
                        quants,
                        scales,
                        slot(x),
                        whole(bias_buffer.unwrap_or(&memory.unused)),
                        slot(out),
                    ],
                    params: params.words(),
                    rows,
                    shapes: vec![
                        (matvec, Some(w.ty), FEW_LINES, few, 1),
                        tiled(&shader::MATMUL_32, 32),
                        tiled(&shader::MATMUL_64, any),
                    ],
                    weight_bytes: part.quant_bytes + part.scale_bytes,
                });
            }
        }
        Op::RmsNorm { x, weight, eps, out } => {
            let rows = rows_of(plan, out);
            let cols = plan.weight(weight).cols;
            needs(x.width == out.width && cols > 0 && x.width.is_multiple_of(cols), "widths do not fit")?;
            needs(rows_of(plan, x) == rows, "input and output have different rows")?;
            needs(cols.is_multiple_of(4), "WebGPU needs groups of a multiple of 4 values")?;
            let ((x_offset, x_stride), (out_offset, out_stride)) = (place4(plan, x)?, place4(plan, out)?);
            let params = RmsNorm { x_offset, x_stride, out_offset, out_stride, cols, eps };
            let buffers = vec![slot(x), whole(vector(memory, weight)?), slot(out)];
            drafts.push(single(&shader::RMS_NORM, x.width / cols, buffers, params.words(), rows));
        }
        Op::Rope { x, head_dim } => {
            all_rows(x)?;
            let pairs = plan.rope.freqs.len() as u32;
            needs(x.width.is_multiple_of(head_dim) && 2 * pairs <= head_dim, "heads do not fit")?;
            let (x_offset, x_stride) = place(plan, x);
            let n_heads = x.width / head_dim;
            let params = Rope { x_offset, x_stride, head_dim, n_heads, pairs };
            let buffers = vec![whole(&memory.rotations), slot(x)];
            drafts.push(single(&shader::ROPE, lanes(n_heads * pairs), buffers, params.words(), RowSet::All));
        }
        Op::StoreKv { layer, k, v } => {
            all_rows(k)?;
            all_rows(v)?;
            let LayerState::Attention { n_kv_heads, head_dim } = plan.layers[layer as usize];
            let state = &memory.state[layer as usize];
            needs(
                k.width == n_kv_heads * head_dim && v.width == k.width,
                "keys and values do not fit the state",
            )?;
            let ((k_offset, k_stride), (v_offset, v_stride)) = (place4(plan, k)?, place4(plan, v)?);
            let params =
                StoreKv { k_offset, k_stride, v_offset, v_stride, n_kv_heads, head_dim: head_dim / 4 };
            let buffers = vec![slot(k), slot(v), whole(&state.keys), whole(&state.values)];
            drafts.push(single(&shader::STORE_KV, lanes(k.width / 4), buffers, params.words(), RowSet::All));
        }
        Op::Attention { layer, q, out, n_heads, scale } => {
            all_rows(q)?;
            all_rows(out)?;
            let LayerState::Attention { n_kv_heads, head_dim } = plan.layers[layer as usize];
            let state = &memory.state[layer as usize];
            needs(q.width == n_heads * head_dim && out.width == q.width, "heads do not fit")?;
            needs(n_heads.is_multiple_of(n_kv_heads), "query heads are not a multiple of key heads")?;
            let ((q_offset, q_stride), (out_offset, out_stride)) = (place4(plan, q)?, place4(plan, out)?);
            let params = params::Attention {
                q_offset,
                q_stride,
                out_offset,
                out_stride,
                n_heads,
                n_kv_heads,
                head_dim: head_dim / 4,
                scale,
            };
            let buffers = vec![slot(q), whole(&state.keys), whole(&state.values), slot(out)];
            let group = n_heads / n_kv_heads;
            let kernel = if group <= 2 { &shader::ATTENTION_2 } else { &shader::ATTENTION_4 };
            let groups = n_kv_heads * group.div_ceil(kernel.constant("queries") as u32);
            drafts.push(single(kernel, groups, buffers, params.words(), RowSet::All));
        }
        Op::SiluMul { gate, up, out } => {
            let rows = rows_of(plan, out);
            needs(gate.width == out.width && up.width == out.width, "widths differ")?;
            needs(rows_of(plan, gate) == rows && rows_of(plan, up) == rows, "rows differ")?;
            let ((gate_offset, gate_stride), (up_offset, up_stride)) =
                (place4(plan, gate)?, place4(plan, up)?);
            let (out_offset, out_stride) = place4(plan, out)?;
            let width = out.width / 4;
            let params =
                SiluMul { gate_offset, gate_stride, up_offset, up_stride, out_offset, out_stride, width };
            let buffers = vec![slot(gate), slot(up), slot(out)];
            drafts.push(single(&shader::SILU_MUL, lanes(width), buffers, params.words(), rows));
        }
        Op::SelectRows { x, out } => {
            all_rows(x)?;
            needs(rows_of(plan, out) == RowSet::Output, "the output has a line for every row")?;
            needs(x.width == out.width, "widths differ")?;
            let ((x_offset, x_stride), (out_offset, out_stride)) = (place4(plan, x)?, place4(plan, out)?);
            let width = out.width / 4;
            let params = SelectRows { x_offset, x_stride, out_offset, out_stride, width };
            let buffers = vec![slot(x), slot(out)];
            drafts.push(single(&shader::SELECT_ROWS, lanes(width), buffers, params.words(), RowSet::Output));
        }
    }
    Ok(())
}
