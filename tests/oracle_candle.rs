//! candle-transformers' quantized Qwen models as a second opinion on what the tests hold the engine against.

mod support;

use std::io::Cursor;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_qwen2, quantized_qwen3};
use qwenlet::quant::GgmlType;
use support::model::{Arch, Mix, Spec, every_model};
use support::reference::Reference;
use support::relative_l2;
use support::rng::Rng;

const TOKENS: usize = 24;

/// Tokens `[1, n]` at a position, to logits of the last.
type Forward = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>>;

/// Logits after each token: the tokens are given one by one, each with the state of those before it.
fn candle_logits(spec: &Spec, bytes: &[u8], tokens: &[u32]) -> candle_core::Result<Vec<Vec<f32>>> {
    let mut reader = Cursor::new(bytes);
    let content = Content::read(&mut reader)?;
    let device = Device::Cpu;
    let mut forward: Forward = match spec.arch {
        Arch::Qwen2 => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &device)?;
            Box::new(move |x, at| model.forward(x, at))
        }
        Arch::Qwen3 => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &device)?;
            Box::new(move |x, at| model.forward(x, at))
        }
    };
    let step = |(at, &token): (usize, &u32)| {
        forward(&Tensor::new(&[[token]], &device)?, at)?.flatten_all()?.to_vec1()
    };
    tokens.iter().enumerate().map(step).collect()
}

/// Candle has every format but IQ4, and no YaRN.
fn candle_has(spec: &Spec) -> bool {
    spec.yarn.is_none() && !matches!(spec.mix, Mix::All(GgmlType::Iq4Nl | GgmlType::Iq4Xs))
}

/// What rounding activations to 8 bits, as Candle does for quantized weights, may cost: the deviation of llama.cpp's CPU
/// engine on models of this size is 2e-2 to 4e-2, the more where a block of activations has 256 values. Unquantized
/// weights leave f32 rounding alone.
fn limit(mix: Mix) -> f64 {
    match mix {
        Mix::All(GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16) => 1e-4,
        _ => 6e-2,
    }
}

#[test]
fn candle_agrees_with_the_plain_reference() {
    let mut compared = 0;
    for spec in every_model().iter().filter(|s| candle_has(s)) {
        let bytes = spec.to_bytes();
        let mut rng = Rng::new(7);
        let tokens: Vec<u32> = (0..TOKENS).map(|_| rng.below(400) as u32).collect();
        let wanted = Reference::new(&[&bytes]).logits(&tokens);
        let got = candle_logits(spec, &bytes, &tokens).unwrap();
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
