//! Random weights, a plan runner made of the plain references, and the device.

use std::sync::Arc;

use half::f16;

use crate::backend::webgpu::{WebGpuBackend, WebGpuOptions};
use crate::backend::{Backend, RunLimits};
use crate::error::Code;
use crate::kernels::shader::{LARGEST, UNPACKS};
use crate::kernels::{self, Lines, LinesMut, store_kv::Pool};
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, BufferId, LayerState, Op, Plan, RowSet, Slice, Weight, WeightId, WeightKind};
use crate::quant::{self, GgmlType};

/// A GPU, or `None` with a visible line where there is no adapter and none is required.
pub(crate) fn open(options: WebGpuOptions) -> Option<WebGpuBackend> {
    match pollster::block_on(WebGpuBackend::new(options)) {
        Ok(backend) => Some(backend),
        Err(e) if e.code() == Code::NoWebgpu => {
            let set = |name, value| std::env::var(name).is_ok_and(|v| v == value);
            assert!(!set("CI", "true") && !set("QWENLET_REQUIRE_GPU", "1"), "{e}");
            println!("skipped: no WebGPU adapter");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// xorshift64*.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }

    /// -1 .. 1.
    pub(super) fn unit(&mut self) -> f32 {
        self.bits() as f32 / (1u64 << 31) as f32 - 1.0
    }

    pub(super) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
}

pub(super) const ALL: [GgmlType; 15] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::Bf16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::Q2K,
    GgmlType::Q3K,
    GgmlType::Q4K,
    GgmlType::Q5K,
    GgmlType::Q6K,
    GgmlType::Iq4Nl,
    GgmlType::Iq4Xs,
];

/// Where a block's f16 scales are.
fn scale_offsets(ty: GgmlType) -> &'static [usize] {
    match ty {
        GgmlType::F32 | GgmlType::Bf16 => &[],
        GgmlType::F16
        | GgmlType::Q4_0
        | GgmlType::Q5_0
        | GgmlType::Q8_0
        | GgmlType::Iq4Nl
        | GgmlType::Iq4Xs => &[0],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4K | GgmlType::Q5K => &[0, 2],
        GgmlType::Q2K => &[80, 82],
        GgmlType::Q3K => &[108],
        GgmlType::Q6K => &[208],
    }
}

/// Scales that a kernel may get wrong: zeros, subnormal f16, the largest and the smallest normal.
const HOSTILE: [u16; 8] = [0, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x2e66];

/// Random blocks of `n` values: every bit random but the scales, which are small, or hostile.
pub(super) fn random_blocks(random: &mut Random, ty: GgmlType, n: usize, hostile: bool) -> Vec<u8> {
    blocks(random, ty, n, |random| match hostile {
        true => f16::from_bits(HOSTILE[random.below(HOSTILE.len())]),
        false => f16::from_f32(random.unit() * 0.1),
    })
}

/// Random blocks whose values have about this root mean square.
pub(super) fn even_blocks(random: &mut Random, ty: GgmlType, n: usize, size: f32) -> Vec<u8> {
    let mut values = vec![0.0; n];
    quant::decode(ty, &blocks(random, ty, n, |random| f16::from_f32(random.unit() * 0.1)), &mut values)
        .unwrap();
    let was = (values.iter().map(|v| v * v).sum::<f32>() / n as f32).sqrt();
    let factor = 0.1 * size / was;
    let bytes = blocks(random, ty, n, |random| f16::from_f32(random.unit() * factor));
    match ty {
        GgmlType::F32 | GgmlType::Bf16 => {
            quant::decode(ty, &bytes, &mut values).unwrap();
            let value = |v: &f32| match ty {
                GgmlType::F32 => (v * size).to_le_bytes().to_vec(),
                _ => half::bf16::from_f32(v * size).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(value).collect()
        }
        _ => bytes,
    }
}

fn blocks(random: &mut Random, ty: GgmlType, n: usize, mut scale: impl FnMut(&mut Random) -> f16) -> Vec<u8> {
    let format = ty.format();
    let mut bytes: Vec<u8> =
        (0..n / format.block_elems * format.block_bytes).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes) {
        match ty {
            GgmlType::F32 => block.copy_from_slice(&random.unit().to_le_bytes()),
            GgmlType::Bf16 => block.copy_from_slice(&half::bf16::from_f32(random.unit()).to_le_bytes()),
            _ => {
                for &at in scale_offsets(ty) {
                    block[at..at + 2].copy_from_slice(&scale(random).to_le_bytes());
                }
            }
        }
    }
    bytes
}

