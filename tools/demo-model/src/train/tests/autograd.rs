//! The network against the same one made of candle's operations, in f64.

use super::super::network::Network;
use super::super::{Config, Example};
use super::{config, random_examples, random_model};
use anyhow::{Context, Result};
use candle_core::{D, DType, Device, IndexOp, Tensor, Var};
use std::collections::HashMap;

/// The summed loss of one example by candle's own operations in f64.
fn reference_loss(c: &Config, w: &HashMap<String, Var>, example: &Example) -> candle_core::Result<Tensor> {
    let device = Device::Cpu;
    let (len, half) = (example.tokens.len(), c.head_dim / 2);
    let get = |name: &str| w[&format!("{name}.weight")].as_tensor();
    let norm = |x: &Tensor, gain: &Tensor| {
        let square = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(square + c.eps)?.sqrt()?)?.broadcast_mul(gain)
    };
    let angles: Vec<f64> = (0..len * half)
        .map(|i| (i / half) as f64 * c.rope_theta.powf(-((i % half) as f64) / half as f64))
        .collect();
    let angles = Tensor::from_vec(angles, (len, half), &device)?;
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let rotate = |x: Tensor| {
        let (a, b) = (x.i((.., .., ..half))?, x.i((.., .., half..))?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], D::Minus1)
    };
    let mask: Vec<f64> =
        (0..len * len).map(|i| if i % len > i / len { f64::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (len, len), &device)?;
    let tokens = Tensor::new(example.tokens.as_slice(), &device)?;
    let mut x = get("token_embd").index_select(&tokens, 0)?;
    for i in 0..c.n_layers {
        let get = |name: &str| get(&format!("blk.{i}.{name}"));
        let normed = norm(&x, get("attn_norm"))?;
        let heads = |name: &str, count: usize| {
            let all = normed.matmul(&get(name).t()?)?;
            all.reshape((len, count, c.head_dim))?.transpose(0, 1)?.contiguous()
        };
        let q = rotate(norm(&heads("attn_q", c.n_heads)?, get("attn_q_norm"))?)?;
        let k = rotate(norm(&heads("attn_k", c.n_kv_heads)?, get("attn_k_norm"))?)?;
        let v = heads("attn_v", c.n_kv_heads)?;
        let group = c.n_heads / c.n_kv_heads;
        let mut mixed = Vec::new();
        for h in 0..c.n_heads {
            let scores = (q.i(h)?.matmul(&k.i(h / group)?.t()?)? / (c.head_dim as f64).sqrt())?;
            let probs = candle_nn::ops::softmax((&scores + &mask)?.as_ref(), D::Minus1)?;
            mixed.push(probs.matmul(&v.i(h / group)?)?);
        }
        x = (x + Tensor::cat(&mixed, 1)?.matmul(&get("attn_output").t()?)?)?;
        let normed = norm(&x, get("ffn_norm"))?;
        let gate = normed.matmul(&get("ffn_gate").t()?)?.silu()?;
        let inner = (gate * normed.matmul(&get("ffn_up").t()?)?)?;
        x = (x + inner.matmul(&get("ffn_down").t()?)?)?;
    }
    let logits = norm(&x, get("output_norm"))?.matmul(&get("token_embd").t()?)?;
    let log_probs = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let mut loss = Tensor::new(0f64, &device)?;
    for i in (1..len).filter(|&i| example.learn[i]) {
        loss = (loss - log_probs.i((i - 1, example.tokens[i] as usize))?)?;
    }
    Ok(loss)
}

/// Loss and gradients of a batch, against candle's autograd over its examples one by one.
#[test]
fn gradients_are_those_of_autograd() -> Result<()> {
    let model = random_model(config(), 1);
    let examples = random_examples(&[9, 1, 2, 40, 0, 17], 37, 2);
    let mut vars = HashMap::new();
    for (name, tensor) in model.tensors()? {
        vars.insert(name, Var::from_tensor(&tensor.to_dtype(DType::F64)?)?);
    }
    let mut expected_loss = Tensor::new(0f64, &Device::Cpu)?;
    for example in examples.iter().filter(|e| e.tokens.len() > 1) {
        expected_loss = (expected_loss + reference_loss(&config(), &vars, example)?)?;
    }
    let grads = expected_loss.backward()?;
    let expected_loss = expected_loss.to_scalar::<f64>()?;
    // All at once, and in runs that end between the examples.
    for run_tokens in [1000, 12] {
        let mut gradient = vec![0.0; model.len()];
        let outcome = Network::new(&config(), run_tokens).run(&model, &examples, Some(&mut gradient));
        assert_eq!(outcome.tokens, 69);
        assert!(
            (outcome.loss - expected_loss).abs() < 1e-5 * expected_loss,
            "{} {expected_loss}",
            outcome.loss
        );
        for entry in &model.layout.entries {
            let expected =
                grads.get(&vars[&entry.name]).context("no gradient")?.flatten_all()?.to_vec1::<f64>()?;
            let norm = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
            let off =
                expected.iter().zip(&gradient[entry.range.clone()]).map(|(e, &g)| (e - f64::from(g)).powi(2));
            let off = off.sum::<f64>().sqrt();
            assert!(norm > 0.0 && off < 1e-5 * norm, "{}: off by {off} of {norm}", entry.name);
        }
    }
    Ok(())
}
