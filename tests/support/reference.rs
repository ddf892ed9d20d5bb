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
        let embedding = self.tensor("token_embd.weight");
        let mut x: Vec<Vector> = tokens.iter().map(|&t| embedding.row(t as usize).to_vec()).collect();
        for layer in 0..self.n_layers {
            let w = |name: &str| format!("blk.{layer}.{name}");
            let normed = self.norm_all(&x, &w("attn_norm.weight"));
            let heads = |name: &str| -> Vec<Vector> {
                normed.iter().enumerate().map(|(pos, h)| self.project(h, &w(name), pos)).collect()
            };
            let (q, k, v) = (heads("attn_q"), heads("attn_k"), heads("attn_v"));
            for (pos, x) in x.iter_mut().enumerate() {
                let attended = self.attention(&q[pos], &k[..=pos], &v[..=pos]);
                add(x, &self.tensor(&w("attn_output.weight")).times(&attended));
            }
            let normed = self.norm_all(&x, &w("ffn_norm.weight"));
            for (x, h) in x.iter_mut().zip(normed) {
                let gate = self.tensor(&w("ffn_gate.weight")).times(&h);
                let up = self.tensor(&w("ffn_up.weight")).times(&h);
                let act: Vector = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                add(x, &self.tensor(&w("ffn_down.weight")).times(&act));
            }
        }
        let head = self.tensors.get("output.weight").unwrap_or(embedding);
        self.norm_all(&x, "output_norm.weight").iter().map(|h| head.times(h)).collect()
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

    /// Queries, keys or values at a position: bias or norm as the file has them; queries and keys are rotated.
    fn project(&self, h: &[f64], name: &str, pos: usize) -> Vector {
        let mut out = self.tensor(&format!("{name}.weight")).times(h);
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            add(&mut out, &bias.values);
        }
        if name.ends_with("attn_v") {
            return out;
        }
        for head in out.chunks_exact_mut(self.head_dim) {
            if let Some(weight) = self.tensors.get(&format!("{name}_norm.weight")) {
                head.copy_from_slice(&self.norm(head, &weight.values));
            }
            let half = self.head_dim / 2;
            for (i, freq) in self.freqs.iter().enumerate() {
                let (sin, cos) = (freq * pos as f64).sin_cos();
                let (a, b) = (head[i] * self.rope_scale, head[i + half] * self.rope_scale);
                (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
        out
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

fn add(a: &mut [f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}