/// A plan being written for a test.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) buffers: Vec<crate::plan::Buffer>,
    pub(super) weights: Vec<Weight>,
    pub(super) bytes: Vec<Vec<u8>>,
    pub(super) layers: Vec<LayerState>,
    pub(super) freqs: Vec<f64>,
    pub(super) ops: Vec<Op>,
}

impl Builder {
    pub(super) fn buffer(&mut self, name: &str, width: usize, rows: RowSet) -> Slice {
        self.buffers.push(crate::plan::Buffer { name: name.into(), width: width as u32, rows });
        Slice { buffer: BufferId(self.buffers.len() as u32 - 1), offset: 0, width: width as u32 }
    }

    pub(super) fn weight(
        &mut self,
        ty: GgmlType,
        kind: WeightKind,
        rows: usize,
        cols: usize,
        bytes: Vec<u8>,
    ) -> WeightId {
        let name = format!("w{}", self.weights.len());
        let (rows, cols) = (rows as u32, cols as u32);
        self.weights.push(Weight { name, kind, ty, rows, cols, stands_for: rows });
        self.bytes.push(bytes);
        WeightId(self.weights.len() as u32 - 1)
    }

    pub(super) fn vector(&mut self, values: &[f32]) -> WeightId {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.weight(GgmlType::F32, WeightKind::Vector, 1, values.len(), bytes)
    }

    /// A table of f32 rows that tokens bring into a buffer.
    pub(super) fn input(&mut self, name: &str, random: &mut Random, rows: usize, cols: usize) -> Slice {
        let bytes = random.floats(rows * cols).iter().flat_map(|v| v.to_le_bytes()).collect();
        let table = self.weight(GgmlType::F32, WeightKind::Matrix, rows, cols, bytes);
        let out = self.buffer(name, cols, RowSet::All);
        self.ops.push(Op::Embed { table, out });
        out
    }

    pub(super) fn finish(self, logits: BufferId) -> (Arc<Plan>, Vec<Vec<u8>>) {
        let n_vocab = self.buffers[logits.0 as usize].width;
        let rope = crate::plan::Rope { freqs: self.freqs, scale: 1.25 };
        let Self { buffers, weights, layers, ops, .. } = self;
        (Arc::new(Plan { buffers, weights, layers, rope, ops, logits, n_vocab }), self.bytes)
    }
}

pub(super) fn limits(max_rows: usize, n_pages: usize) -> RunLimits {
    RunLimits { max_rows, max_outputs: max_rows, max_sequences: 4, n_pages, keep_buffers: true }
}

/// Prepares the plan and uploads its weights in uneven pieces.
pub(super) fn load(backend: &mut WebGpuBackend, plan: &Arc<Plan>, bytes: &[Vec<u8>], limits: RunLimits) {
    pollster::block_on(async {
        backend.prepare(plan.clone(), limits).await.unwrap();
        for (i, (w, bytes)) in plan.weights.iter().zip(bytes).enumerate() {
            let row_bytes = w.ty.row_bytes(u64::from(w.cols)).unwrap() as usize;
            let (mut row, mut step) = (0usize, 1usize);
            while row < w.rows as usize {
                let n = step.min(w.rows as usize - row);
                let piece = &bytes[row * row_bytes..(row + n) * row_bytes];
                backend.upload(WeightId(i as u32), row as u32, piece).unwrap();
                row += n;
                step = step * 2 + 5;
            }
            backend.flush().await.unwrap();
        }
        backend.finish_upload().await.unwrap();
    });
}

/// A plan run by the plain references of its operations.
pub(super) struct Oracle {
    plan: Arc<Plan>,
    bytes: Vec<Vec<u8>>,
    /// Whether activations are rounded to bytes where they meet weights that can be read as bytes.
    pub(super) rounded: bool,
    buffers: Vec<Vec<f32>>,
    state: Vec<(Pool, Pool)>,
}

impl Oracle {
    pub(super) fn new(plan: &Arc<Plan>, bytes: &[Vec<u8>], n_pages: usize) -> Self {
        let pools = plan.layers.iter().map(|layer| {
            let LayerState::Attention { n_kv_heads, head_dim } = *layer;
            let pool = Pool::new(n_pages, n_kv_heads as usize, head_dim as usize);
            (pool.clone(), pool)
        });
        let state = pools.collect();
        Self {
            plan: plan.clone(),
            bytes: bytes.to_vec(),
            rounded: false,
            buffers: vec![Vec::new(); plan.buffers.len()],
            state,
        }
    }

