//! Dense decoders: Qwen1.5, Qwen2, Qwen2.5 (`qwen2`) and Qwen3 (`qwen3`).

use super::blocks::{self, AttentionStyle};
use super::builder::{self, Builder};
use super::config::Config;
use crate::error::{Code, Error, Result};
use crate::gguf::ModelFiles;
use crate::plan::{Op, Plan, RowSet};

pub(super) const QWEN2: AttentionStyle = AttentionStyle { qkv_bias: true, qk_norm: false };
pub(super) const QWEN3: AttentionStyle = AttentionStyle { qkv_bias: false, qk_norm: true };

pub(super) fn plan(c: &Config, files: &ModelFiles, style: AttentionStyle) -> Result<Plan> {
    let embedding = builder::require(files, "token_embd.weight")?;
    // The table may have more rows than the tokenizer has tokens: padding.
    let n_vocab =
        embedding.dims.get(1).and_then(|&n| u32::try_from(n).ok()).filter(|&n| n > 0).ok_or_else(|| {
            Error::new(
                Code::InvalidModel,
                format!("tensor token_embd.weight has shape {:?}, not [hidden, vocabulary]", embedding.dims),
            )
        })?;

    let mut b = Builder::new(files, c.rope());
    let table = b.matrix("token_embd.weight", n_vocab, c.hidden_size)?;
    let residual = b.buffer("residual", c.hidden_size, RowSet::All);
    b.push(Op::Embed { table, out: residual });
    for layer in 0..c.n_layers {
        blocks::attention(&mut b, c, layer, residual, style)?;
        blocks::gated_mlp(&mut b, c, layer, residual)?;
    }
    let logits = blocks::head(&mut b, c, residual, n_vocab)?;
    Ok(b.finish(logits))
}
