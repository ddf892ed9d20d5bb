//! The GPU's choice of tokens against the CPU's sampler, on the same logits: the same tokens, always.

use super::support::{Builder, Random, limits, load, open};
use crate::backend::Backend;
use crate::backend::webgpu::{WebGpuBackend, WebGpuOptions};
use crate::error::{Code, Result};
use crate::kernels::shader::run;
use crate::plan::{Op, RowSet, WeightKind};
use crate::quant::GgmlType;
use crate::sampler::{Params, Sampler};

/// A device prepared for a vocabulary, whose logits the test writes itself.
fn prepared(n_vocab: usize) -> Option<WebGpuBackend> {
    let mut backend = open(WebGpuOptions { default_limits: true, ..Default::default() })?;
    let mut b = Builder::default();
    let ty = GgmlType::Q4_0;
    let zeros = vec![0; ty.format().block_bytes * n_vocab];
    let weight = b.weight(ty, WeightKind::Matrix, n_vocab, 32, zeros);
    let (x, last) = (b.buffer("x", 32, RowSet::All), b.buffer("last", 32, RowSet::Output));
    let out = b.buffer("logits", n_vocab, RowSet::Output);
    b.ops.push(Op::Embed { table: weight, out: x });
    b.ops.push(Op::SelectRows { x, out: last });
    b.ops.push(Op::MatMul { x: last, weight, bias: None, out, accumulate: false });
    let (plan, bytes) = b.finish(out.buffer);
    load(&mut backend, &plan, &bytes, limits(1, 1));
    Some(backend)
}

/// What the two kernels choose from these logits.
fn choose(backend: &mut WebGpuBackend, logits: &[f32], draw: u32) -> Result<u32> {
    let p = backend.prepared.as_mut().unwrap();
    let sampling = p.sampling.as_mut().unwrap();
    let queue = &backend.gpu.queue;
    queue.write_buffer(p.memory.slot(p.plan.logits), 0, bytemuck::cast_slice(logits));
    queue.write_buffer(&p.memory.run, 4 * run::DRAW as u64, bytemuck::bytes_of(&draw));
    let mut encoder = backend.gpu.device.create_command_encoder(&Default::default());
    sampling.record(&mut encoder.begin_compute_pass(&Default::default()), &mut |_, _, _| ());
    sampling.record_copies(&mut encoder, &p.memory.run);
    sampling.submitted(queue.submit([encoder.finish()]));
    pollster::block_on(backend.choice())
}

/// `n` answers of the GPU and of the sampler.
fn agree(backend: &mut WebGpuBackend, logits: &[f32], params: &Params, prompt: &[u32], n: u32) {
    let mut sampler = Sampler::new(params.clone(), logits.len()).unwrap();
    sampler.observe_prompt(prompt);
    assert!(backend.start_choosing(&sampler).unwrap() > 0);
    for draw in 0..n {
        let want = sampler.sample(logits).unwrap();
        assert_eq!(choose(backend, logits, draw).unwrap(), want, "draw {draw} with {params:?}");
        sampler.accept(want);
    }
}

/// Logits like a model's: a normal distribution, roughly, with a few far above it.
fn ordinary(random: &mut Random, n: usize) -> Vec<f32> {
    let mut logits: Vec<f32> = (0..n).map(|_| 2.5 * (0..6).map(|_| random.unit()).sum::<f32>()).collect();
    for _ in 0..n.min(12) {
        logits[random.below(n)] += 6.0 + 3.0 * random.unit();
    }
    logits
}

fn every_params(seed: u64) -> Vec<Params> {
    let d = || Params { seed, ..Params::default() };
    vec![
        d(),
        Params { temperature: 0.0, ..d() },
        Params { temperature: 0.0, repetition_penalty: 1.3, presence_penalty: 0.7, ..d() },
        Params { top_k: 1, ..d() },
        Params { temperature: 0.7, top_k: 20, top_p: 0.8, repetition_penalty: 1.05, ..d() },
        Params { temperature: 0.6, top_k: 20, top_p: 0.95, min_p: 0.02, ..d() },
        Params { temperature: 1.7, top_k: 700, top_p: 0.99, ..d() },
        Params { top_p: 0.9, ..d() },
        Params { top_p: 1e-9, ..d() },
        Params { top_p: 1e-20, ..d() },
        Params { top_p: 0.999_999_9, temperature: 30.0, ..d() },
        Params { min_p: 0.05, temperature: 1.5, ..d() },
        Params { min_p: 1.0, ..d() },
        Params { temperature: 1e-30, top_k: 5, ..d() },
        Params {
            frequency_penalty: 0.31,
            presence_penalty: -0.2,
            repetition_penalty: 0.9,
            logit_bias: vec![(0, -1.5), (0, 3.1), (3, 1e30), (3, -1e30)],
            ..d()
        },
    ]
}

#[test]
fn the_gpu_chooses_what_the_sampler_chooses() {
    let random = &mut Random::new(7);
    for n_vocab in [1, 5, 255, 256, 257, 5000] {
        let Some(mut backend) = prepared(n_vocab) else { return };
        let bias = |p: &mut Params| p.logit_bias.retain(|b| (b.0 as usize) < n_vocab);
        for seed in 0..6 {
            let logits = ordinary(random, n_vocab);
            let prompt: Vec<u32> = (0..20).map(|_| random.below(n_vocab) as u32).collect();
            for mut params in every_params(seed << 33 | seed) {
                bias(&mut params);
                agree(&mut backend, &logits, &params, &prompt, 4);
            }
        }
    }
}

