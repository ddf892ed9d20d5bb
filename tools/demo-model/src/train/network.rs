//! The decoder over a batch, forwards and backwards, written out by hand: the buffers are kept from batch to batch, and a
//! gradient is added where it belongs by the product that makes it. The tests hold it against candle's autograd.

use super::attention::{Inputs, attention, attention_back, probs_len};
use super::batch::{Batch, Example, runs};
use super::matmul::{View, ViewMut, matmul};
use super::model::{Config, Layer, Layout, Model};
use super::ops::{
    Heads, Rope, cross_entropy, norm_rope, norm_rope_back, rms_norm, rms_norm_back, swiglu, swiglu_back,
};

/// What a layer's backward pass needs of its forward pass. The last layer goes on after attention with those rows alone that
/// predict something, and so may have fewer from `mixed` on.
#[derive(Debug, Default)]
struct Saved {
    input: Vec<f32>,
    input_rstd: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    qk_rstd: Vec<f32>,
    qk: Vec<f32>,
    probs: Vec<f32>,
    mixed: Vec<f32>,
    middle: Vec<f32>,
    middle_rstd: Vec<f32>,
    middle_normed: Vec<f32>,
    gate_up: Vec<f32>,
}

/// The decoder's activations, reused from batch to batch.
#[derive(Debug)]
pub(super) struct Network {
    config: Config,
    run_tokens: usize,
    rope: Rope,
    saved: Vec<Saved>,
    /// The output of the last layer in the learned rows, and what becomes of it.
    output: Vec<f32>,
    output_rstd: Vec<f32>,
    output_normed: Vec<f32>,
    logits: Vec<f32>,
    /// Where the residual stream is, and later its gradient.
    stream: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    dqk: Vec<f32>,
    dqkv: Vec<f32>,
    dgains: Vec<f32>,
    scores: Vec<f32>,
}

/// What came of some examples.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    /// The sum over learned tokens of −log of their probability.
    pub(super) loss: f64,
    pub(super) learned: usize,
    pub(super) tokens: usize,
    /// For each learned token, in order, whether it was the likeliest.
    pub(super) hits: Vec<bool>,
}

/// The first `len` elements of a buffer that grows when it has to.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}

fn gather(out: &mut [f32], from: &[f32], rows: &[usize], width: usize) {
    for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
        out.copy_from_slice(&from[row * width..][..width]);
    }
}

fn scatter(out: &mut [f32], from: &[f32], rows: &[usize], width: usize) {
    out.fill(0.0);
    for (from, &row) in from.chunks_exact(width).zip(rows) {
        out[row * width..][..width].copy_from_slice(from);
    }
}

