//! The weights: one run of f32 in which each tensor has its place, with the names that the GGUF file gives them.

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor, safetensors};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The shape of a `qwen3` decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub vocab: usize,
    pub hidden: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub ffn: usize,
    pub rope_theta: f64,
    pub eps: f64,
}

impl Config {
    /// Query heads and key heads, which are normed and rotated alike.
    pub(super) fn qk_heads(&self) -> usize {
        self.n_heads + self.n_kv_heads
    }

    /// Width of the queries, keys and values side by side.
    pub(super) fn qkv_width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Embedding,
    Matrix,
    Norm,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `[rows, cols]` of a matrix, `[len]` of a norm's gain.
    pub(super) shape: Vec<usize>,
    pub(super) range: Range<usize>,
}

/// Where a layer's weights lie. Queries, keys and values are neighbours, and so are gate and up: one product gives them all.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) attn_norm: Range<usize>,
    pub(super) qkv: Range<usize>,
    pub(super) q_norm: Range<usize>,
    pub(super) k_norm: Range<usize>,
    pub(super) output: Range<usize>,
    pub(super) ffn_norm: Range<usize>,
    pub(super) gate_up: Range<usize>,
    pub(super) down: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) entries: Vec<Entry>,
    pub(super) embedding: Range<usize>,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Range<usize>,
}

impl Layout {
    fn new(c: &Config) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut add = |name: String, kind, shape: &[usize]| {
            let start = entries.last().map_or(0, |e| e.range.end);
            let range = start..start + shape.iter().product::<usize>();
            entries.push(Entry { name, kind, shape: shape.to_vec(), range: range.clone() });
            range
        };
        let (q, kv) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        let embedding = add("token_embd.weight".into(), Kind::Embedding, &[c.vocab, c.hidden]);
        let layers = (0..c.n_layers)
            .map(|i| {
                let mut add =
                    |name, kind, shape: &[usize]| add(format!("blk.{i}.{name}.weight"), kind, shape);
                let attn_norm = add("attn_norm", Kind::Norm, &[c.hidden]);
                let queries = add("attn_q", Kind::Matrix, &[q, c.hidden]);
                add("attn_k", Kind::Matrix, &[kv, c.hidden]);
                let values = add("attn_v", Kind::Matrix, &[kv, c.hidden]);
                let q_norm = add("attn_q_norm", Kind::Norm, &[c.head_dim]);
                let k_norm = add("attn_k_norm", Kind::Norm, &[c.head_dim]);
                let output = add("attn_output", Kind::Matrix, &[c.hidden, q]);
                let ffn_norm = add("ffn_norm", Kind::Norm, &[c.hidden]);
                let gate = add("ffn_gate", Kind::Matrix, &[c.ffn, c.hidden]);
                let up = add("ffn_up", Kind::Matrix, &[c.ffn, c.hidden]);
                let down = add("ffn_down", Kind::Matrix, &[c.hidden, c.ffn]);
                let (qkv, gate_up) = (queries.start..values.end, gate.start..up.end);
                Layer { attn_norm, qkv, q_norm, k_norm, output, ffn_norm, gate_up, down }
            })
            .collect();
        let output_norm = add("output_norm.weight".into(), Kind::Norm, &[c.hidden]);
        Layout { entries, embedding, layers, output_norm }
    }
}

/// A decoder's weights.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) config: Config,
    pub(super) layout: Layout,
    pub(super) weights: Vec<f32>,
}

impl Model {
    /// Weights to start from: the same ones for the same seed.
    pub fn new(config: Config, seed: u64) -> Self {
        let layout = Layout::new(&config);
        let mut weights = Vec::with_capacity(layout.output_norm.end);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for entry in &layout.entries {
            // What adds to the residual stream starts at zero: every layer then starts as the identity.
            let residual =
                entry.name.ends_with("attn_output.weight") || entry.name.ends_with("ffn_down.weight");
            let deviation = match entry.kind {
                Kind::Embedding => 0.02,
                Kind::Matrix if residual => 0.0,
                Kind::Matrix => (config.hidden as f32).powf(-0.5),
                Kind::Norm => {
                    weights.extend(entry.range.clone().map(|_| 1.0));
                    continue;
                }
            };
            weights.extend(entry.range.clone().map(|_| {
                let value: f32 = StandardNormal.sample(&mut rng);
                value * deviation
            }));
        }
        Model { config, layout, weights }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many weights there are.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Every tensor under its GGUF name, a matrix as `[rows, cols]` with the rows its outputs.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        named(&self.layout, &self.weights)
    }

    /// Reads what `save` wrote; the file has to have exactly the tensors of `config`.
    pub fn load(path: &Path, config: Config) -> Result<Self> {
        let tensors = safetensors::load(path, &Device::Cpu).with_context(|| path.display().to_string())?;
        let layout = Layout::new(&config);
        ensure!(tensors.len() == layout.entries.len(), "{}: not a model of this shape", path.display());
        let weights = unnamed(&layout, &tensors, "")?;
        Ok(Model { config, layout, weights })
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let tensors: HashMap<_, _> = self.tensors()?.into_iter().collect();
        Ok(safetensors::save(&tensors, path)?)
    }
}

/// Cuts a run of values laid out as the weights are into named tensors.
pub(super) fn named(layout: &Layout, values: &[f32]) -> Result<Vec<(String, Tensor)>> {
    let tensor = |e: &Entry| {
        let values = &values[e.range.clone()];
        Ok((e.name.clone(), Tensor::from_slice(values, e.shape.as_slice(), &Device::Cpu)?))
    };
    layout.entries.iter().map(tensor).collect()
}

/// The reverse of `named`, for tensors whose names have a prefix.
pub(super) fn unnamed(layout: &Layout, tensors: &HashMap<String, Tensor>, prefix: &str) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(layout.output_norm.end);
    for entry in &layout.entries {
        let name = format!("{prefix}{}", entry.name);
        let tensor = tensors.get(&name).with_context(|| format!("no tensor {name}"))?;
        ensure!(
            tensor.dims() == entry.shape,
            "{name} has the shape {:?}, not {:?}",
            tensor.dims(),
            entry.shape
        );
        values.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(values)
}
