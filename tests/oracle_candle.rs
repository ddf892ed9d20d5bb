//! candle-transformers' quantized Qwen models as a second opinion on what the tests hold the engine against.

mod support;

use qwenlet::quant::GgmlType;
use support::model::{Mix, Spec, every_model};
use support::reference::Reference;
use support::rng::Rng;
use support::{candle, relative_l2};

const TOKENS: usize = 24;

/// What rounding activations to 8 bits, as Candle does for quantized weights, may cost: the deviation of llama.cpp's CPU
/// engine on models of this size is 2e-2 to 4e-2, the more where a block of activations has 256 values. With weights
/// that are not quantized there is only the rounding of f32.
fn limit(mix: Mix) -> f64 {
    match mix {
        Mix::All(GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16) => 1e-4,
        _ => 4e-2,
    }
}

#[test]
fn candle_agrees_with_the_plain_reference() {
    let mut compared = 0;
    for spec in every_model().iter().filter(|s| candle::supports(s)) {
        let bytes = spec.to_bytes();
        let mut rng = Rng::new(7);
        let tokens: Vec<u32> = (0..TOKENS).map(|_| rng.below(400) as u32).collect();
        let wanted = Reference::new(&[&bytes]).logits(&tokens);
        let got = candle::logits(spec, &bytes, &tokens).unwrap();
        let values = got.iter().flatten().map(|&v| v as f64);
        let deviation = relative_l2(values, wanted.iter().flatten().copied());
        println!("{}: {deviation:.1e}", spec.name());
        assert!(deviation <= limit(spec.mix), "{}: {deviation:.2e}", spec.name());
        compared += 1;
    }
    assert!(compared > 30);
}

/// A model that says the same whatever it is asked would pass every comparison: these do not.
#[test]
fn models_have_something_to_say() {
    for spec in every_model() {
        let logits = Reference::new(&[spec.to_bytes()]).logits(&[1, 300, 7, 2]);
        for row in &logits {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let std = (row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64).sqrt();
            assert!((0.8..6.0).contains(&std), "{}: standard deviation {std}", spec.name());
        }
        let apart = relative_l2(logits[3].iter().copied(), logits[2].iter().copied());
        assert!(apart > 0.3, "{}: {apart}", spec.name());
    }
}

/// Attention matters: the same token says something else after other tokens, and at another place.
#[test]
fn models_depend_on_what_came_before() {
    for spec in [Spec::qwen2(Mix::All(GgmlType::F32)), Spec::qwen3(Mix::All(GgmlType::F32))] {
        let model = Reference::new(&[spec.to_bytes()]);
        let last = |tokens: &[u32]| model.logits(tokens).pop().unwrap();
        let base = last(&[5, 6, 7]);
        for other in [[9, 6, 7], [6, 5, 7]] {
            let apart = relative_l2(last(&other), base.iter().copied());
            assert!(apart > 0.02, "{}: {apart}", spec.name());
        }
    }
}
