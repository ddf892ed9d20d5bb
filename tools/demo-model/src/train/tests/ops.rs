//! Each operation's gradient against differences of the operation itself.

use super::super::attention::{Inputs, attention, attention_back, probs_len};
use super::super::ops::*;
use super::config;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.5..1.5)).collect()
}

/// Holds `gradient`, of the sum of `weights · f(x)`, against central differences of that sum.
fn check(x: &[f32], weights: &[f32], gradient: &[f32], f: impl Fn(&[f32]) -> Vec<f32>) {
    const STEP: f32 = 1e-2;
    let sum = |x: &[f32]| -> f64 {
        let y = f(x);
        assert_eq!(y.len(), weights.len());
        y.iter().zip(weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
    };
    let difference = |i: usize| {
        let mut moved = x.to_vec();
        moved[i] = x[i] + STEP;
        let above = sum(&moved);
        moved[i] = x[i] - STEP;
        (above - sum(&moved)) / f64::from(2.0 * STEP)
    };
    let differences: Vec<f64> = (0..x.len()).map(difference).collect();
    let norm = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
    let off = differences.iter().zip(gradient).map(|(d, &g)| (d - f64::from(g)).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 0.0 && off < 1e-3 * norm, "off by {off} of {norm}");
}

#[test]
fn exp_is_accurate() {
    for i in -87_000..=88_000 {
        let x = i as f32 / 1000.0;
        let (value, expected) = (f64::from(exp(x)), f64::from(x).exp());
        assert!((value - expected).abs() < 2e-7 * expected, "e^{x} = {value}, not {expected}");
    }
    assert_eq!(exp(0.0), 1.0);
    assert!(exp(f32::NEG_INFINITY) < 1e-37);
}

#[test]
fn gradient_of_rms_norm() {
    let (x, gain, weights) = (random(3 * 37, 1), random(37, 2), random(3 * 37, 3));
    let forward = |x: &[f32], gain: &[f32]| {
        let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; 3]);
        rms_norm(&mut y, &mut rstd, x, gain, 1e-3);
        (y, rstd)
    };
    let rstd = forward(&x, &gain).1;
    // The gradients are added to what is there.
    let (mut dx, mut dgain) = (vec![5.0; x.len()], vec![7.0; 37]);
    rms_norm_back(&mut dx, &mut dgain, &weights, &x, &rstd, &gain);
    dx.iter_mut().for_each(|d| *d -= 5.0);
    dgain.iter_mut().for_each(|d| *d -= 7.0);
    check(&x, &weights, &dx, |x| forward(x, &gain).0);
    check(&gain, &weights, &dgain, |gain| forward(&x, gain).0);
}

#[test]
fn gradient_of_norm_rope() {
    const DIM: usize = 10;
    const STRIDE: usize = 4 * DIM;
    let (x, gains, weights) = (random(3 * STRIDE, 1), random(2 * DIM, 2), random(3 * 2 * DIM, 3));
    let mut rope = Rope::new(100.0, DIM);
    rope.reserve(6);
    fn heads<'a>(gains: &'a [f32], rope: &'a Rope) -> Heads<'a> {
        let gains = gains.chunks(DIM).collect();
        Heads { stride: STRIDE, gains, positions: &[0, 1, 5], rope, eps: 1e-3 }
    }
    let forward = |x: &[f32], gains: &[f32]| {
        let (mut out, mut rstd) = (vec![0.0; weights.len()], vec![0.0; 6]);
        norm_rope(&mut out, &mut rstd, x, &heads(gains, &rope));
        (out, rstd)
    };
    let rstd = forward(&x, &gains).1;
    let (mut dx, mut dgains, mut dout) = (vec![0.0; x.len()], vec![0.0; gains.len()], weights.clone());
    norm_rope_back(&mut dx, &mut dgains, &mut dout, &x, &rstd, &heads(&gains, &rope));
    check(&x, &weights, &dx, |x| forward(x, &gains).0);
    check(&gains, &weights, &dgains, |gains| forward(&x, gains).0);
}

#[test]
fn gradient_of_swiglu() {
    let (x, weights) = (random(2 * 2 * 19, 1), random(2 * 19, 2));
    let forward = |x: &[f32]| {
        let mut out = vec![0.0; weights.len()];
        swiglu(&mut out, x, 19);
        out
    };
    let (mut dx, mut dout) = (x.clone(), weights.clone());
    swiglu_back(&mut dout, &mut dx, 19);
    check(&x, &weights, &dx, forward);
    assert_eq!(dout, forward(&x));
}

#[test]
fn gradient_of_cross_entropy() {
    let (x, targets) = (random(3 * 37, 1), [4, 36, 0]);
    let forward = |x: &[f32]| {
        let (mut gradient, mut hits) = (x.to_vec(), Vec::new());
        let loss = cross_entropy(&mut gradient, 37, &targets, &mut hits);
        (loss as f32, gradient, hits)
    };
    let (_, gradient, hits) = forward(&x);
    check(&x, &[1.0], &gradient, |x| vec![forward(x).0]);
    assert_eq!(hits, [false; 3]);
    let mut sure = x.clone();
    sure[37 + 36] = 30.0;
    let (_, gradient, hits) = forward(&sure);
    assert_eq!(hits, [false, true, false]);
    assert!(gradient[37..74].iter().all(|d| d.abs() < 1e-6));
}

#[test]
fn gradient_of_attention() {
    let c = config();
    let segments = [0..4, 4..5, 5..8];
    let (qk_len, qkv_len) = (8 * c.qk_heads() * c.head_dim, 8 * c.qkv_width());
    let (qk, qkv, weights) = (random(qk_len, 1), random(qkv_len, 2), random(8 * c.n_heads * c.head_dim, 3));
    let forward = |qk: &[f32], qkv: &[f32]| {
        let mut out = vec![f32::NAN; weights.len()];
        let mut probs = vec![f32::NAN; probs_len(&c, &segments)];
        attention(&mut out, &mut probs, Inputs { config: &c, segments: &segments, qk, qkv });
        (out, probs)
    };
    let probs = forward(&qk, &qkv).1;
    let (mut dqk, mut dqkv) = (vec![f32::NAN; qk_len], vec![0.0; qkv_len]);
    let inputs = Inputs { config: &c, segments: &segments, qk: &qk, qkv: &qkv };
    attention_back(&mut dqk, &mut dqkv, &weights, &probs, inputs, &mut Vec::new());
    check(&qk, &weights, &dqk, |qk| forward(qk, &qkv).0);
    check(&qkv, &weights, &dqkv, |qkv| forward(&qk, qkv).0);
}