    pub(super) fn buffer(&self, id: BufferId) -> &[f32] {
        &self.buffers[id.0 as usize]
    }

    fn vector(&self, id: WeightId) -> Vec<f32> {
        let w = self.plan.weight(id);
        let mut out = vec![0.0; w.cols as usize];
        quant::decode(w.ty, &self.bytes[id.0 as usize], &mut out).unwrap();
        out
    }

    /// Runs what the GPU has run.
    pub(super) fn run(&mut self, batch: &Batch<'_>, state: &Held) {
        let plan = self.plan.clone();
        for (data, b) in self.buffers.iter_mut().zip(&plan.buffers) {
            let lines = match b.rows {
                RowSet::All => batch.rows.len(),
                RowSet::Output => batch.rows.iter().filter(|r| r.output).count(),
            };
            data.clear();
            data.resize(lines * b.width as usize, 0.0);
        }
        let positions: Vec<u32> = batch.rows.iter().map(|r| r.position).collect();
        for op in &plan.ops {
            let out = op.writes();
            let mut target =
                out.map(|id| std::mem::take(&mut self.buffers[id.0 as usize])).unwrap_or_default();
            let view = |s: Slice| {
                let stride = plan.buffer(s.buffer).width as usize;
                Lines::new(&self.buffers[s.buffer.0 as usize], stride, s.offset as usize, s.width as usize)
                    .unwrap()
            };
            let target = &mut target;
            match *op {
                Op::Embed { table, out } => {
                    let tokens: Vec<u32> = batch.rows.iter().map(|r| r.token).collect();
                    let ty = plan.weight(table).ty;
                    kernels::embed::reference(
                        ty,
                        &self.bytes[table.0 as usize],
                        &tokens,
                        lines_mut(&plan, target, out),
                    )
                    .unwrap();
                }
                Op::RmsNorm { x, weight, eps, out } => {
                    kernels::rms_norm::reference(
                        view(x),
                        &self.vector(weight),
                        eps,
                        lines_mut(&plan, target, out),
                    )
                    .unwrap();
                }
                Op::MatMul { x, weight, bias, out, accumulate } => {
                    let bias = bias.map(|b| self.vector(b));
                    let ty = plan.weight(weight).ty;
                    let bytes = &self.bytes[weight.0 as usize];
                    let width = x.width as usize;
                    let mut x: Vec<f32> = view(x).iter().flatten().copied().collect();
                    if self.rounded && UNPACKS[ty as usize].packed.is_some() {
                        x.chunks_exact_mut(width).for_each(kernels::matmul::round_to_bytes);
                    }
                    kernels::matmul::reference(
                        Lines::packed(&x, width).unwrap(),
                        ty,
                        bytes,
                        bias.as_deref(),
                        accumulate,
                        lines_mut(&plan, target, out),
                    )
                    .unwrap();
                }
                Op::Rope { x, head_dim } => {
                    kernels::rope::reference(
                        &plan.rope,
                        &positions,
                        head_dim as usize,
                        lines_mut(&plan, target, x),
                    )
                    .unwrap();
                }
                Op::StoreKv { layer, k, v } => {
                    let [k, v] = [(k, false), (v, true)].map(|(s, is_value)| {
                        let own: Vec<f32> = view(s).iter().flatten().copied().collect();
                        (state.held(&plan, batch, layer, is_value, &own), s.width as usize)
                    });
                    let [k, v] = [&k, &v].map(|(data, width)| Lines::packed(data, *width).unwrap());
                    let (keys, values) = &mut self.state[layer as usize];
                    kernels::store_kv::reference(batch.rows, batch.tables, k, v, keys, values).unwrap();
                }
                Op::Attention { layer, q, out, n_heads, scale } => {
                    let (keys, values) = &self.state[layer as usize];
                    let n_heads = n_heads as usize;
                    let (rows, tables) = (batch.rows, batch.tables);
                    kernels::attention::reference(
                        rows,
                        tables,
                        keys,
                        values,
                        n_heads,
                        scale,
                        view(q),
                        lines_mut(&plan, target, out),
                    )
                    .unwrap();
                }
                Op::SiluMul { gate, up, out } => {
                    kernels::silu_mul::reference(view(gate), view(up), lines_mut(&plan, target, out))
                        .unwrap();
                }
                Op::SelectRows { x, out } => {
                    kernels::select_rows::reference(batch.rows, view(x), lines_mut(&plan, target, out))
                        .unwrap();
                }
            }
            if let Some(id) = out {
                self.buffers[id.0 as usize] = std::mem::take(target);
            }
        }
    }
}

