//! A model in a dozen numbers, as a catalogue has it: enough to say what its file holds, without the file.

use serde::{Deserialize, Serialize};

use super::builder::{EMBEDDING, HEAD, Tensors};
use super::config::Config;
use crate::error::{Code, Error, Result};
use crate::plan::WeightKind;
use crate::quant::GgmlType;

/// The shape of a dense model and the mix of types that its file is quantized to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    pub architecture: String,
    pub layers: u32,
    pub hidden_size: u32,
    pub intermediate_size: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub vocab: u32,
    pub context_length: u32,
    /// The file has no output head of its own: the table of embeddings serves.
    pub tied: bool,
    /// The name of the mix, as in file names: `Q8_0`, `Q4_K_M`.
    pub quantization: String,
}

/// The header of a file with Qwen's vocabulary: between 5,947,744 and 5,956,352 bytes in the Qwen2.5 and Qwen3 files
/// whose size is published.
const HEADER_BYTES: u64 = 5_952_000;

impl Outline {
    /// Size of the file, within some kilobytes for Qwen's vocabulary; 0 for a model or mix that is not known.
    pub fn file_bytes(&self) -> u64 {
        let Ok(model) = super::Model::from_outline(self) else { return 0 };
        let weights = model.plan.weights.iter();
        let bytes = weights.map(|w| w.ty.row_bytes(u64::from(w.cols)).unwrap_or(0) * u64::from(w.rows));
        bytes.sum::<u64>() + HEADER_BYTES
    }

    pub(super) fn config(&self) -> Config {
        Config {
            architecture: self.architecture.clone(),
            name: None,
            n_layers: self.layers,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            n_heads: self.heads,
            n_kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            rms_norm_eps: 1e-6,
            context_length: self.context_length,
            rope_theta: 1e6,
            rope_scaling: None,
        }
    }

    pub(super) fn tensors(&self) -> Result<Outlined<'_>> {
        let mix = match self.quantization.as_str() {
            "Q8_0" => Mix::Q8_0,
            "Q4_K_M" => Mix::Q4KM,
            other => {
                return Err(Error::new(
                    Code::UnsupportedQuantization,
                    format!(
                        "what a file of {other} holds is not known without the file; Q8_0 and Q4_K_M are"
                    ),
                ));
            }
        };
        Ok(Outlined { outline: self, mix })
    }
}

/// Recipes of llama.cpp's `quantize`.
#[derive(Debug, Clone, Copy)]
enum Mix {
    Q8_0,
    Q4KM,
}

/// The tensors that an outline stands for: whatever a plan asks for is there, but for what files leave out.
#[derive(Debug)]
pub(super) struct Outlined<'a> {
    outline: &'a Outline,
    mix: Mix,
}

impl Outlined<'_> {
    /// Whether Q4_K_M gives a layer's values and down projections more bits: the first and the last eighth, and every
    /// third layer between.
    fn favoured(&self, layer: u32) -> bool {
        let (n, eighth) = (self.outline.layers, self.outline.layers / 8);
        layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2
    }

    fn matrix_type(&self, name: &str, cols: u32) -> GgmlType {
        let ty = match self.mix {
            Mix::Q8_0 => GgmlType::Q8_0,
            Mix::Q4KM => {
                let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
                let better = match layer.map(|(no, what)| (no.parse(), what)) {
                    Some((Ok(no), "attn_v.weight" | "ffn_down.weight")) => self.favoured(no),
                    Some(_) => false,
                    None => name == HEAD || (name == EMBEDDING && self.outline.tied),
                };
                if better { GgmlType::Q6K } else { GgmlType::Q4K }
            }
        };
        // Rows that are not whole blocks of 256 take the next better type with blocks of 32.
        match ty {
            _ if ty.row_bytes(u64::from(cols)).is_some() => ty,
            GgmlType::Q4K => GgmlType::Q5_0,
            _ => GgmlType::Q8_0,
        }
    }
}

impl Tensors for Outlined<'_> {
    fn has(&self, name: &str) -> bool {
        match name {
            HEAD => !self.outline.tied,
            _ => !name.ends_with("attn_qkv.weight"),
        }
    }

    fn find(&self, name: &str, kind: WeightKind, _rows: u32, cols: u32) -> Result<GgmlType> {
        Ok(match kind {
            WeightKind::Vector => GgmlType::F32,
            WeightKind::Matrix => self.matrix_type(name, cols),
        })
    }

    fn n_vocab(&self) -> Result<u32> {
        Ok(self.outline.vocab)
    }
}
