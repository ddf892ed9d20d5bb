//! Dense decoders: Qwen1.5, Qwen2, Qwen2.5 (`qwen2`) and Qwen3 (`qwen3`).

use super::blocks::{self, AttentionStyle};
use super::builder::{Builder, EMBEDDING, Tensors};
use super::config::Config;
use crate::error::Result;
use crate::plan::{Op, Plan, RowSet};

pub(super) const QWEN2: AttentionStyle = AttentionStyle { qkv_bias: true, qk_norm: false };
pub(super) const QWEN3: AttentionStyle = AttentionStyle { qkv_bias: false, qk_norm: true };

pub(super) fn plan(c: &Config, tensors: &dyn Tensors, style: AttentionStyle) -> Result<Plan> {
    // The table may have more rows than the tokenizer has tokens: padding.
    let n_vocab = tensors.n_vocab()?;
    let mut b = Builder::new(tensors, c.rope());
    let table = b.matrix(EMBEDDING, n_vocab, c.hidden_size)?;
    let residual = b.buffer("residual", c.hidden_size, RowSet::All);
    b.push(Op::Embed { table, out: residual });
    for layer in 0..c.n_layers {
        blocks::attention(&mut b, c, layer, residual, style)?;
        blocks::gated_mlp(&mut b, c, layer, residual)?;
    }
    let logits = blocks::head(&mut b, c, residual, n_vocab)?;
    Ok(b.finish(logits))
}