/// What a GPU holds of keys and values, by page. Two devices that round to integers of 16 bits what they computed with
/// other last bits differ by a whole step now and then: the oracle takes the GPU's integers, once it has seen that each
/// is within a step of its own.
pub(super) struct Held {
    pages: Vec<Vec<u8>>,
    /// What a value may be off beside that, as a share of its head's largest.
    room: f32,
}

impl Held {
    pub(super) fn read(backend: &mut WebGpuBackend, batch: &Batch<'_>) -> Self {
        let n_pages = batch.tables.iter().copied().flatten().map(|p| p.0 + 1).max().unwrap_or(0);
        let page = |p| pollster::block_on(backend.read_page(PageId(p))).unwrap();
        // An activation that is rounded the other way shows in what is made of it.
        Self {
            pages: (0..n_pages).map(page).collect(),
            room: if backend.rounds().any() { 0.05 } else { 0.0 },
        }
    }

    /// The same for an oracle that is to be far off.
    pub(super) fn lenient(&self) -> Self {
        Self { pages: self.pages.clone(), room: 1.0 }
    }

    /// The rows' keys or values of a layer, for what the references say they are.
    fn held(&self, plan: &Plan, batch: &Batch<'_>, layer: u32, is_value: bool, own: &[f32]) -> Vec<f32> {
        let sizes = |layer: &LayerState| {
            let LayerState::Attention { n_kv_heads, head_dim } = *layer;
            (n_kv_heads as usize, head_dim as usize)
        };
        let bytes = |(heads, dim): (usize, usize)| PAGE_TOKENS * heads * (2 * 2 * dim + 2 * 4);
        let layer_at: usize = plan.layers[..layer as usize].iter().map(|l| bytes(sizes(l))).sum();
        let (heads, dim) = sizes(&plan.layers[layer as usize]);
        let integers = PAGE_TOKENS * heads * dim * 2;
        let mut all = Vec::with_capacity(own.len());
        for (row, own) in batch.rows.iter().zip(own.chunks_exact(heads * dim)) {
            let (page, slot) = (row.position as usize / PAGE_TOKENS, row.position as usize % PAGE_TOKENS);
            let page = &self.pages[batch.tables[row.sequence as usize][page].0 as usize][layer_at..];
            for (head, own) in own.chunks_exact(dim).enumerate() {
                let at = 2 * integers + 4 * ((2 * head + usize::from(is_value)) * PAGE_TOKENS + slot);
                let scale = f32::from_le_bytes(page[at..at + 4].try_into().unwrap());
                for (i, own) in own.iter().enumerate() {
                    let four = match is_value {
                        true => integers + 8 * ((head * PAGE_TOKENS + slot) * (dim / 4) + i / 4),
                        false => 8 * ((head * (dim / 4) + i / 4) * PAGE_TOKENS + slot),
                    };
                    let at = four + 2 * (i % 4);
                    let value = f32::from(i16::from_le_bytes([page[at], page[at + 1]])) * scale;
                    let error = (value - own).abs();
                    assert!(
                        error <= (1.5 + self.room * LARGEST as f32) * scale,
                        "{value} is held for {own}, in steps of {scale}"
                    );
                    all.push(value);
                }
            }
        }
        all
    }
}

fn lines_mut<'a>(plan: &Plan, data: &'a mut [f32], s: Slice) -> LinesMut<'a> {
    let stride = plan.buffer(s.buffer).width as usize;
    LinesMut::new(data, stride, s.offset as usize, s.width as usize).unwrap()
}

/// |got - want| / |want|.
pub(super) fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = squares(&mut got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w)));
    error / squares(&mut want.iter().map(|&w| f64::from(w))).max(1e-30)
}

pub(super) fn read(backend: &mut WebGpuBackend, id: BufferId) -> Vec<f32> {
    pollster::block_on(backend.read_buffer(id)).unwrap()
}
