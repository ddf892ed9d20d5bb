//! The forward pass of a dense Qwen model in f64, written to be read: weights are dequantized, every position is
//! computed from scratch, nothing is cached or fused. It takes a file's tensors from the GGUF parser and shares nothing
//! else with the engine.

use std::collections::HashMap;

use qwenlet::gguf::{Metadata, ModelFiles, Parsed, parse};

use super::quantize::dequantize;

type Vector = Vec<f64>;

/// `[rows, cols]`, row-major.
struct Matrix {
    cols: usize,
    values: Vector,
}

impl Matrix {
    fn row(&self, r: usize) -> &[f64] {
        &self.values[r * self.cols..][..self.cols]
    }

    fn times(&self, x: &[f64]) -> Vector {
        self.values.chunks_exact(self.cols).map(|row| dot(row, x)).collect()
    }
}

/// A model, dequantized.
pub struct Reference {
    tensors: HashMap<String, Matrix>,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    eps: f64,
    /// Angle a position for each pair `(i, i + head_dim / 2)` of a head, and the factor on cosine and sine.
    freqs: Vec<f64>,
    rope_scale: f64,
}

impl Reference {
    /// Takes the parts of a model, usually one.
    pub fn new(parts: &[impl AsRef<[u8]>]) -> Self {
        let header = |bytes: &[u8]| match parse(bytes, Some(bytes.len() as u64)) {
            Ok(Parsed::Header(h)) => *h,
            other => panic!("not a whole GGUF file: {other:?}"),
        };
        let mut files = ModelFiles::new(header(parts[0].as_ref())).expect("the first part");
        for part in &parts[1..] {
            files.add(header(part.as_ref())).expect("parts fit");
        }
        let tensors = files.tensors().map(|t| {
            let bytes = &parts[t.part].as_ref()[t.info.offset as usize..][..t.info.bytes as usize];
            let values = dequantize(t.info.ty, bytes).into_iter().map(f64::from).collect();
            (t.info.name.clone(), Matrix { cols: t.info.dims[0] as usize, values })
        });
        let tensors: HashMap<_, _> = tensors.collect();

        let m = files.metadata();
        let arch = m.require_str("general.architecture").expect("an architecture");
        let number = |name: &str| m.u32(&format!("{arch}.{name}")).expect("a number").map(|n| n as usize);
        let n_heads = number("attention.head_count").expect("heads");
        let hidden = number("embedding_length").expect("a width");
        let head_dim = number("attention.key_length").unwrap_or(hidden / n_heads);
        let (freqs, rope_scale) = rope(m, arch, head_dim);
        Self {
            tensors,
            n_layers: number("block_count").expect("layers"),
            n_heads,
            n_kv_heads: number("attention.head_count_kv").expect("key heads"),
            head_dim,
            eps: m
                .require_f32(&format!("{arch}.attention.layer_norm_rms_epsilon"))
                .expect("an epsilon")
                .into(),
            freqs,
            rope_scale,
        }
    }

    /// Logits after each token, `[tokens, vocabulary]`.
    pub fn logits(&self, tokens: &[u32]) -> Vec<Vector> {
        self.traced(tokens, &mut |_, _| ())
    }

    /// As [`Reference::logits`]; `trace` is shown what is computed on the way, a line a token: `embd`, per layer
    /// `attn_norm`, `q_proj_bias` and `k_proj_bias` (with bias) or `q_norm` and `k_norm`, `v`, `q_rope`, `k_rope`,
    /// `attn_ctx`, `attn_out`, `ffn_inp`, `ffn_norm`, `ffn_gate`, `ffn_up`, `ffn_act`, `ffn_out`, `layer_out`; then
    /// `final_norm` and `logits`.
    pub fn traced(&self, tokens: &[u32], trace: &mut dyn FnMut(&str, &[Vector])) -> Vec<Vector> {
        let embedding = self.tensor("token_embd.weight");
        let mut x: Vec<Vector> = tokens.iter().map(|&t| embedding.row(t as usize).to_vec()).collect();
        trace("embd", &x);
        for layer in 0..self.n_layers {
            let blk = |name: &str| format!("blk.{layer}.{name}");
            let mut seen = |name: &str, rows: Vec<Vector>| {
                trace(&blk(name), &rows);
                rows
            };
            let times = |name: &str, rows: &[Vector]| -> Vec<Vector> {
                let weight = self.tensor(&blk(name));
                rows.iter().map(|row| weight.times(row)).collect()
            };
            let h = seen("attn_norm", self.norm_all(&x, &blk("attn_norm.weight")));
            let v = seen("v", self.biased(times("attn_v.weight", &h), &blk("attn_v.bias")));
            let mut rotated = |name: &str| {
                let heads = self
                    .biased(times(&format!("attn_{name}.weight"), &h), &blk(&format!("attn_{name}.bias")));
                let heads = match self.tensors.get(&blk(&format!("attn_{name}_norm.weight"))) {
                    None => seen(&format!("{name}_proj_bias"), heads),
                    Some(w) => seen(&format!("{name}_norm"), self.norm_heads(heads, &w.values)),
                };
                seen(&format!("{name}_rope"), self.rotate(heads))
            };
            let (q, k) = (rotated("q"), rotated("k"));
            let context = (0..x.len()).map(|at| self.attention(&q[at], &k[..=at], &v[..=at])).collect();
            let context = seen("attn_ctx", context);
            add_all(&mut x, &seen("attn_out", times("attn_output.weight", &context)));
            seen("ffn_inp", x.clone());
            let h = seen("ffn_norm", self.norm_all(&x, &blk("ffn_norm.weight")));
            let gate = seen("ffn_gate", times("ffn_gate.weight", &h));
            let up = seen("ffn_up", times("ffn_up.weight", &h));
            let act = gate.iter().zip(&up).map(|(gate, up)| silu_mul(gate, up)).collect();
            let act = seen("ffn_act", act);
            add_all(&mut x, &seen("ffn_out", times("ffn_down.weight", &act)));
            seen("layer_out", x.clone());
        }
        let h = self.norm_all(&x, "output_norm.weight");
        trace("final_norm", &h);
        let head = self.tensors.get("output.weight").unwrap_or(embedding);
        let logits: Vec<Vector> = h.iter().map(|h| head.times(h)).collect();
        trace("logits", &logits);
        logits
    }

