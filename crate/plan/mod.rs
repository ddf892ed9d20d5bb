//! A plan: the short list of operations that a model is, over named buffers. Models write plans, backends run them.
//!
//! A run takes **rows**: each row is one token at one position of one sequence ([`Row`]). Prefill is many rows of one
//! sequence, decode one row, batched decode one row of each of several sequences; no operation knows which it is.
//! Every buffer holds one line of `width` f32 values a row.

pub mod fuse;
mod layout;
pub mod merge;
pub mod state;

pub use layout::{Layout, Slot};

use crate::quant::GgmlType;

/// Names a buffer of [`Plan::buffers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// Names a weight of [`Plan::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);

/// Which rows of a run a buffer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSet {
    /// One line a row of the run.
    All,
    /// One line a row that asks for logits ([`Row::output`]), in the order of the rows.
    Output,
}

/// An activation buffer: `[rows, width]` of f32, row-major.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// Names the value for tests and traces: `blk.0.attn_norm`.
    pub name: String,
    pub width: u32,
    pub rows: RowSet,
}

/// Columns `offset .. offset + width` of every line of a buffer; the line stride is the buffer's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub buffer: BufferId,
    pub offset: u32,
    pub width: u32,
}

impl Slice {
    /// Its columns of `lines`, which are those of its buffer, `width` values each.
    pub(crate) fn of_lines(self, lines: &[f32], width: u32) -> Vec<f32> {
        let columns = self.offset as usize..(self.offset + self.width) as usize;
        lines.chunks_exact(width as usize).flat_map(|line| &line[columns.clone()]).copied().collect()
    }
}

/// How a weight is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// `[rows, cols]` in its own (quantized) type; the right side of a matrix product or a table of embeddings.
    Matrix,
    /// One line of `cols` values, converted to f32 at upload: norms and biases.
    Vector,
}

/// A tensor of the file that the plan reads.
#[derive(Debug, Clone)]
pub struct Weight {
    /// The tensor's name in the file.
    pub name: String,
    pub kind: WeightKind,
    pub ty: GgmlType,
    /// Output features (1 for a vector).
    pub rows: u32,
    /// Input features; contiguous in the file.
    pub cols: u32,
    /// As many rows as kernels are to be chosen for: those it has, or, in a miniature, those of the weight in its place.
    pub stands_for: u32,
}

/// Rotary embedding of one model: per-pair frequencies, with any context scaling already folded in.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Angle a position, for pair `i` of `2 * freqs.len()` rotated dimensions; computed in f64.
    pub freqs: Vec<f64>,
    /// Factor on cos and sin (YaRN's attention factor; 1 otherwise).
    pub scale: f32,
}

/// One step of a run. An output never is the buffer of an input, except where the operation says "in place".
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `out[r] = table[token(r)]`.
    Embed { table: WeightId, out: Slice },
    /// Root-mean-square norm over groups of `weight.cols` values (the whole line, or each head):
    /// `out = x / sqrt(mean(x²) + eps) * weight`.
    RmsNorm { x: Slice, weight: WeightId, eps: f32, out: Slice },
    /// `out[r] = weight · x[r] (+ bias)`, added to what `out` holds where `accumulate`.
    MatMul { x: Slice, weight: WeightId, bias: Option<WeightId>, out: Slice, accumulate: bool },
    /// In place: rotates the first `2 * freqs.len()` values of each head of `head_dim`, half-split ("NEOX") pairs
    /// `(i, i + freqs.len())`, by the row's position.
    Rope { x: Slice, head_dim: u32 },
    /// Writes the row's key and value, `[n_kv_heads, head_dim]` each, to the state of layer `layer` at its position.
    StoreKv { layer: u32, k: Slice, v: Slice },
    /// Causal grouped-query attention over the row's sequence, positions `0 ..= pos(r)` of layer `layer`'s state.
    /// Query head `h` reads key/value head `h / (n_heads / n_kv_heads)`.
    Attention { layer: u32, q: Slice, out: Slice, n_heads: u32, scale: f32 },
    /// `out = gate * sigmoid(gate) * up`.
    SiluMul { gate: Slice, up: Slice, out: Slice },
    /// Lines of the rows that ask for logits, in order: from a [`RowSet::All`] to a [`RowSet::Output`] buffer.
    SelectRows { x: Slice, out: Slice },
}

