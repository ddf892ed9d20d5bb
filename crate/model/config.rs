//! A model's dimensions, from the file's metadata alone.

use std::f64::consts::PI;

use crate::error::{Code, Error, Result};
use crate::gguf::Metadata;
use crate::plan::Rope;

/// What the metadata says of a decoder-only transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub architecture: String,
    pub name: Option<String>,
    pub n_layers: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    pub intermediate_size: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    /// Not `hidden_size / n_heads` for every model.
    pub head_dim: u32,
    pub rms_norm_eps: f32,
    /// What the model was trained for, context scaling included.
    pub context_length: u32,
    pub rope_theta: f32,
    pub rope_scaling: Option<RopeScaling>,
}

/// How positions beyond the original context are reached.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Every frequency divided by `factor`.
    Linear { factor: f32 },
    /// YaRN (arXiv 2309.00071).
    Yarn { factor: f32, original_context_length: u32, beta_fast: f32, beta_slow: f32, attention_factor: f32 },
}

/// Limits far above any published model, so that a hostile file cannot make sizes overflow.
const MAX_LAYERS: u32 = 1024;
const MAX_WIDTH: u32 = 1 << 20;
const MAX_HEADS: u32 = 1024;
/// The attention kernels keep a head in registers or workgroup memory.
const MAX_HEAD_DIM: u32 = 256;
const MAX_CONTEXT: u32 = 1 << 22;

impl Config {
    /// # Errors
    /// `invalid-model` naming the key.
    pub fn new(metadata: &Metadata, architecture: &str) -> Result<Self> {
        let key = |name: &str| format!("{architecture}.{name}");
        let number = |name: &str, max: u32| {
            let value = metadata.require_u32(&key(name))?;
            in_range(&key(name), value, 1, max)
        };
        let n_layers = number("block_count", MAX_LAYERS)?;
        let hidden_size = number("embedding_length", MAX_WIDTH)?;
        let intermediate_size = number("feed_forward_length", MAX_WIDTH)?;
        let n_heads = number("attention.head_count", MAX_HEADS)?;
        let kv_key = key("attention.head_count_kv");
        let n_kv_heads = in_range(&kv_key, metadata.u32(&kv_key)?.unwrap_or(n_heads), 1, n_heads)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(invalid(format!("{kv_key} is {n_kv_heads}, which does not divide {n_heads} heads")));
        }
        let head_dim = match metadata.u32(&key("attention.key_length"))? {
            Some(n) => n,
            None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                return Err(invalid(format!(
                    "{} is missing and {hidden_size} is not a multiple of {n_heads} heads",
                    key("attention.key_length")
                )));
            }
        };
        let head_dim = in_range(&key("attention.key_length"), head_dim, 8, MAX_HEAD_DIM)?;
        if !head_dim.is_multiple_of(8) {
            return Err(invalid(format!("a head of {head_dim} values is not a multiple of 8")));
        }
        if let Some(n) = metadata.u32(&key("attention.value_length"))?
            && n != head_dim
        {
            return Err(invalid(format!(
                "{} is {n}, but keys have {head_dim} values; both must agree",
                key("attention.value_length")
            )));
        }
        if let Some(n) = metadata.u32(&key("rope.dimension_count"))?
            && n != head_dim
        {
            return Err(invalid(format!(
                "{} is {n}; {architecture} rotates all {head_dim} values of a head",
                key("rope.dimension_count")
            )));
        }
        let rms_norm_eps = positive(
            &key("attention.layer_norm_rms_epsilon"),
            metadata.f32(&key("attention.layer_norm_rms_epsilon"))?,
            1e-6,
        )?;
        let rope_theta = positive(&key("rope.freq_base"), metadata.f32(&key("rope.freq_base"))?, 10_000.0)?;
        Ok(Self {
            architecture: architecture.to_owned(),
            name: metadata.str("general.name")?.map(str::to_owned),
            n_layers,
            hidden_size,
            intermediate_size,
            n_heads,
            n_kv_heads,
            head_dim,
            rms_norm_eps,
            context_length: number("context_length", MAX_CONTEXT)?,
            rope_theta,
            rope_scaling: RopeScaling::new(metadata, architecture)?,
        })
    }

    /// Frequencies and attention factor, with the context scaling folded in.
    pub fn rope(&self) -> Rope {
        let n = self.head_dim as usize;
        let theta = f64::from(self.rope_theta);
        let plain = (0..n / 2).map(|i| theta.powf(-2.0 * i as f64 / n as f64));
        match self.rope_scaling {
            None => Rope { freqs: plain.collect(), scale: 1.0 },
            Some(RopeScaling::Linear { factor }) => {
                Rope { freqs: plain.map(|f| f / f64::from(factor)).collect(), scale: 1.0 }
            }
            Some(RopeScaling::Yarn {
                factor,
                original_context_length,
                beta_fast,
                beta_slow,
                attention_factor,
            }) => {
                // Dimensions that turn more than beta_fast times over the original context stay as they are, those
                // that turn less than beta_slow times are interpolated, a ramp lies between.
                let correction = |turns: f32| {
                    let turns = f64::from(turns);
                    n as f64 * (f64::from(original_context_length) / (turns * 2.0 * PI)).ln()
                        / (2.0 * theta.ln())
                };
                let low = correction(beta_fast).floor().max(0.0);
                let high = correction(beta_slow).ceil().min(n as f64 - 1.0);
                let span = if high > low { high - low } else { 0.001 };
                let freqs = plain
                    .enumerate()
                    .map(|(i, f)| {
                        let ramp = ((i as f64 - low) / span).clamp(0.0, 1.0);
                        f / f64::from(factor) * ramp + f * (1.0 - ramp)
                    })
                    .collect();
                Rope { freqs, scale: attention_factor }
            }
        }
    }
}

impl RopeScaling {
    fn new(metadata: &Metadata, architecture: &str) -> Result<Option<Self>> {
        let key = |name: &str| format!("{architecture}.rope.scaling.{name}");
        let factor = || -> Result<f32> { positive(&key("factor"), metadata.f32(&key("factor"))?, 1.0) };
        match metadata.str(&key("type"))? {
            None | Some("none") => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear { factor: factor()? })),
            Some("yarn") => {
                let factor = factor()?;
                let original_key = key("original_context_length");
                let original = in_range(&original_key, metadata.require_u32(&original_key)?, 1, MAX_CONTEXT)?;
                // The paper's 0.1 ln(s) + 1, times the file's own factor.
                let extra = positive(&key("yarn_attn_factor"), metadata.f32(&key("yarn_attn_factor"))?, 1.0)?;
                let attention_factor = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 } * extra;
                Ok(Some(RopeScaling::Yarn {
                    factor,
                    original_context_length: original,
                    beta_fast: positive(&key("yarn_beta_fast"), metadata.f32(&key("yarn_beta_fast"))?, 32.0)?,
                    beta_slow: positive(&key("yarn_beta_slow"), metadata.f32(&key("yarn_beta_slow"))?, 1.0)?,
                    attention_factor,
                }))
            }
            Some(other) => {
                Err(invalid(format!("{} \"{other}\" is not supported (linear and yarn are)", key("type"))))
            }
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidModel, message)
}

fn in_range(key: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(format!("{key} is {value}; between {min} and {max} is possible")))
    }
}

fn positive(key: &str, value: Option<f32>, default: f32) -> Result<f32> {
    match value {
        None => Ok(default),
        Some(v) if v.is_finite() && v > 0.0 => Ok(v),
        Some(v) => Err(invalid(format!("{key} is {v}; a positive number is needed"))),
    }
}