    fn tensor(&self, name: &str) -> &Matrix {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// `h / rms(h) * weight`.
    fn norm(&self, h: &[f64], weight: &[f64]) -> Vector {
        let scale = 1.0 / (dot(h, h) / h.len() as f64 + self.eps).sqrt();
        h.iter().zip(weight).map(|(h, w)| h * scale * w).collect()
    }

    fn norm_all(&self, rows: &[Vector], weight: &str) -> Vec<Vector> {
        rows.iter().map(|h| self.norm(h, &self.tensor(weight).values)).collect()
    }

    /// Adds a bias where the file has one.
    fn biased(&self, mut rows: Vec<Vector>, bias: &str) -> Vec<Vector> {
        if let Some(bias) = self.tensors.get(bias) {
            rows.iter_mut().for_each(|row| add(row, &bias.values));
        }
        rows
    }

    fn norm_heads(&self, rows: Vec<Vector>, weight: &[f64]) -> Vec<Vector> {
        let row =
            |row: Vector| row.chunks_exact(self.head_dim).flat_map(|head| self.norm(head, weight)).collect();
        rows.into_iter().map(row).collect()
    }

    /// Rotates each pair `(i, i + head_dim / 2)` of each head by the row's position.
    fn rotate(&self, mut rows: Vec<Vector>) -> Vec<Vector> {
        let half = self.head_dim / 2;
        for (pos, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(self.head_dim) {
                for (i, freq) in self.freqs.iter().enumerate() {
                    let (sin, cos) = (freq * pos as f64).sin_cos();
                    let (a, b) = (head[i] * self.rope_scale, head[i + half] * self.rope_scale);
                    (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
        }
        rows
    }

    /// Softmax of the query with all keys, times the values; several query heads share a key head.
    fn attention(&self, q: &[f64], keys: &[Vector], values: &[Vector]) -> Vector {
        let d = self.head_dim;
        let mut out = vec![0.0; q.len()];
        for (head, (q, out)) in q.chunks_exact(d).zip(out.chunks_exact_mut(d)).enumerate() {
            let at = head / (self.n_heads / self.n_kv_heads) * d;
            let scores: Vector = keys.iter().map(|k| dot(q, &k[at..at + d]) / (d as f64).sqrt()).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vector = scores.iter().map(|s| (s - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (w, v) in weights.iter().zip(values) {
                for (o, v) in out.iter_mut().zip(&v[at..at + d]) {
                    *o += w / sum * v;
                }
            }
        }
        out
    }
}

/// Rotary frequencies, with YaRN's interpolation where the file asks for it (Peng et al., 2023).
fn rope(m: &Metadata, arch: &str, head_dim: usize) -> (Vec<f64>, f64) {
    let number = |name: &str| m.f32(&format!("{arch}.rope.{name}")).expect("a number").map(f64::from);
    let theta = number("freq_base").expect("a base");
    let d = head_dim as f64;
    let plain = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / d));
    let factor = match m.str(&format!("{arch}.rope.scaling.type")).expect("text") {
        Some("yarn") => number("scaling.factor").expect("a factor"),
        _ => return (plain.collect(), 1.0),
    };
    let original = number("scaling.original_context_length").expect("a length");
    // The pair that turns `turns` times within the original context.
    let pair = |turns: f64| d * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
    let low = pair(32.0).floor().max(0.0);
    let high = pair(1.0).ceil().min(d - 1.0);
    let freqs = plain.enumerate().map(|(i, f)| {
        let slow = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        f / factor * slow + f * (1.0 - slow)
    });
    (freqs.collect(), 0.1 * factor.ln() + 1.0)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `gate * sigmoid(gate) * up`.
fn silu_mul(gate: &[f64], up: &[f64]) -> Vector {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

fn add_all(a: &mut [Vector], b: &[Vector]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| add(a, b));
}

fn add(a: &mut [f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}