/// What a layer keeps of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// Keys and values, `n_kv_heads * head_dim` values each a position.
    Attention { n_kv_heads: u32, head_dim: u32 },
}

impl LayerState {
    pub fn head_dim(&self) -> u32 {
        let LayerState::Attention { head_dim, .. } = *self;
        head_dim
    }
}

/// A model, ready to be prepared by a backend.
#[derive(Debug, Clone)]
pub struct Plan {
    pub buffers: Vec<Buffer>,
    pub weights: Vec<Weight>,
    pub layers: Vec<LayerState>,
    pub rope: Rope,
    pub ops: Vec<Op>,
    /// `[output rows, n_vocab]`.
    pub logits: BufferId,
    pub n_vocab: u32,
}

/// One token at one place of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub token: u32,
    /// Index into [`Batch::tables`].
    pub sequence: u32,
    /// Position in the sequence, from 0. Rows of one sequence come in increasing order, and every position before the
    /// first of them is already in the state.
    pub position: u32,
    /// Whether logits are wanted for this row.
    pub output: bool,
}

impl Row {
    /// In place of a token: the one that the backend chose last, where it chooses itself.
    pub const CHOSEN: u32 = u32::MAX;
}

/// What one run works on.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub rows: &'a [Row],
    /// A page table a sequence: page `i` holds positions `i * PAGE_TOKENS ..`.
    pub tables: &'a [&'a [state::PageId]],
}

impl Plan {
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0 as usize]
    }

    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.0 as usize]
    }

    /// The buffer of a name, for tests and traces.
    pub fn buffer_named(&self, name: &str) -> Option<BufferId> {
        self.buffers.iter().position(|b| b.name == name).map(|i| BufferId(i as u32))
    }
}

impl Op {
    /// Buffers that the operation reads.
    pub fn reads(&self) -> Vec<BufferId> {
        match *self {
            Op::Embed { .. } => vec![],
            Op::RmsNorm { x, .. } | Op::Rope { x, .. } | Op::SelectRows { x, .. } => vec![x.buffer],
            Op::MatMul { x, out, accumulate, .. } => {
                if accumulate {
                    vec![x.buffer, out.buffer]
                } else {
                    vec![x.buffer]
                }
            }
            Op::StoreKv { k, v, .. } => vec![k.buffer, v.buffer],
            Op::Attention { q, .. } => vec![q.buffer],
            Op::SiluMul { gate, up, .. } => vec![gate.buffer, up.buffer],
        }
    }

    /// The buffer that the operation writes, if any.
    pub fn writes(&self) -> Option<BufferId> {
        match *self {
            Op::Embed { out, .. }
            | Op::RmsNorm { out, .. }
            | Op::MatMul { out, .. }
            | Op::Attention { out, .. }
            | Op::SiluMul { out, .. }
            | Op::SelectRows { out, .. } => Some(out.buffer),
            Op::Rope { x, .. } => Some(x.buffer),
            Op::StoreKv { .. } => None,
        }
    }

    /// What the operation reads and writes.
    fn slices_mut(&mut self) -> Vec<&mut Slice> {
        match self {
            Op::Embed { out, .. } => vec![out],
            Op::RmsNorm { x, out, .. } | Op::MatMul { x, out, .. } | Op::SelectRows { x, out } => {
                vec![x, out]
            }
            Op::Rope { x, .. } => vec![x],
            Op::StoreKv { k, v, .. } => vec![k, v],
            Op::Attention { q, out, .. } => vec![q, out],
            Op::SiluMul { gate, up, out } => vec![gate, up, out],
        }
    }
}
