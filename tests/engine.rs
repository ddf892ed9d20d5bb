//! Loading, conversations and answers on the CPU, end to end on a tiny random model.

mod support;

use std::ops::ControlFlow;

use futures_util::future::FutureExt;
use pollster::block_on;
use qwenlet::chat::Part;
use qwenlet::engine::fit::{Machine, WASM_BYTES};
use qwenlet::engine::{
    BackendChoice, ChatRequest, Engine, Event, Finish, GenerateOptions, LoadOptions, Outcome, Overflow,
    Phase, Progress, Prompt,
};
use qwenlet::quant::GgmlType;
use qwenlet::source::{MemorySource, Source};
use qwenlet::{Code, Error, Result};
use serde_json::json;
use support::model::{Mix, Spec};

const CHUNK: usize = 64 << 10;

fn spec() -> Spec {
    Spec::qwen3(Mix::All(GgmlType::Q8_0))
}

fn options(context_length: u32) -> LoadOptions {
    LoadOptions {
        backend: BackendChoice::Cpu,
        context_length: Some(context_length),
        ..LoadOptions::default()
    }
}

fn load_with(
    parts: Vec<Vec<u8>>,
    chunk: usize,
    options: LoadOptions,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Engine> {
    let mut open = |n: usize| {
        let part = parts.get(n).map(|bytes| {
            Box::new(MemorySource::new(format!("part {n}"), bytes.clone()).with_chunk(chunk))
                as Box<dyn Source>
        });
        async move { part.ok_or_else(|| Error::invalid_argument(format!("there is no part {n}"))) }
            .boxed_local()
    };
    block_on(Engine::load(&mut open, options, on_progress))
}

fn load(context_length: u32) -> Engine {
    load_with(spec().parts(1), CHUNK, options(context_length), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn greedy(max_tokens: u32) -> GenerateOptions {
    GenerateOptions {
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

fn answer(engine: &mut Engine, ids: &[u32], options: &GenerateOptions) -> Outcome {
    answer_to(engine, &Prompt::Ids(ids.to_vec()), options)
}

fn answer_to(engine: &mut Engine, prompt: &Prompt, options: &GenerateOptions) -> Outcome {
    block_on(engine.generate(prompt, options, &mut |_| ControlFlow::Continue(()))).unwrap()
}

/// Ordinary tokens of the tiny vocabulary.
fn ids(salt: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 40 + (i * 37 + salt * 101) % 300).collect()
}

#[test]
fn a_conversation_that_goes_on_computes_only_what_is_new() {
    let mut engine = load(512);
    let first = answer(&mut engine, &ids(1, 150), &greedy(20));
    assert_eq!((first.cached_tokens, first.ids.len(), first.finish), (0, 20, Finish::Length));

    let mut prompt = ids(1, 150);
    prompt.extend(&first.ids);
    prompt.extend(ids(2, 30));
    let second = answer(&mut engine, &prompt, &greedy(20));
    // The last token of an answer is never run.
    assert_eq!(second.cached_tokens, 150 + 19);
    assert_eq!(second.ids, answer(&mut load(512), &prompt, &greedy(20)).ids);
}

#[test]
fn the_same_prompt_again_runs_its_last_token() {
    let mut engine = load(512);
    let first = answer(&mut engine, &ids(1, 70), &greedy(8));
    let again = answer(&mut engine, &ids(1, 70), &greedy(8));
    assert_eq!((again.cached_tokens, again.ids), (69, first.ids));
}

#[test]
fn conversations_with_a_common_beginning_are_kept_beside_each_other() {
    let mut engine = load(512);
    let with = |salt: u32| [ids(1, 30), ids(salt, 80)].concat();
    let a = answer(&mut engine, &with(2), &greedy(8));
    let b = answer(&mut engine, &with(3), &greedy(8));
    assert_eq!(b.cached_tokens, 30);
    let a_again = answer(&mut engine, &with(2), &greedy(8));
    assert_eq!((a_again.cached_tokens, &a_again.ids), (109, &a.ids));
    let b_again = answer(&mut engine, &with(3), &greedy(8));
    assert_eq!((b_again.cached_tokens, &b_again.ids), (109, &b.ids));
    assert_eq!(b.ids, answer(&mut load(512), &with(3), &greedy(8)).ids);
}

#[test]
fn a_conversation_that_needs_the_room_takes_it_from_older_ones() {
    let mut engine = load(256);
    for salt in 0..6 {
        let outcome = answer(&mut engine, &ids(salt, 200), &greedy(40));
        assert_eq!(
            outcome.ids,
            answer(&mut load(256), &ids(salt, 200), &greedy(40)).ids,
            "conversation {salt}"
        );
    }
}

#[test]
fn cancelling_ends_the_answer_and_leaves_the_conversation() {
    let mut engine = load(512);
    let whole = answer(&mut load(512), &ids(1, 40), &greedy(10)).ids;
    let mut seen = 0;
    let mut on_event = |event: Event| {
        seen += usize::from(matches!(event, Event::Token { .. }));
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = block_on(engine.generate(&Prompt::Ids(ids(1, 40)), &greedy(10), &mut on_event)).unwrap();
    assert_eq!((outcome.finish, &outcome.ids[..]), (Finish::Aborted, &whole[..3]));

    let mut on_event = |_: Event| ControlFlow::Break(());
    let outcome = block_on(engine.generate(&Prompt::Ids(ids(9, 300)), &greedy(10), &mut on_event)).unwrap();
    assert_eq!((outcome.finish, outcome.ids.len()), (Finish::Aborted, 0), "cancelled during prefill");

    let after = answer(&mut engine, &ids(1, 40), &greedy(10));
    assert_eq!(after.ids, whole);
}

#[test]
fn a_prompt_that_does_not_fit_is_an_error_that_costs_nothing() {
    let mut engine = load(128);
    let error =
        block_on(engine.generate(&Prompt::Ids(ids(1, 128)), &greedy(4), &mut |_| ControlFlow::Continue(())))
            .unwrap_err();
    assert_eq!(error.code(), Code::ContextFull);
    assert!(error.message().contains("128"), "{error}");
    // One less leaves room for one token.
    let outcome = answer(&mut engine, &ids(1, 127), &greedy(4));
    assert_eq!((outcome.ids.len(), outcome.finish), (1, Finish::Length));
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let mut engine = load(128);
    let options = GenerateOptions { max_tokens: None, ..greedy(0) };
    let outcome = answer(&mut engine, &ids(1, 100), &options);
    assert_eq!((outcome.ids.len(), outcome.finish), (28, Finish::Length));
}

fn chat(turns: usize) -> Prompt {
    let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
    for i in 0..turns {
        messages.push(json!({"role": "user", "content": format!("Question number {i}, a rather long one?")}));
        messages.push(json!({"role": "assistant", "content": format!("Answer number {i}.")}));
    }
    messages.push(json!({"role": "user", "content": "And now?"}));
    Prompt::Chat(ChatRequest { messages, ..ChatRequest::default() })
}

#[test]
fn oldest_turns_are_dropped_where_that_is_asked_for() {
    let mut engine = load(256);
    let error =
        block_on(engine.generate(&chat(20), &greedy(4), &mut |_| ControlFlow::Continue(()))).unwrap_err();
    assert_eq!(error.code(), Code::ContextFull);

    let options = GenerateOptions { overflow: Overflow::DropOldest, ..greedy(4) };
    let mut dropped = None;
    let outcome = block_on(engine.generate(&chat(20), &options, &mut |event| {
        if let Event::Dropped { turns } = event {
            dropped = Some(turns);
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    let dropped = dropped.expect("an event tells of it");
    assert!((1..=20).contains(&dropped), "{dropped}");
    assert!(outcome.prompt_tokens + 4 <= 256);
    assert_eq!(outcome.ids.len(), 4);
}

#[test]
fn a_conversation_that_outgrows_the_context_is_seldom_computed_anew() {
    let mut engine = load(512);
    let options = GenerateOptions { overflow: Overflow::DropOldest, ..greedy(4) };
    let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
    let (mut before, mut dropped, mut shortest, mut short, mut reused) = (0, 0, u32::MAX, 0, 0);
    for turn in 0..60 {
        messages.push(json!({"role": "user", "content": format!("What is {turn}?")}));
        let prompt = Prompt::Chat(ChatRequest { messages: messages.clone(), ..ChatRequest::default() });
        messages.push(json!({"role": "assistant", "content": format!("It is {turn}.")}));
        let mut now = 0;
        let outcome = block_on(engine.generate(&prompt, &options, &mut |event| {
            if let Event::Dropped { turns } = event {
                now = turns;
            }
            ControlFlow::Continue(())
        }))
        .unwrap();
        assert!(outcome.prompt_tokens + 4 <= 512);
        assert!(dropped <= now && now <= turn, "{now} of {turn}");
        if now > 0 {
            short += 1;
            shortest = shortest.min(outcome.prompt_tokens);
            reused += u32::from(outcome.cached_tokens >= before);
        }
        (before, dropped) = (outcome.prompt_tokens, now);
    }
    assert!(short > 30, "{short}");
    assert!(3 * reused > 2 * short, "{reused} of {short}");
    // A quarter, a turn and the answer are the most that may be free.
    assert!(shortest > 512 / 2, "{shortest}");
}

#[test]
fn tokens_are_counted_while_an_answer_is_made() {
    let mut engine = load(512);
    let Prompt::Chat(request) = chat(2) else { unreachable!() };
    let texts = engine.texts().clone();
    let mut counted = Vec::new();
    let outcome = block_on(engine.generate(&chat(2), &greedy(2), &mut |event| {
        if let Event::Token { id, .. } = event {
            counted.push((texts.count_tokens(&request).unwrap(), texts.detokenize(&[id]).unwrap()));
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    let said = |id: u32| (outcome.prompt_tokens, engine.detokenize(&[id]).unwrap());
    assert_eq!(counted, [said(outcome.ids[0]), said(outcome.ids[1])]);
}

#[test]
fn a_seed_repeats_an_answer_and_another_gives_another() {
    let mut engine = load(512);
    let sampled = |seed| GenerateOptions {
        temperature: Some(1.5),
        top_k: Some(0),
        top_p: Some(1.0),
        seed: Some(seed),
        ..greedy(24)
    };
    let a = answer(&mut engine, &ids(1, 20), &sampled(7)).ids;
    assert_eq!(a, answer(&mut load(512), &ids(1, 20), &sampled(7)).ids);
    assert_ne!(a, answer(&mut engine, &ids(1, 20), &sampled(8)).ids);
}

#[test]
fn text_stops_before_a_stop_string() {
    let mut engine = load(512);
    let whole = answer(&mut engine, &ids(1, 20), &greedy(40));
    let text: Vec<char> = whole.text.chars().collect();
    let stop: String = text[text.len() / 2..][..3].iter().collect();
    let before = whole.text.split(&stop).next().unwrap();
    let mut streamed = String::new();
    let options = GenerateOptions { stop: vec![stop.clone()], ..greedy(40) };
    let outcome = block_on(engine.generate(&Prompt::Ids(ids(1, 20)), &options, &mut |event| {
        if let Event::Token { text, .. } | Event::Tail { text, .. } = event {
            streamed.push_str(&text);
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!((outcome.text.as_str(), outcome.finish), (before, Finish::Stop));
    assert_eq!(streamed, before);
}

#[test]
fn code_is_filled_in_until_the_next_example_begins() {
    let mut engine = load(512);
    let prompt = engine.tokenize("<|fim_prefix|>Hello<|fim_suffix|>.<|fim_middle|>", true).unwrap();
    let mut next = |marker: &str| {
        let id = engine.tokenize(marker, true).unwrap()[0];
        let options = GenerateOptions { logit_bias: vec![(id, 1000.0)], ignore_eos: false, ..greedy(3) };
        let outcome = answer(&mut engine, &prompt, &options);
        (outcome.finish, outcome.ids.len())
    };
    assert_eq!(["<|fim_prefix|>", "<|fim_suffix|>"].map(&mut next), [(Finish::Stop, 0); 2]);
    assert_eq!(next("<|fim_middle|>"), (Finish::Length, 3));
}

#[test]
fn logprobs_are_those_of_the_logits() {
    let mut engine = load(512);
    let prompt = ids(1, 20);
    let mut seen = Vec::new();
    let options = GenerateOptions { logprobs: Some(3), ..greedy(2) };
    block_on(engine.generate(&Prompt::Ids(prompt.clone()), &options, &mut |event| {
        if let Event::Token { id, logprob, .. } = event {
            seen.push((id, logprob.expect("asked for")));
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    let logits = block_on(engine.logits(&prompt, &[prompt.len() - 1])).unwrap();
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    let (id, logprob) = &seen[0];
    let wanted = f64::from(logits[*id as usize]) - sum.ln();
    assert!((f64::from(logprob.logprob) - wanted).abs() < 1e-4, "{} {wanted}", logprob.logprob);
    assert_eq!(logprob.top.len(), 3);
    assert_eq!(logprob.top[0], (*id, logprob.logprob));
}

#[test]
fn logits_do_not_depend_on_how_the_prompt_is_cut() {
    let mut engine = load(512);
    let prompt = ids(3, 300);
    let positions: Vec<usize> = (0..300).step_by(7).collect();
    let many = block_on(engine.logits(&prompt, &positions)).unwrap();
    let n_vocab = engine.info().n_vocab as usize;
    assert_eq!(many.len(), positions.len() * n_vocab);
    for (i, &p) in positions.iter().enumerate().step_by(11) {
        let one = block_on(engine.logits(&prompt[..=p], &[p])).unwrap();
        let got = many[i * n_vocab..][..n_vocab].iter().map(|&x| f64::from(x));
        let error = support::relative_l2(got, one.iter().map(|&x| f64::from(x)));
        assert!(error < 1e-5, "position {p}: {error}");
    }
}

#[test]
fn the_way_the_bytes_arrive_changes_nothing() {
    let wanted = answer(&mut load(512), &ids(1, 20), &greedy(8)).ids;
    for (parts, chunk) in [(1, 997), (1, usize::MAX), (3, 4096)] {
        let mut last = None;
        let mut engine = load_with(spec().parts(parts), chunk, options(512), &mut |p| {
            last = Some(p);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(
            answer(&mut engine, &ids(1, 20), &greedy(8)).ids,
            wanted,
            "{parts} parts in chunks of {chunk}"
        );
        let total: usize = spec().parts(parts).iter().map(Vec::len).sum();
        let last = last.expect("progress is reported");
        assert_eq!((last.phase, last.bytes, last.total), (Phase::Ready, total as u64, Some(total as u64)));
    }
}

#[test]
fn a_load_can_be_cancelled() {
    let error = load_with(spec().parts(1), CHUNK, options(512), &mut |p| {
        if p.bytes > 300_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
}

#[test]
fn a_file_that_ends_early_says_where() {
    let whole = spec().to_bytes();
    for len in [3, 100, 20_000, whole.len() / 2, whole.len() - 1] {
        let error =
            load_with(vec![whole[..len].to_vec()], CHUNK, options(512), &mut |_| ControlFlow::Continue(()))
                .unwrap_err();
        assert_eq!(error.code(), Code::TruncatedFile, "{len} bytes: {error}");
        assert!(error.message().contains("part 0"), "{error}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut engine = load(512);
    answer(&mut engine, &ids(1, 70), &greedy(8));
    let mut refuse = |prompt: Prompt, options: GenerateOptions| {
        let error =
            block_on(engine.generate(&prompt, &options, &mut |_| ControlFlow::Continue(()))).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        error.message()
    };
    assert!(refuse(Prompt::Ids(vec![1_000_000]), greedy(1)).contains("1000000"));
    assert!(refuse(Prompt::Ids(vec![]), greedy(1)).contains("empty"));
    let hot = GenerateOptions { temperature: Some(-1.0), ..greedy(1) };
    assert!(refuse(Prompt::Ids(ids(1, 70)), hot).contains("temperature"));
    let bias = GenerateOptions { logit_bias: vec![(1 << 30, 1.0)], ..greedy(1) };
    assert!(refuse(Prompt::Ids(ids(1, 70)), bias).contains("logit_bias"));
    // None of it costs the conversation its state.
    assert_eq!(answer(&mut engine, &ids(1, 70), &greedy(8)).cached_tokens, 69);

    let error =
        load_with(spec().parts(1), CHUNK, options(1 << 30), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("contextLength"), "{error}");
}

#[test]
fn an_answer_to_a_conversation_comes_in_parts_that_make_its_text() {
    let mut engine = load(512);
    let mut streamed = Vec::new();
    let outcome = block_on(engine.generate(&chat(1), &greedy(30), &mut |event| {
        if let Event::Token { parts, .. } | Event::Tail { parts, .. } = event {
            streamed.extend(parts);
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    let joined = |parts: &[Part]| -> String {
        parts.iter().map(|p| if let Part::Text(t) = p { t.as_str() } else { panic!("{p:?}") }).collect()
    };
    // A random model says neither thoughts nor calls.
    assert_eq!(joined(&outcome.parts), joined(&streamed));
    assert_eq!(joined(&streamed).trim_end_matches('\n'), outcome.text.trim_end_matches('\n'));
    assert_eq!(outcome.parts.len(), 1);
    assert!(answer(&mut engine, &ids(1, 20), &greedy(4)).parts.is_empty(), "a completion has no parts");
}

#[test]
fn without_a_generation_prompt_the_assistant_s_last_message_goes_on() {
    let mut engine = load(512);
    let ending = |role: &str, content: &str| {
        let messages =
            vec![json!({"role": "user", "content": "And?"}), json!({"role": role, "content": content})];
        Prompt::Chat(ChatRequest { messages, add_generation_prompt: Some(false), ..ChatRequest::default() })
    };
    for begun in ["The answer", "The answer<|im_end|>\n", "", "<think>\nHm", "<think>\nHm</think>So"] {
        let outcome = answer_to(&mut engine, &ending("assistant", begun), &greedy(8));
        let mut ids =
            engine.tokenize("<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n", true).unwrap();
        // What the assistant said is text, but for its tags.
        ids.extend(engine.tokenize(begun, begun.contains("<think>")).unwrap());
        assert_eq!(outcome.prompt_tokens as usize, ids.len(), "{begun:?}");
        assert_eq!(outcome.ids, answer(&mut engine, &ids, &greedy(8)).ids, "{begun:?}");
        let thinks = matches!(outcome.parts[..], [Part::Thinking(_)]);
        assert_eq!(thinks, begun.ends_with("Hm"), "{begun:?}: {:?}", outcome.parts);
    }
    // A user's message is whole.
    let outcome = answer_to(&mut engine, &ending("user", "Now?"), &greedy(1));
    let whole = "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>user\nNow?<|im_end|>\n";
    assert_eq!(outcome.prompt_tokens as usize, engine.tokenize(whole, true).unwrap().len());
}

#[test]
fn a_text_begins_with_the_token_that_the_file_asks_for() {
    let mut bytes = spec().to_bytes();
    let key = b"tokenizer.ggml.add_bos_token";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
    bytes[at + key.len() + 4] = 1; // behind the type of the value
    let mut engine = load_with(vec![bytes], CHUNK, options(512), &mut |_| ControlFlow::Continue(())).unwrap();
    let text = "The river was slow";
    let ids = engine.tokenize(text, false).unwrap();
    let outcome = answer_to(&mut engine, &Prompt::Text(text.into()), &greedy(8));
    let led = [engine.tokenize("<|endoftext|>", true).unwrap(), ids.clone()].concat();
    assert_eq!(outcome.prompt_tokens as usize, led.len());
    assert_eq!(outcome.ids, answer(&mut engine, &led, &greedy(8)).ids);
    // Ids are taken as they are, and most files ask for none.
    assert_eq!(answer(&mut engine, &ids, &greedy(1)).prompt_tokens as usize, ids.len());
    let outcome = answer_to(&mut load(512), &Prompt::Text(text.into()), &greedy(1));
    assert_eq!(outcome.prompt_tokens as usize, ids.len());
}

#[test]
fn the_recommended_presence_penalty_is_a_chat_s() {
    let mut engine = load(512);
    let mut is_penalized = |prompt: &Prompt| {
        let seeded = GenerateOptions { seed: Some(1), temperature: None, ..greedy(60) };
        let without = GenerateOptions { presence_penalty: Some(0.0), ..seeded.clone() };
        answer_to(&mut engine, prompt, &seeded).ids != answer_to(&mut engine, prompt, &without).ids
    };
    assert!(is_penalized(&chat(1)));
    assert!(!is_penalized(&Prompt::Ids(ids(1, 20))));
    assert!(!is_penalized(&Prompt::Text("The river was slow".into())));
}

#[test]
fn what_cannot_fit_is_refused_before_its_weights() {
    let machine = Machine { wasm: Some(61_000_000), ..Machine::default() };
    let small = LoadOptions { machine: Some(machine), ..options(512) };
    let mut phases = Vec::new();
    let mut watch = |p: Progress| {
        phases.push(p.phase);
        ControlFlow::Continue(())
    };
    let error = load_with(spec().parts(1), CHUNK, small.clone(), &mut watch).unwrap_err();
    assert_eq!(error.code(), Code::OutOfMemory);
    assert!(error.message().contains("does not fit: WebAssembly has at most 61 MB"), "{error}");
    assert!(phases.iter().all(|&phase| phase == Phase::Header), "{phases:?}");

    let roomy = Machine { wasm: Some(WASM_BYTES), ..Machine::default() };
    let large = LoadOptions { machine: Some(roomy), ..small };
    load_with(spec().parts(1), CHUNK, large, &mut |_| ControlFlow::Continue(())).unwrap();
}
