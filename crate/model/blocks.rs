//! Plan fragments that families share: attention, gated MLP, output head.

use super::builder::{Builder, EMBEDDING, HEAD};
use super::config::Config;
use crate::error::Result;
use crate::plan::{LayerState, Op, RowSet, Slice};

/// Where families differ inside the attention block.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionStyle {
    /// Bias on the query, key and value projections. Optional in the file format; present in every published file.
    pub(super) qkv_bias: bool,
    /// RMS norm of every query and key head before the rotation.
    pub(super) qk_norm: bool,
}

/// `weight · x (+ bias)`, into a new buffer.
fn project(
    b: &mut Builder<'_>,
    x: Slice,
    tensor: &str,
    width: u32,
    bias: bool,
    name: String,
) -> Result<Slice> {
    let weight = b.matrix(&format!("{tensor}.weight"), width, x.width)?;
    let bias_name = format!("{tensor}.bias");
    let bias = match bias && b.has(&bias_name) {
        true => Some(b.vector(&bias_name, width)?),
        false => None,
    };
    let out = b.buffer(name, width, RowSet::All);
    b.push(Op::MatMul { x, weight, bias, out, accumulate: false });
    Ok(out)
}

fn norm(b: &mut Builder<'_>, c: &Config, x: Slice, tensor: &str, group: u32, name: String) -> Result<Slice> {
    let weight = b.vector(&format!("{tensor}.weight"), group)?;
    let rows = RowSet::All;
    let out = b.buffer(name, x.width, rows);
    b.push(Op::RmsNorm { x, weight, eps: c.rms_norm_eps, out });
    Ok(out)
}

/// Pre-norm grouped-query attention; adds to `residual`.
pub(super) fn attention(
    b: &mut Builder<'_>,
    c: &Config,
    layer: u32,
    residual: Slice,
    style: AttentionStyle,
) -> Result<()> {
    let blk = format!("blk.{layer}");
    let q_width = c.n_heads * c.head_dim;
    let kv_width = c.n_kv_heads * c.head_dim;

    let x = norm(b, c, residual, &format!("{blk}.attn_norm"), c.hidden_size, format!("{blk}.attn_norm"))?;
    let bias = style.qkv_bias;
    let (mut q, mut k, v) = if b.has(&format!("{blk}.attn_qkv.weight")) {
        // One tensor with the rows of all three.
        let all =
            project(b, x, &format!("{blk}.attn_qkv"), q_width + 2 * kv_width, bias, format!("{blk}.qkv"))?;
        let part = |offset, width| Slice { buffer: all.buffer, offset, width };
        (part(0, q_width), part(q_width, kv_width), part(q_width + kv_width, kv_width))
    } else {
        (
            project(b, x, &format!("{blk}.attn_q"), q_width, bias, format!("{blk}.q"))?,
            project(b, x, &format!("{blk}.attn_k"), kv_width, bias, format!("{blk}.k"))?,
            project(b, x, &format!("{blk}.attn_v"), kv_width, bias, format!("{blk}.v"))?,
        )
    };
    if style.qk_norm {
        q = norm(b, c, q, &format!("{blk}.attn_q_norm"), c.head_dim, format!("{blk}.q_norm"))?;
        k = norm(b, c, k, &format!("{blk}.attn_k_norm"), c.head_dim, format!("{blk}.k_norm"))?;
    }
    b.push(Op::Rope { x: q, head_dim: c.head_dim });
    b.push(Op::Rope { x: k, head_dim: c.head_dim });

    let state = b.layer(LayerState::Attention { n_kv_heads: c.n_kv_heads, head_dim: c.head_dim });
    b.push(Op::StoreKv { layer: state, k, v });
    let context = b.buffer(format!("{blk}.attn_ctx"), q_width, RowSet::All);
    let scale = 1.0 / (c.head_dim as f32).sqrt();
    b.push(Op::Attention { layer: state, q, out: context, n_heads: c.n_heads, scale });

    let weight = b.matrix(&format!("{blk}.attn_output.weight"), c.hidden_size, q_width)?;
    b.push(Op::MatMul { x: context, weight, bias: None, out: residual, accumulate: true });
    Ok(())
}

/// Pre-norm SiLU-gated MLP; adds to `residual`.
pub(super) fn gated_mlp(b: &mut Builder<'_>, c: &Config, layer: u32, residual: Slice) -> Result<()> {
    let blk = format!("blk.{layer}");
    let width = c.intermediate_size;
    let x = norm(b, c, residual, &format!("{blk}.ffn_norm"), c.hidden_size, format!("{blk}.ffn_norm"))?;
    let gate = project(b, x, &format!("{blk}.ffn_gate"), width, false, format!("{blk}.ffn_gate"))?;
    let up = project(b, x, &format!("{blk}.ffn_up"), width, false, format!("{blk}.ffn_up"))?;
    let out = b.buffer(format!("{blk}.ffn_act"), width, RowSet::All);
    b.push(Op::SiluMul { gate, up, out });
    let weight = b.matrix(&format!("{blk}.ffn_down.weight"), c.hidden_size, width)?;
    b.push(Op::MatMul { x: out, weight, bias: None, out: residual, accumulate: true });
    Ok(())
}

/// Final norm and logits of the rows that ask for them.
pub(super) fn head(b: &mut Builder<'_>, c: &Config, residual: Slice, n_vocab: u32) -> Result<Slice> {
    let selected = b.buffer("output_rows", c.hidden_size, RowSet::Output);
    b.push(Op::SelectRows { x: residual, out: selected });
    let weight = b.vector("output_norm.weight", c.hidden_size)?;
    let x = b.buffer("final_norm", c.hidden_size, RowSet::Output);
    b.push(Op::RmsNorm { x: selected, weight, eps: c.rms_norm_eps, out: x });
    // Tied embeddings: files leave the head out.
    let name = if b.has(HEAD) { HEAD } else { EMBEDDING };
    let weight = b.matrix(name, n_vocab, c.hidden_size)?;
    let logits = b.buffer("logits", n_vocab, RowSet::Output);
    b.push(Op::MatMul { x, weight, bias: None, out: logits, accumulate: false });
    Ok(logits)
}
