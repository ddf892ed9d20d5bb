//! Weights to a GGUF file.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use half::f16;
use qwenlet::gguf::writer::Writer;
use qwenlet::gguf::{self, Parsed};
use qwenlet::quant::GgmlType;

use crate::train::{Config, Model};
use crate::vocabulary::Vocabulary;

/// What the model was trained for: conversations in training are a few hundred tokens long, and positions are relative.
const CONTEXT: u32 = 2048;

/// `LLAMA_FTYPE_MOSTLY_Q8_0` of GGUF's `general.file_type`.
const MOSTLY_Q8_0: u32 = 7;

/// The digest of the data that a file was trained on (`recipe::data_digest`).
const DATA_DIGEST: &str = "qwenlet.demo.data_sha256";

/// The bytes of the file: matrices in Q8_0, norms in F32, tokenizer and template.
///
/// # Errors
/// Where a tensor does not have the shape that its name asks for.
pub fn gguf(model: &Model, vocabulary: &Vocabulary, data_digest: &str) -> Result<Vec<u8>> {
    let c = model.config();
    let mut w = Writer::new();
    w.set("general.architecture", "qwen3");
    w.set("general.name", "qwenlet demo");
    w.set("general.author", "the qwenlet project");
    w.set("general.license", "MIT OR Apache-2.0");
    w.set("general.file_type", MOSTLY_Q8_0);
    w.set("general.quantization_version", 2u32);
    // Its answers are facts, or wrong: the most likely token, always.
    w.set("general.sampling.temp", 0f32);
    w.set(DATA_DIGEST, data_digest);
    set_shape(&mut w, c);
    vocabulary.set_keys(&mut w)?;
    for (name, tensor) in model.tensors()? {
        let dims: Vec<u64> = tensor.dims().iter().rev().map(|&d| d as u64).collect();
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        match dims.as_slice() {
            [_] => {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                w.tensor(name, &dims, GgmlType::F32, bytes)?;
            }
            _ => {
                let bytes = q8_0(&values).with_context(|| name.clone())?;
                w.tensor(name, &dims, GgmlType::Q8_0, bytes)?;
            }
        }
    }
    Ok(w.to_bytes())
}

/// Whether a file was made from these data and this vocabulary.
///
/// # Errors
/// Where it cannot be read, or was not, saying what differs.
pub fn compare(file: &Path, vocabulary: &Vocabulary, data_digest: &str) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let header = |bytes: &[u8]| match gguf::parse(bytes, Some(bytes.len() as u64))? {
        Parsed::Header(header) => Ok(*header),
        Parsed::NeedMore(_) => bail!("the file is cut short"),
    };
    let theirs = header(&bytes).with_context(|| file.display().to_string())?;
    let mut w = Writer::new();
    w.set("general.architecture", "qwen3");
    vocabulary.set_keys(&mut w)?;
    let ours = header(&w.to_bytes())?;
    for (key, value) in ours.metadata.iter() {
        ensure!(
            theirs.metadata.get(key) == Some(value),
            "{key} of {} is not what is made here",
            file.display()
        );
    }
    let digest = theirs.metadata.str(DATA_DIGEST)?.unwrap_or_default();
    ensure!(
        digest == data_digest,
        "{} was made from other data: {digest}, not {data_digest}",
        file.display()
    );
    Ok(())
}

fn set_shape(w: &mut Writer, c: &Config) {
    w.set("qwen3.block_count", c.n_layers as u32);
    w.set("qwen3.context_length", CONTEXT);
    w.set("qwen3.embedding_length", c.hidden as u32);
    w.set("qwen3.feed_forward_length", c.ffn as u32);
    w.set("qwen3.attention.head_count", c.n_heads as u32);
    w.set("qwen3.attention.head_count_kv", c.n_kv_heads as u32);
    w.set("qwen3.attention.key_length", c.head_dim as u32);
    w.set("qwen3.attention.value_length", c.head_dim as u32);
    w.set("qwen3.attention.layer_norm_rms_epsilon", c.eps as f32);
    w.set("qwen3.rope.freq_base", c.rope_theta as f32);
}

/// Blocks of 32: an f16 scale, the largest magnitude's 127th part, and 32 signed bytes.
fn q8_0(values: &[f32]) -> Result<Vec<u8>> {
    let (blocks, rest) = values.as_chunks::<32>();
    ensure!(rest.is_empty(), "rows are not whole blocks of 32");
    ensure!(values.iter().all(|v| v.is_finite()), "a weight is not finite");
    let mut out = Vec::with_capacity(blocks.len() * 34);
    for block in blocks {
        let largest = block.iter().fold(0f32, |m, v| m.max(v.abs()));
        let scale = f16::from_f32(largest / 127.0);
        // By the scale that is stored, which f16 has rounded.
        let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
        out.extend(scale.to_le_bytes());
        out.extend(block.iter().map(|v| (v * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_decode_to_within_half_a_step() {
        let values: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013).collect();
        let bytes = q8_0(&values).unwrap();
        assert_eq!(bytes.len(), 3 * 34);
        for (block, v) in bytes.chunks_exact(34).zip(values.chunks_exact(32)) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (&q, v) in block[2..].iter().zip(v) {
                assert!((scale * f32::from(q as i8) - v).abs() <= 0.5 * scale * 1.001, "{q} {v}");
            }
        }
        assert_eq!(q8_0(&[0.0; 32]).unwrap(), [0; 34]);
        assert!(q8_0(&[f32::NAN; 32]).is_err() && q8_0(&[0.0; 31]).is_err());
    }
}