#[test]
fn a_real_vocabulary_and_one_that_needs_larger_blocks() {
    let random = &mut Random::new(8);
    for n_vocab in [151_936, 300_001] {
        let Some(mut backend) = prepared(n_vocab) else { return };
        let logits = ordinary(random, n_vocab);
        for params in every_params(3) {
            agree(&mut backend, &logits, &params, &[1, 2, 3], 2);
        }
    }
}

#[test]
fn thousands_of_draws_without_one_that_differs() {
    let random = &mut Random::new(9);
    let Some(mut backend) = prepared(2000) else { return };
    for seed in 0..20 {
        // Many near ties, where a last bit would decide.
        let logits: Vec<f32> = (0..2000).map(|_| 3.0 + 1e-3 * random.unit()).collect();
        let params = Params { seed, top_p: 0.5 + 0.02 * seed as f32, temperature: 0.9, ..Params::default() };
        agree(&mut backend, &logits, &params, &[], 100);
    }
}

#[test]
fn what_is_kept_is_exact() {
    let random = &mut Random::new(12);
    let Some(mut backend) = prepared(2000) else { return };
    for seed in 0..24 {
        // Scores close together, in pairs that are equal; so hot that one kept too many or too few is soon seen.
        let logits: Vec<f32> = (0..2000).map(|_| (random.below(1000) as f32).sqrt() * 0.4).collect();
        let hot = Params { seed, temperature: 100.0, ..Params::default() };
        let (few, share) = (1 + seed as u32 % 7, 1e-3 * (1.0 + seed as f32));
        for params in [
            Params { top_k: few, ..hot.clone() },
            Params { top_p: share, ..hot.clone() },
            Params { top_k: 40, top_p: 0.02 * (1.0 + seed as f32), ..hot.clone() },
            Params { min_p: 1.0 - share, ..hot.clone() },
        ] {
            agree(&mut backend, &logits, &params, &[], 40);
        }
    }
}

#[test]
fn hostile_logits() {
    const NONE: f32 = f32::NEG_INFINITY;
    let n = 1500;
    let Some(mut backend) = prepared(n) else { return };
    let random = &mut Random::new(10);
    let mut one = vec![NONE; n];
    one[1234] = -7.5;
    let tiny = [0.0, -0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-40, -1e-40, f32::from_bits(1)];
    let cases = [
        vec![1.25; n],
        vec![0.0; n],
        one,
        (0..n).map(|i| if i % 3 == 0 { NONE } else { ((i * 7) % 5) as f32 }).collect(),
        (0..n).map(|_| tiny[random.below(tiny.len())]).collect(),
        (0..n).map(|i| [f32::MAX, f32::MIN, 1.0, -3e38][i % 4]).collect(),
        (0..n).map(|_| random.unit() * 1e9).collect(),
        (0..n).map(|_| random.below(3) as f32 * 1e-3).collect(),
        (0..n).map(|i| -(i as f32)).collect(),
        (0..n).map(|i| i as f32 * 0.5).collect(),
    ];
    for logits in &cases {
        for mut params in every_params(11) {
            // A penalty may take the largest number out of range, which is an error of its own.
            if logits[0] == f32::MAX {
                params = Params { repetition_penalty: 1.0, logit_bias: Vec::new(), ..params };
            }
            agree(&mut backend, logits, &params, &[0, 1, 2, 999], 3);
        }
    }
}

#[test]
fn broken_logits_are_the_sampler_s_errors() {
    let n = 600;
    let Some(mut backend) = prepared(n) else { return };
    let with = |i: usize, value: f32| {
        let mut logits = vec![0.5; n];
        logits[i] = value;
        logits
    };
    let cases = [
        with(599, f32::NAN),
        with(0, -f32::NAN),
        with(300, f32::INFINITY),
        with(17, f32::from_bits(0x7f80_0001)),
        vec![f32::NEG_INFINITY; n],
        vec![f32::NAN; n],
    ];
    for temperature in [0.0, 1.0] {
        let params = Params { temperature, ..Params::default() };
        for logits in &cases {
            let mut sampler = Sampler::new(params.clone(), n).unwrap();
            backend.start_choosing(&sampler).unwrap();
            let (got, want) = (choose(&mut backend, logits, 0), sampler.sample(logits));
            let (got, want) = (got.unwrap_err(), want.unwrap_err());
            assert_eq!((got.code(), got.to_string()), (Code::Internal, want.to_string()));
        }
    }
}

#[test]
fn choices_wait_in_order_and_can_be_forgotten() {
    let Some(mut backend) = prepared(64) else { return };
    let params = Params { temperature: 0.0, presence_penalty: 1.0, ..Params::default() };
    let sampler = Sampler::new(params, 64).unwrap();
    let most = backend.start_choosing(&sampler).unwrap();
    let submit = |backend: &mut WebGpuBackend| {
        let row = crate::plan::Row { token: 3, sequence: 0, position: 0, output: true };
        let table: &[crate::plan::state::PageId] = &[crate::plan::state::PageId(0)];
        backend.run_and_choose(&crate::plan::Batch { rows: &[row], tables: &[table] }, 0)
    };
    // All logits are 0: each token in turn is the first that was not chosen yet.
    for _ in 0..most {
        submit(&mut backend).unwrap();
    }
    assert_eq!(submit(&mut backend).unwrap_err().code(), Code::Internal);
    for want in 0..5 {
        assert_eq!(pollster::block_on(backend.choice()).unwrap(), want);
    }
    backend.stop_choosing();
    assert_eq!(pollster::block_on(backend.choice()).unwrap_err().code(), Code::Internal);
    assert_eq!(submit(&mut backend).unwrap_err().code(), Code::Internal);
    for _ in 0..3 {
        backend.start_choosing(&sampler).unwrap();
        for _ in 0..most {
            submit(&mut backend).unwrap();
        }
        assert_eq!(pollster::block_on(backend.choice()).unwrap(), 0);
    }
}
