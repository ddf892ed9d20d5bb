//! A small plan with every operation, and random weights for it.

use super::{Rng, ordinary_blocks};
use crate::plan::{
    Buffer, BufferId, LayerState, Op, Plan, Rope, RowSet, Slice, Weight, WeightId, WeightKind,
};
use crate::quant::GgmlType;

/// A plan of two layers, each with grouped-query attention and a gated MLP.
#[derive(Debug)]
pub(crate) struct TestModel {
    pub(crate) plan: Plan,
    /// By weight, as in a file.
    pub(crate) weights: Vec<Vec<u8>>,
}

const HIDDEN: u32 = 256;
const N_HEADS: u32 = 4;
const N_KV_HEADS: u32 = 2;
const HEAD_DIM: u32 = 64;
const FFN: u32 = 512;
const N_VOCAB: u32 = 102;
const EPS: f32 = 1e-6;

struct Builder {
    rng: Rng,
    ty: GgmlType,
    buffers: Vec<Buffer>,
    weights: Vec<Weight>,
    bytes: Vec<Vec<u8>>,
    ops: Vec<Op>,
}

impl Builder {
    fn buffer(&mut self, name: &str, width: u32) -> Slice {
        let rows = if name == "last" || name == "logits" { RowSet::Output } else { RowSet::All };
        self.buffers.push(Buffer { name: name.to_owned(), width, rows });
        Slice { buffer: BufferId(self.buffers.len() as u32 - 1), offset: 0, width }
    }

    fn matrix(&mut self, rows: u32, cols: u32) -> WeightId {
        let n = (rows * cols) as usize / self.ty.format().block_elems;
        let bytes = ordinary_blocks(&mut self.rng, self.ty, n);
        self.weight(WeightKind::Matrix, self.ty, rows, cols, bytes)
    }

    fn vector(&mut self, n: u32, around: f32) -> WeightId {
        let bytes = (0..n).flat_map(|_| (around + 0.1 * self.rng.value()).to_le_bytes()).collect();
        self.weight(WeightKind::Vector, GgmlType::F32, 1, n, bytes)
    }

    fn weight(&mut self, kind: WeightKind, ty: GgmlType, rows: u32, cols: u32, bytes: Vec<u8>) -> WeightId {
        let name = format!("w{}", self.weights.len());
        self.weights.push(Weight { name, kind, ty, rows, cols, stands_for: rows });
        self.bytes.push(bytes);
        WeightId(self.weights.len() as u32 - 1)
    }

    fn norm(&mut self, x: Slice, group: u32) -> Slice {
        let out = self.buffer("norm", x.width);
        let weight = self.vector(group, 1.0);
        self.ops.push(Op::RmsNorm { x, weight, eps: EPS, out });
        out
    }

    fn matmul(&mut self, x: Slice, out: Slice, bias: bool, accumulate: bool) {
        let weight = self.matrix(out.width, x.width);
        let bias = bias.then(|| self.vector(out.width, 0.0));
        self.ops.push(Op::MatMul { x, weight, bias, out, accumulate });
    }

    /// The products of random blocks grow: a norm after each keeps the model's values near one.
    fn layer(&mut self, layer: u32, x: Slice) {
        let normed = self.norm(x, HIDDEN);
        let (q_width, kv_width) = (N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM);
        // Queries, keys and values share a buffer, as a fused product leaves them.
        let qkv = self.buffer("qkv", q_width + 2 * kv_width);
        let part = |offset, width| Slice { offset, width, ..qkv };
        let (q, k, v) = (part(0, q_width), part(q_width, kv_width), part(q_width + kv_width, kv_width));
        for part in [q, k, v] {
            self.matmul(normed, part, true, false);
        }
        let (q, k) = (self.norm(q, HEAD_DIM), self.norm(k, HEAD_DIM));
        let v = self.norm(v, HEAD_DIM);
        for x in [q, k] {
            self.ops.push(Op::Rope { x, head_dim: HEAD_DIM });
        }
        self.ops.push(Op::StoreKv { layer, k, v });
        let attended = self.buffer("attended", q_width);
        self.ops.push(Op::Attention { layer, q, out: attended, n_heads: N_HEADS, scale: 0.25 });
        self.matmul(attended, x, false, true);
        let normed = self.norm(x, HIDDEN);
        let (gate, up) = (self.buffer("gate", FFN), self.buffer("up", FFN));
        self.matmul(normed, gate, false, false);
        self.matmul(normed, up, false, false);
        let act = self.buffer("act", FFN);
        let (gate, up) = (self.norm(gate, FFN), self.norm(up, FFN));
        self.ops.push(Op::SiluMul { gate, up, out: act });
        self.matmul(act, x, false, true);
    }
}

impl TestModel {
    pub(crate) fn new(ty: GgmlType, seed: u64) -> Self {
        let mut b = Builder {
            rng: Rng::new(seed),
            ty,
            buffers: Vec::new(),
            weights: Vec::new(),
            bytes: Vec::new(),
            ops: Vec::new(),
        };
        let x = b.buffer("x", HIDDEN);
        let table = b.matrix(N_VOCAB, HIDDEN);
        b.ops.push(Op::Embed { table, out: x });
        b.layer(0, x);
        b.layer(1, x);
        let last = b.buffer("last", HIDDEN);
        b.ops.push(Op::SelectRows { x, out: last });
        let normed = b.buffer("last", HIDDEN);
        let weight = b.vector(HIDDEN, 1.0);
        b.ops.push(Op::RmsNorm { x: last, weight, eps: EPS, out: normed });
        let logits = b.buffer("logits", N_VOCAB);
        b.ops.push(Op::MatMul { x: normed, weight: table, bias: None, out: logits, accumulate: false });
        let state = LayerState::Attention { n_kv_heads: N_KV_HEADS, head_dim: HEAD_DIM };
        // Fewer pairs than half a head: the rest of a head stays as it is.
        let freqs = (0..24).map(|i| 10_000f64.powf(-f64::from(i) / 24.0)).collect();
        let plan = Plan {
            buffers: b.buffers,
            weights: b.weights,
            layers: vec![state; 2],
            rope: Rope { freqs, scale: 1.1 },
            ops: b.ops,
            logits: logits.buffer,
            n_vocab: N_VOCAB,
        };
        Self { plan, weights: b.bytes }
    }
}