impl Network {
    /// `run_tokens`: how many tokens go through at a time. Fewer stay nearer to the core.
    pub(super) fn new(config: &Config, run_tokens: usize) -> Self {
        Network {
            config: config.clone(),
            run_tokens,
            rope: Rope::new(config.rope_theta, config.head_dim),
            saved: (0..config.n_layers).map(|_| Saved::default()).collect(),
            output: Vec::new(),
            output_rstd: Vec::new(),
            output_normed: Vec::new(),
            logits: Vec::new(),
            stream: Vec::new(),
            wide: Vec::new(),
            narrow: Vec::new(),
            dqk: Vec::new(),
            dqkv: Vec::new(),
            dgains: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// The loss of the examples; its gradient is added to `gradient`, if there is one.
    pub(super) fn run(
        &mut self,
        model: &Model,
        examples: &[Example],
        mut gradient: Option<&mut [f32]>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut hits = Vec::new();
        for run in runs(examples, self.run_tokens) {
            let batch = Batch::new(run);
            outcome.tokens += batch.tokens.len();
            if batch.rows.is_empty() {
                continue;
            }
            self.forward(model, &batch);
            outcome.loss += cross_entropy(&mut self.logits, self.config.vocab, &batch.targets, &mut hits);
            outcome.learned += batch.rows.len();
            outcome.hits.append(&mut hits);
            if let Some(gradient) = gradient.as_deref_mut() {
                self.backward(model, &batch, gradient);
            }
        }
        outcome
    }

    /// Leaves the logits of the batch's learned rows in `logits`.
    fn forward(&mut self, model: &Model, batch: &Batch) {
        let (c, w, layout) = (&self.config, model.weights.as_slice(), &model.layout);
        self.rope.reserve(batch.segments.iter().map(|s| s.len()).max().unwrap_or(0));
        let embedding = &w[layout.embedding.clone()];
        let x = sized(&mut self.stream, batch.tokens.len() * c.hidden);
        for (x, &token) in x.chunks_exact_mut(c.hidden).zip(&batch.tokens) {
            x.copy_from_slice(&embedding[token as usize * c.hidden..][..c.hidden]);
        }
        for (i, layer) in layout.layers.iter().enumerate() {
            let rows = (i + 1 == layout.layers.len()).then_some(batch.rows.as_slice());
            std::mem::swap(&mut self.saved[i].input, &mut self.stream);
            self.attend(i, w, layer, batch, rows);
            self.feed_forward(i, w, layer);
        }
        let c = &self.config;
        std::mem::swap(&mut self.output, &mut self.stream);
        let n = batch.rows.len();
        let normed = sized(&mut self.output_normed, n * c.hidden);
        let gain = &w[layout.output_norm.clone()];
        rms_norm(normed, sized(&mut self.output_rstd, n), &self.output, gain, c.eps as f32);
        let logits = sized(&mut self.logits, n * c.vocab);
        let head = View::new(embedding, c.vocab, c.hidden);
        matmul(ViewMut::new(logits, n, c.vocab), 0.0, View::new(normed, n, c.hidden), head.t(), 1.0);
    }

    /// The attention half of layer `i`: from `input` to `middle`, of which only `rows` if they are given.
    fn attend(&mut self, i: usize, w: &[f32], layer: &Layer, batch: &Batch, rows: Option<&[usize]>) {
        let (c, s) = (&self.config, &mut self.saved[i]);
        let (t, hidden, width, heads) = (batch.tokens.len(), c.hidden, c.qkv_width(), c.qk_heads());
        let normed = sized(&mut s.normed, t * hidden);
        let gain = &w[layer.attn_norm.clone()];
        rms_norm(normed, sized(&mut s.input_rstd, t), &s.input, gain, c.eps as f32);
        let qkv = sized(&mut s.qkv, t * width);
        let weight = View::new(&w[layer.qkv.clone()], width, hidden);
        matmul(ViewMut::new(qkv, t, width), 0.0, View::new(normed, t, hidden), weight.t(), 1.0);
        let qk = sized(&mut s.qk, t * heads * c.head_dim);
        let rstd = sized(&mut s.qk_rstd, t * heads);
        norm_rope(qk, rstd, qkv, &qk_heads(c, w, layer, &batch.positions, &self.rope));
        let probs = sized(&mut s.probs, probs_len(c, &batch.segments));
        let q_width = c.n_heads * c.head_dim;
        let n = rows.map_or(t, <[usize]>::len);
        let middle = sized(&mut s.middle, n * hidden);
        let inputs = Inputs { config: c, segments: &batch.segments, qk, qkv };
        if let Some(rows) = rows {
            let all = sized(&mut self.wide, t * q_width);
            attention(all, probs, inputs);
            gather(sized(&mut s.mixed, n * q_width), all, rows, q_width);
            gather(middle, &s.input, rows, hidden);
        } else {
            attention(sized(&mut s.mixed, n * q_width), probs, inputs);
            middle.copy_from_slice(&s.input);
        }
        let weight = View::new(&w[layer.output.clone()], hidden, q_width);
        matmul(ViewMut::new(middle, n, hidden), 1.0, View::new(&s.mixed, n, q_width), weight.t(), 1.0);
    }

    /// The other half: from `middle` to `stream`.
    fn feed_forward(&mut self, i: usize, w: &[f32], layer: &Layer) {
        let (c, s) = (&self.config, &mut self.saved[i]);
        let (hidden, ffn, n) = (c.hidden, c.ffn, s.middle.len() / c.hidden);
        let normed = sized(&mut s.middle_normed, n * hidden);
        let gain = &w[layer.ffn_norm.clone()];
        rms_norm(normed, sized(&mut s.middle_rstd, n), &s.middle, gain, c.eps as f32);
        let gate_up = sized(&mut s.gate_up, n * 2 * ffn);
        let weight = View::new(&w[layer.gate_up.clone()], 2 * ffn, hidden);
        matmul(ViewMut::new(gate_up, n, 2 * ffn), 0.0, View::new(normed, n, hidden), weight.t(), 1.0);
        let inner = sized(&mut self.wide, n * ffn);
        swiglu(inner, gate_up, ffn);
        let out = sized(&mut self.stream, n * hidden);
        out.copy_from_slice(&s.middle);
        let weight = View::new(&w[layer.down.clone()], hidden, ffn);
        matmul(ViewMut::new(out, n, hidden), 1.0, View::new(inner, n, ffn), weight.t(), 1.0);
    }

    /// Adds to `gradient` that of the loss whose gradient to the logits is in `logits`.
    fn backward(&mut self, model: &Model, batch: &Batch, gradient: &mut [f32]) {
        let (c, w, layout): (_, _, &Layout) = (&self.config, model.weights.as_slice(), &model.layout);
        let (n, hidden) = (batch.rows.len(), c.hidden);
        let dlogits = View::new(&self.logits, n, c.vocab);
        let normed = View::new(&self.output_normed, n, hidden);
        let dhead = ViewMut::new(&mut gradient[layout.embedding.clone()], c.vocab, hidden);
        matmul(dhead, 1.0, dlogits.t(), normed, 1.0);
        let dnormed = sized(&mut self.narrow, n * hidden);
        let head = View::new(&w[layout.embedding.clone()], c.vocab, hidden);
        matmul(ViewMut::new(dnormed, n, hidden), 0.0, dlogits, head, 1.0);
        let dx = sized(&mut self.stream, n * hidden);
        dx.fill(0.0);
        let (gain, dgain) = (&w[layout.output_norm.clone()], &mut gradient[layout.output_norm.clone()]);
        rms_norm_back(dx, dgain, dnormed, &self.output, &self.output_rstd, gain);
        for (i, layer) in layout.layers.iter().enumerate().rev() {
            let rows = (i + 1 == layout.layers.len()).then_some(batch.rows.as_slice());
            self.feed_forward_back(i, w, layer, gradient);
            self.attend_back(i, w, layer, batch, rows, gradient);
        }
        let dembedding = &mut gradient[layout.embedding.clone()];
        for (dx, &token) in self.stream.chunks_exact(hidden).zip(&batch.tokens) {
            let row = &mut dembedding[token as usize * hidden..][..hidden];
            row.iter_mut().zip(dx).for_each(|(row, dx)| *row += dx);
        }
    }

    /// Takes the gradient in `stream` from the output of layer `i` to its `middle`.
    fn feed_forward_back(&mut self, i: usize, w: &[f32], layer: &Layer, gradient: &mut [f32]) {
        let (c, s) = (&self.config, &mut self.saved[i]);
        let (hidden, ffn, n) = (c.hidden, c.ffn, s.middle.len() / c.hidden);
        let inner = sized(&mut self.wide, n * ffn);
        let weight = View::new(&w[layer.down.clone()], hidden, ffn);
        let dout = View::new(&self.stream, n, hidden);
        matmul(ViewMut::new(inner, n, ffn), 0.0, dout, weight, 1.0);
        swiglu_back(inner, &mut s.gate_up, ffn);
        let dweight = ViewMut::new(&mut gradient[layer.down.clone()], hidden, ffn);
        matmul(dweight, 1.0, dout.t(), View::new(inner, n, ffn), 1.0);
        let dgate_up = View::new(&s.gate_up, n, 2 * ffn);
        let dweight = ViewMut::new(&mut gradient[layer.gate_up.clone()], 2 * ffn, hidden);
        matmul(dweight, 1.0, dgate_up.t(), View::new(&s.middle_normed, n, hidden), 1.0);
        let dnormed = sized(&mut self.narrow, n * hidden);
        let weight = View::new(&w[layer.gate_up.clone()], 2 * ffn, hidden);
        matmul(ViewMut::new(dnormed, n, hidden), 0.0, dgate_up, weight, 1.0);
        let (gain, dgain) = (&w[layer.ffn_norm.clone()], &mut gradient[layer.ffn_norm.clone()]);
        rms_norm_back(&mut self.stream, dgain, dnormed, &s.middle, &s.middle_rstd, gain);
    }

    /// Takes the gradient in `stream` from the `middle` of layer `i` to its `input`.
    fn attend_back(
        &mut self,
        i: usize,
        w: &[f32],
        layer: &Layer,
        batch: &Batch,
        rows: Option<&[usize]>,
        gradient: &mut [f32],
    ) {
        let (c, s) = (&self.config, &mut self.saved[i]);
        let (t, hidden, width, heads) = (batch.tokens.len(), c.hidden, c.qkv_width(), c.qk_heads());
        let (q_width, n) = (c.n_heads * c.head_dim, s.middle.len() / hidden);
        let dmiddle = View::new(&self.stream, n, hidden);
        let dweight = ViewMut::new(&mut gradient[layer.output.clone()], hidden, q_width);
        matmul(dweight, 1.0, dmiddle.t(), View::new(&s.mixed, n, q_width), 1.0);
        let dmixed = sized(&mut self.wide, n * q_width);
        let weight = View::new(&w[layer.output.clone()], hidden, q_width);
        matmul(ViewMut::new(dmixed, n, q_width), 0.0, dmiddle, weight, 1.0);
        if let Some(rows) = rows {
            scatter(sized(&mut self.narrow, t * q_width), dmixed, rows, q_width);
            std::mem::swap(&mut self.narrow, &mut self.wide);
            scatter(sized(&mut self.narrow, t * hidden), &self.stream, rows, hidden);
            std::mem::swap(&mut self.narrow, &mut self.stream);
        }
        let dqk = sized(&mut self.dqk, t * heads * c.head_dim);
        let dqkv = sized(&mut self.dqkv, t * width);
        let inputs = Inputs { config: c, segments: &batch.segments, qk: &s.qk, qkv: &s.qkv };
        attention_back(dqk, dqkv, &self.wide, &s.probs, inputs, &mut self.scores);
        let dgains = sized(&mut self.dgains, heads * c.head_dim);
        dgains.fill(0.0);
        let qk_heads = qk_heads(c, w, layer, &batch.positions, &self.rope);
        norm_rope_back(dqkv, dgains, dqk, &s.qkv, &s.qk_rstd, &qk_heads);
        for (h, dgain) in dgains.chunks_exact(c.head_dim).enumerate() {
            let range = if h < c.n_heads { &layer.q_norm } else { &layer.k_norm };
            gradient[range.clone()].iter_mut().zip(dgain).for_each(|(sum, d)| *sum += d);
        }
        let dqkv = View::new(dqkv, t, width);
        let dweight = ViewMut::new(&mut gradient[layer.qkv.clone()], width, hidden);
        matmul(dweight, 1.0, dqkv.t(), View::new(&s.normed, t, hidden), 1.0);
        let dnormed = sized(&mut self.narrow, t * hidden);
        let weight = View::new(&w[layer.qkv.clone()], width, hidden);
        matmul(ViewMut::new(dnormed, t, hidden), 0.0, dqkv, weight, 1.0);
        let (gain, dgain) = (&w[layer.attn_norm.clone()], &mut gradient[layer.attn_norm.clone()]);
        rms_norm_back(&mut self.stream, dgain, dnormed, &s.input, &s.input_rstd, gain);
    }
}

fn qk_heads<'a>(c: &Config, w: &'a [f32], layer: &Layer, positions: &'a [u32], rope: &'a Rope) -> Heads<'a> {
    let range = |h| if h < c.n_heads { layer.q_norm.clone() } else { layer.k_norm.clone() };
    let gains = (0..c.qk_heads()).map(|h| &w[range(h)]).collect();
    Heads { stride: c.qkv_width(), gains, positions, rope, eps: c.eps as f32 }
}
