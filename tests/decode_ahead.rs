//! Answers on WebGPU, where tokens are chosen by the GPU and runs go ahead of them, beside the same answers chosen by
//! the CPU one after the other, which is what asking for log-probabilities does.

mod support;

use std::ops::ControlFlow;

use futures_util::future::FutureExt;
use pollster::block_on;
use qwenlet::engine::{
    BackendChoice, Engine, Event, Finish, GenerateOptions, LoadOptions, Outcome, Precision, Prompt,
};
use qwenlet::quant::GgmlType;
use qwenlet::source::{MemorySource, Source};
use qwenlet::{Code, Error};
use support::model::{Mix, Spec};

/// An engine on WebGPU, or `None` with a visible line where there is no adapter and none is required.
fn load(spec: &Spec, context_length: u32) -> Option<Engine> {
    let bytes = spec.to_bytes();
    let mut open = |n: usize| {
        let part = (n == 0).then(|| Box::new(MemorySource::new("model", bytes.clone())) as Box<dyn Source>);
        async move { part.ok_or_else(|| Error::invalid_argument("there is one part")) }.boxed_local()
    };
    let options = LoadOptions {
        backend: BackendChoice::WebGpu,
        // Whether a token is computed among many or by itself shows where activations are rounded.
        precision: Precision::Exact,
        context_length: Some(context_length),
        ..LoadOptions::default()
    };
    match block_on(Engine::load(&mut open, options, &mut |_| ControlFlow::Continue(()))) {
        Ok(engine) => Some(engine),
        Err(e) if e.code() == Code::NoWebgpu => {
            let set = |name, value| std::env::var(name).is_ok_and(|v| v == value);
            assert!(!set("CI", "true") && !set("QWENLET_REQUIRE_GPU", "1"), "{e}");
            println!("skipped: no WebGPU adapter");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn qwen3() -> Spec {
    Spec::qwen3(Mix::All(GgmlType::Q8_0))
}

fn answer(engine: &mut Engine, prompt: &[u32], options: &GenerateOptions) -> Outcome {
    let prompt = Prompt::Ids(prompt.to_vec());
    block_on(engine.generate(&prompt, options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// The same, each token chosen by the CPU before the next run starts.
fn answer_in_turn(engine: &mut Engine, prompt: &[u32], options: &GenerateOptions) -> Outcome {
    answer(engine, prompt, &GenerateOptions { logprobs: Some(0), ..options.clone() })
}

/// Ordinary tokens of the tiny vocabulary.
fn ids(salt: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 40 + (i * 37 + salt * 101) % 300).collect()
}

fn sampled(seed: u64, max_tokens: u32) -> GenerateOptions {
    GenerateOptions {
        max_tokens: Some(max_tokens),
        temperature: Some(0.9),
        top_k: Some(40),
        top_p: Some(0.95),
        repetition_penalty: Some(1.1),
        seed: Some(seed),
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

fn every_option() -> Vec<GenerateOptions> {
    let n = 40;
    vec![
        sampled(1, n),
        GenerateOptions { temperature: Some(0.0), ..sampled(2, n) },
        GenerateOptions { top_k: Some(0), top_p: Some(1.0), repetition_penalty: Some(1.0), ..sampled(3, n) },
        GenerateOptions { top_k: Some(0), top_p: Some(0.5), temperature: Some(1.5), ..sampled(4, n) },
        GenerateOptions { min_p: Some(0.1), frequency_penalty: Some(0.4), ..sampled(5, n) },
        GenerateOptions { presence_penalty: Some(0.8), logit_bias: vec![(50, 3.0)], ..sampled(6, n) },
        GenerateOptions { ignore_eos: false, ..sampled(7, n) },
        GenerateOptions { max_tokens: Some(1), ..sampled(8, n) },
        GenerateOptions { max_tokens: Some(0), ..sampled(9, n) },
    ]
}

#[test]
fn the_same_answers_ahead_and_in_turn() {
    for spec in [qwen3(), Spec::qwen2(Mix::Q4KM)] {
        let Some(mut engine) = load(&spec, 256) else { return };
        for (i, options) in (0..).zip(every_option()) {
            let prompt = ids(i, 30);
            let want = answer_in_turn(&mut engine, &prompt, &options);
            let got = answer(&mut engine, &prompt, &options);
            assert_eq!(
                (&got.ids, &got.text, got.finish),
                (&want.ids, &want.text, want.finish),
                "{options:?}"
            );
            assert!(options.max_tokens != Some(40) || got.ids.len() > 30, "{} tokens", got.ids.len());
        }
    }
}

#[test]
fn a_token_costs_one_write_one_submit_and_an_id_read_back() {
    let Some(mut engine) = load(&qwen3(), 256) else { return };
    let outcome = answer(&mut engine, &ids(0, 30), &sampled(1, 100));
    let (run, n) = (outcome.stats.run, 99);
    assert_eq!((run.submits, run.buffers_created, run.bind_groups_created), (n, 0, 0));
    assert!(run.bytes_read_back <= 16 * n, "{} bytes read back", run.bytes_read_back);
    // Header, row, output, and a page table of up to three pages.
    assert!(run.bytes_written <= 4 * (4 + 4 + 1 + 3) * n, "{} bytes written", run.bytes_written);
    // The prompt's own: the state of the sampler, and its rows.
    assert!(outcome.stats.prefill_run.bytes_read_back <= 16);
}

/// What a conversation answers next, beside an engine that never saw it before.
fn goes_on(engine: &mut Engine, spec: &Spec, context: u32, prompt: &[u32], cached_at_least: u32) {
    let options = GenerateOptions { temperature: Some(0.0), ..sampled(3, 12) };
    let Some(mut fresh) = load(spec, context) else { return };
    let want = answer_in_turn(&mut fresh, prompt, &options);
    let got = answer(engine, prompt, &options);
    assert_eq!(got.ids, want.ids);
    assert!(got.cached_tokens >= cached_at_least, "{} of {}", got.cached_tokens, prompt.len());
}

#[test]
fn a_stop_string_ends_what_is_under_way() {
    let spec = qwen3();
    let Some(mut engine) = load(&spec, 256) else { return };
    let prompt = ids(4, 50);
    let whole = answer(&mut engine, &prompt, &sampled(11, 60));
    // Some text from the middle of the answer.
    let middle: String = whole.text.chars().skip(whole.text.chars().count() / 2).take(4).collect();
    let options = GenerateOptions { stop: vec![middle], ..sampled(11, 60) };
    let want = answer_in_turn(&mut engine, &prompt, &options);
    for _ in 0..2 {
        let got = answer(&mut engine, &prompt, &options);
        assert_eq!((&got.ids, &got.text, got.finish), (&want.ids, &want.text, Finish::Stop));
        assert!(got.ids.len() < 60);
    }
    let mut next = [prompt, want.ids].concat();
    let known = next.len() as u32;
    next.extend(ids(5, 20));
    goes_on(&mut engine, &spec, 256, &next, known - 1);
}

#[test]
fn an_answer_that_is_left_leaves_nothing_behind() {
    let spec = qwen3();
    let Some(mut engine) = load(&spec, 256) else { return };
    // The depth of an engine that has answered before.
    answer(&mut engine, &ids(1, 20), &sampled(1, 80));
    let prompt = ids(6, 60);
    let mut seen = Vec::new();
    let outcome =
        block_on(engine.generate(&Prompt::Ids(prompt.clone()), &sampled(2, 100), &mut |event| match event {
            Event::Token { id, .. } => {
                seen.push(id);
                if seen.len() == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            _ => ControlFlow::Continue(()),
        }));
    let outcome = outcome.unwrap();
    assert_eq!((outcome.finish, &outcome.ids), (Finish::Aborted, &seen));
    let next = [prompt.clone(), seen, ids(7, 9)].concat();
    goes_on(&mut engine, &spec, 256, &next, 66);

    // Left while the prompt is computed: the run of its last token is under way.
    let prompt = [ids(8, 30), prompt].concat();
    let left = block_on(engine.generate(&Prompt::Ids(prompt.clone()), &sampled(2, 100), &mut |event| {
        if matches!(event, Event::Prefill { .. }) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }));
    assert_eq!(left.unwrap().finish, Finish::Aborted);
    goes_on(&mut engine, &spec, 256, &prompt, 0);

    // Given up from outside, in the midst of waiting for a token.
    let prompt = ids(9, 20);
    let tokens = std::cell::Cell::new(0);
    {
        let mut on_event = |event| {
            tokens.set(tokens.get() + u32::from(matches!(event, Event::Token { .. })));
            ControlFlow::Continue(())
        };
        let ids = Prompt::Ids(prompt.clone());
        let options = sampled(2, 100);
        let mut generate = Box::pin(engine.generate(&ids, &options, &mut on_event));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = generate.as_mut().poll(&mut context);
    }
    goes_on(&mut engine, &spec, 256, &prompt, 0);
}

#[test]
fn an_error_on_the_gpu_is_the_cpu_s_and_the_engine_answers_on() {
    let spec = qwen3();
    let Some(mut engine) = load(&spec, 256) else { return };
    let prompt = ids(3, 20);
    answer(&mut engine, &prompt, &sampled(1, 80));
    // Together they are more than the largest number.
    let broken = GenerateOptions { logit_bias: vec![(5, f32::MAX); 2], ..sampled(2, 40) };
    let errors = [None, Some(0)].map(|logprobs| {
        let options = GenerateOptions { logprobs, ..broken.clone() };
        let prompt = Prompt::Ids(prompt.clone());
        let result = block_on(engine.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())));
        let error = result.unwrap_err();
        (error.code(), error.to_string())
    });
    assert_eq!(errors[0], errors[1]);
    assert!(errors[0].0 == Code::Internal && errors[0].1.contains("token 5"), "{errors:?}");
    goes_on(&mut engine, &spec, 256, &prompt, 0);
}

#[test]
fn the_context_is_used_to_its_last_token() {
    let spec = qwen3();
    for context in [64, 65, 100, 128] {
        let Some(mut engine) = load(&spec, context) else { return };
        let prompt = ids(2, 40);
        let options = GenerateOptions { max_tokens: None, ..sampled(5, 0) };
        for _ in 0..2 {
            let got = answer(&mut engine, &prompt, &options);
            assert_eq!((got.ids.len() as u32, got.finish), (context - 40, Finish::Length));
            let want = answer_in_turn(&mut engine, &prompt, &options);
            assert_eq!(got.ids, want.ids);
        }
    }
}

#[test]
fn conversations_beside_each_other_in_a_full_pool() {
    let spec = qwen3();
    // Five pages: two conversations of two pages each, and what a third and the end of each needs.
    let Some(mut engine) = load(&spec, 256) else { return };
    let mut prompts = [ids(1, 70), ids(2, 90), ids(3, 60)];
    for turn in 0..3 {
        for prompt in &mut prompts {
            let options = sampled(turn, 30);
            let got = answer(&mut engine, prompt, &options);
            let want = answer_in_turn(&mut engine, prompt, &options);
            assert_eq!(got.ids, want.ids, "turn {turn}");
            prompt.extend(&got.ids);
        }
    }
}

#[test]
fn a_long_prompt_runs_in_strides_and_can_be_left_between_them() {
    let spec = Spec { context: 2048, ..qwen3() };
    let Some(mut engine) = load(&spec, 2048) else { return };
    let options = GenerateOptions { temperature: Some(0.0), ..sampled(3, 12) };
    // Whatever strides the device is found to be fast with.
    for salt in 0..3 {
        let prompt = ids(salt, 1300);
        let mut steps = vec![0];
        let got = block_on(engine.generate(&Prompt::Ids(prompt.clone()), &options, &mut |event| {
            if let Event::Prefill { done, total } = event {
                assert_eq!(total, 1300);
                steps.push(done);
            }
            ControlFlow::Continue(())
        }));
        let strides: Vec<u32> = steps.windows(2).map(|s| s[1] - s[0]).collect();
        assert!(strides.iter().all(|n| (1..=512).contains(n)) && strides.len() >= 3, "{strides:?}");
        assert_eq!(steps.last(), Some(&1300));
        let Some(mut fresh) = load(&spec, 2048) else { return };
        assert_eq!(got.unwrap().ids, answer_in_turn(&mut fresh, &prompt, &options).ids, "{strides:?}");
    }

    let prompt = ids(9, 1300);
    let mut done = 0;
    let left = block_on(engine.generate(&Prompt::Ids(prompt.clone()), &options, &mut |event| {
        if let Event::Prefill { done: n, .. } = event {
            done = n;
        }
        if done > 512 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    assert_eq!(left.unwrap().finish, Finish::Aborted);
    assert!((513..1300).contains(&done), "left after {done}");
    goes_on(&mut engine, &spec, 2048, &prompt, done);
}
