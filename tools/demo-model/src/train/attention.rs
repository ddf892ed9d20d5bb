//! Causal attention within each segment of a batch, and its gradient.

use super::matmul::{View, ViewMut, matmul};
use super::model::Config;
use super::ops::{causal_softmax, causal_softmax_back};
use std::ops::Range;

/// What attention reads: `qk` has the normed and rotated queries and keys, `qkv` the values, as its last columns.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) config: &'a Config,
    pub(super) segments: &'a [Range<usize>],
    pub(super) qk: &'a [f32],
    pub(super) qkv: &'a [f32],
}

/// One head's place in the rows of one segment.
struct Head {
    len: usize,
    query: usize,
    key: usize,
    value: usize,
    output: usize,
    probs: Range<usize>,
}

/// The number of attention weights that a batch has.
pub(super) fn probs_len(c: &Config, segments: &[Range<usize>]) -> usize {
    segments.iter().map(|s| s.len() * s.len() * c.n_heads).sum()
}

fn heads<'a>(c: &'a Config, segments: &'a [Range<usize>]) -> impl Iterator<Item = Head> + 'a {
    let mut end = 0;
    segments.iter().flat_map(move |s| (0..c.n_heads).map(move |h| (s, h))).map(move |(s, h)| {
        let group = h / (c.n_heads / c.n_kv_heads);
        let probs = end..end + s.len() * s.len();
        end = probs.end;
        Head {
            len: s.len(),
            query: (s.start * c.qk_heads() + h) * c.head_dim,
            key: (s.start * c.qk_heads() + c.n_heads + group) * c.head_dim,
            value: s.start * c.qkv_width() + (c.qk_heads() + group) * c.head_dim,
            output: (s.start * c.n_heads + h) * c.head_dim,
            probs,
        }
    })
}

/// Writes each head's mix of values to `out`, and the weights of the mix to `probs`.
pub(super) fn attention(out: &mut [f32], probs: &mut [f32], inputs: Inputs) {
    let c = inputs.config;
    let (dim, qk_stride, qkv_stride) = (c.head_dim, c.qk_heads() * c.head_dim, c.qkv_width());
    for head in heads(c, inputs.segments) {
        let len = head.len;
        let q = View::strided(&inputs.qk[head.query..], len, dim, qk_stride);
        let k = View::strided(&inputs.qk[head.key..], len, dim, qk_stride);
        let v = View::strided(&inputs.qkv[head.value..], len, dim, qkv_stride);
        let probs = &mut probs[head.probs];
        matmul(ViewMut::new(probs, len, len), 0.0, q, k.t(), (dim as f32).powf(-0.5));
        causal_softmax(probs, len);
        let out = ViewMut::strided(&mut out[head.output..], len, dim, c.n_heads * dim);
        matmul(out, 0.0, View::new(probs, len, len), v, 1.0);
    }
}

/// From the gradient to the output, those to `qk` and to the values' columns of `dqkv`, both overwritten.
pub(super) fn attention_back(
    dqk: &mut [f32],
    dqkv: &mut [f32],
    dout: &[f32],
    probs: &[f32],
    inputs: Inputs,
    scratch: &mut Vec<f32>,
) {
    let c = inputs.config;
    let (dim, qk_stride, qkv_stride) = (c.head_dim, c.qk_heads() * c.head_dim, c.qkv_width());
    for (i, head) in heads(c, inputs.segments).enumerate() {
        let len = head.len;
        // The first query head of a group sets the gradients of the group's key and value, the others add to them.
        let keep = if i % (c.n_heads / c.n_kv_heads) == 0 { 0.0 } else { 1.0 };
        let q = View::strided(&inputs.qk[head.query..], len, dim, qk_stride);
        let k = View::strided(&inputs.qk[head.key..], len, dim, qk_stride);
        let v = View::strided(&inputs.qkv[head.value..], len, dim, qkv_stride);
        let dout = View::strided(&dout[head.output..], len, dim, c.n_heads * dim);
        let probs = &probs[head.probs];
        let dv = ViewMut::strided(&mut dqkv[head.value..], len, dim, qkv_stride);
        matmul(dv, keep, View::new(probs, len, len).t(), dout, 1.0);
        scratch.resize(len * len, 0.0);
        matmul(ViewMut::new(scratch, len, len), 0.0, dout, v.t(), 1.0);
        causal_softmax_back(scratch, probs, len);
        let dscores = View::new(scratch, len, len);
        let scale = (dim as f32).powf(-0.5);
        let dq = ViewMut::strided(&mut dqk[head.query..], len, dim, qk_stride);
        matmul(dq, 0.0, dscores, k, scale);
        let dk = ViewMut::strided(&mut dqk[head.key..], len, dim, qk_stride);
        matmul(dk, keep, dscores.t(), q, scale);
    }
}
