//! The engine against the golden logits and greedy continuations, every dense model, on every backend.

mod support;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use pollster::block_on;
use qwenlet::engine::{Engine, GenerateOptions, Kernels, Prompt};
use support::engine::{logits, on_each_backend_and_rounded};
use support::golden::{Golden, dense_models};
use support::{fixtures, relative_l2, side_by_side};

/// Both backends keep activations in f32 where weights are not quantized, WebGPU always unless it is to round.
fn is_exact(engine: &Engine, model: &Golden) -> bool {
    kernels(engine).is_some_and(|k| k == Kernels::Exact) || model.is_full_precision()
}

fn kernels(engine: &Engine) -> Option<Kernels> {
    engine.info().self_check.as_ref().map(|check| check.kernels)
}

/// Each engine is loaded once for both: on a software GPU loading takes most of the time.
#[test]
fn logits_and_greedy_continuations_are_the_golden_ones() {
    let Some(dir) = fixtures() else { return };
    let compared = AtomicUsize::new(0);
    side_by_side(&dense_models(&dir), |model| {
        for mut engine in on_each_backend_and_rounded(&model.parts(&dir)) {
            let what = format!("{} on {} {:?}", model.name, engine.info().backend, kernels(&engine));
            compare_logits(&mut engine, model, &what);
            compared.fetch_add(compare_greedy(&mut engine, model, &what), Relaxed);
        }
    });
    let compared = compared.into_inner();
    assert!(compared > 500, "only {compared} tokens are sure");
}

fn compare_logits(engine: &mut Engine, model: &Golden, what: &str) {
    let (mut got, mut worst) = (Vec::new(), 0f64);
    for prompt in &model.prompts {
        let rows = logits(engine, &prompt.tokens, &prompt.positions);
        for (row, wanted) in rows.iter().zip(&prompt.logits) {
            let double = |row: &[f32]| -> Vec<f64> { row.iter().map(|&v| v as f64).collect() };
            worst = worst.max(relative_l2(double(row), double(wanted)));
        }
        got.extend(rows.concat());
    }
    let wanted = model.prompts.iter().flat_map(|p| p.logits.iter().flatten());
    let overall = relative_l2(got.iter().map(|&v| v as f64), wanted.map(|&v| v as f64));
    // Activations of 8 bits: half as much again as llama.cpp's CPU engine is off on this very file.
    let (value, limit) = match is_exact(engine, model) {
        true => (worst, 2e-3),
        false => (overall, 1.5 * model.deviation.llama_cpp.rel_l2),
    };
    println!("{what}: {value:.1e} of {limit:.1e}");
    assert!(value <= limit, "{what}: {value:.2e}, limit {limit:.2e}");
}

/// Equal up to the first step at which the best two tokens are closer than the backend's precision: so many tokens.
fn compare_greedy(engine: &mut Engine, model: &Golden, what: &str) -> usize {
    let noise = match is_exact(engine, model) {
        true => 0.02,
        false => (2.0 * model.deviation.llama_cpp.max_abs).max(0.05),
    };
    let mut compared = 0;
    for prompt in &model.prompts {
        let sure = prompt.greedy_margin.iter().take_while(|&&m| m >= noise).count();
        let options = GenerateOptions {
            max_tokens: Some(sure as u32),
            temperature: Some(0.0),
            repetition_penalty: Some(1.0),
            presence_penalty: Some(0.0),
            ignore_eos: true,
            ..GenerateOptions::default()
        };
        if sure == 0 {
            continue;
        }
        let ids = Prompt::Ids(prompt.tokens.clone());
        let outcome = block_on(engine.generate(&ids, &options, &mut |_| ControlFlow::Continue(()))).unwrap();
        assert_eq!(outcome.ids, prompt.greedy[..sure], "{what}");
        compared += sure;
    }
    compared
}
