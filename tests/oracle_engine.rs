//! The whole engine, every architecture and format, on every backend: logits and greedy answers against the plain
//! reference, logits against candle-transformers' models.

mod support;

use std::ops::ControlFlow;

use pollster::block_on;
use qwenlet::engine::{Engine, Event, GenerateOptions, Prompt};
use qwenlet::quant::GgmlType;
use support::engine::{logits, on_each_backend};
use support::model::{Mix, Spec, every_model};
use support::reference::Reference;
use support::{candle, relative_l2, side_by_side};

/// Relative L2 distance to the exact logits. WebGPU keeps activations in f32: what is left is the rounding of f32 and of
/// a GPU's exponential. The CPU computes attention in 14 bits, and for quantized weights rounds activations to 8 bits;
/// engines that do so are 2e-2 to 4e-2 away on models of this size (`deviation` in the golden data).
fn limit(engine: &Engine, mix: Mix) -> f64 {
    match (engine.info().backend.as_str(), is_quantized(mix)) {
        ("cpu", true) => ROUNDED,
        ("cpu", false) => ATTENDED,
        _ => EXACT,
    }
}

const EXACT: f64 = 1e-4;
/// As in `activations.rs`.
const ATTENDED: f64 = 1e-3;
const ROUNDED: f64 = 4e-2;

fn is_quantized(mix: Mix) -> bool {
    !matches!(mix, Mix::All(GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16))
}

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i * 31 + i * 97 + 5) % 470).collect()
}

fn deviation(got: &[Vec<f32>], wanted: &[Vec<f64>]) -> f64 {
    relative_l2(got.iter().flatten().map(|&v| v as f64), wanted.iter().flatten().copied())
}

/// Each engine is loaded once for all of it: on a software GPU loading takes most of the time.
#[test]
fn logits_and_greedy_answers_are_the_plain_references_and_candles() {
    side_by_side(&every_model(), |spec| {
        let parts = spec.parts(1);
        let reference = Reference::new(&parts);
        for mut engine in on_each_backend(&parts) {
            let limit = limit(&engine, spec.mix);
            let what = format!("{} on {}", spec.name(), engine.info().backend);
            compare_logits(&mut engine, &reference, limit, &what);
            compare_answer(&mut engine, &reference, limit, &what);
            if candle::supports(spec) {
                compare_with_candle(&mut engine, spec, &parts[0], limit, &what);
            }
        }
    });
}

/// A prompt as one run of many rows, and as several runs, each with the state of those before it.
fn compare_logits(engine: &mut Engine, reference: &Reference, limit: f64, what: &str) {
    let tokens = tokens(24);
    let wanted = reference.logits(&tokens);
    let last = deviation(&logits(engine, &tokens, &[23]), &wanted[23..]);
    let all: Vec<usize> = (0..24).collect();
    let all = deviation(&logits(engine, &tokens, &all), &wanted);
    println!("{what}: {last:.1e} {all:.1e}");
    assert!(last <= limit && all <= limit, "{what}: {last:.2e}, {all:.2e}, limit {limit:.0e}");
}

fn compare_with_candle(engine: &mut Engine, spec: &Spec, file: &[u8], limit: f64, what: &str) {
    let tokens = tokens(16);
    let wanted = candle::logits(spec, file, &tokens).unwrap();
    let wanted: Vec<Vec<f64>> = wanted.iter().map(|row| row.iter().map(|&v| v as f64).collect()).collect();
    let all: Vec<usize> = (0..tokens.len()).collect();
    let d = deviation(&logits(engine, &tokens, &all), &wanted);
    // Candle rounds to 8 bits as the CPU does, and each may be off in its own direction.
    let limit = limit + if is_quantized(spec.mix) { ROUNDED } else { EXACT };
    assert!(d <= limit, "{what}: {d:.2e}, limit {limit:.0e}");
}

/// More tokens than fit in a run and in a page of state; a model in several files.
#[test]
fn long_prompts_and_split_files_give_the_same() {
    let tokens = tokens(200);
    for spec in [Spec::qwen2(Mix::Q4KM), Spec::qwen3(Mix::Q4KM), Spec::qwen3(Mix::All(GgmlType::F32)).yarn()]
    {
        let parts = spec.parts(3);
        let wanted = Reference::new(&parts).logits(&tokens);
        for mut engine in on_each_backend(&parts) {
            let limit = limit(&engine, spec.mix);
            for position in [0, 63, 64, 127, 128, 199] {
                let got = logits(&mut engine, &tokens, &[position]);
                let d = deviation(&got, &wanted[position..=position]);
                assert!(d <= limit, "{} on {} at {position}: {d:.2e}", spec.name(), engine.info().backend);
            }
        }
    }
}

/// A greedy answer, with the log-probabilities of the best tokens at each step.
fn answer(engine: &mut Engine, prompt: &[u32], n: u32) -> (Vec<u32>, Vec<Vec<(u32, f32)>>) {
    let options = GenerateOptions {
        max_tokens: Some(n),
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        presence_penalty: Some(0.0),
        ignore_eos: true,
        logprobs: Some(20),
        ..GenerateOptions::default()
    };
    let mut steps = Vec::new();
    let outcome = block_on(engine.generate(&Prompt::Ids(prompt.to_vec()), &options, &mut |event| {
        if let Event::Token { logprob, .. } = event {
            steps.push(logprob.expect("was asked for").top);
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    (outcome.ids, steps)
}

/// Decoding, one row a run: each step's choice and probabilities are those of the plain reference, given the tokens so
/// far.
fn compare_answer(engine: &mut Engine, reference: &Reference, limit: f64, what: &str) {
    const STEPS: usize = 12;
    let prompt = tokens(10);
    let (ids, steps) = answer(engine, &prompt, STEPS as u32);
    assert_eq!((ids.len(), steps.len()), (STEPS, STEPS), "{what}");
    let wanted = reference.logits(&[&prompt[..], &ids[..STEPS - 1]].concat());
    let (mut error, mut scale) = (0.0, 0.0);
    for ((id, step), wanted) in ids.iter().zip(&steps).zip(&wanted[prompt.len() - 1..]) {
        let max = wanted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = max + wanted.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
        let rms = (wanted.iter().map(|v| v * v).sum::<f64>() / wanted.len() as f64).sqrt();
        // The error of a single logit is rarely more than four times the root mean square.
        assert!(max - wanted[*id as usize] <= 8.0 * limit * rms, "{what}: chose {id}, not the best token");
        assert_eq!((step.len(), step[0].0), (20, *id), "{what}");
        for &(token, logprob) in step {
            error += (logprob as f64 - (wanted[token as usize] - log_sum)).powi(2);
            scale += rms * rms;
        }
    }
    // A log-probability has the error of its logit and that of the sum.
    let relative = (error / scale).sqrt();
    assert!(relative <= 2f64.sqrt() * limit, "{what}: log-probabilities are off by {relative:.2e}");
}
