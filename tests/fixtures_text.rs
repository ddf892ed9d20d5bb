//! Tokenizer, chat templates and sampler against the golden data of `../shared/fixtures/dev`, where it is present.

use std::path::PathBuf;

use qwenlet::chat::{ChatTemplate, WallTime, builtin};
use qwenlet::engine::ChatRequest;
use qwenlet::gguf::{self, Metadata};
use qwenlet::sampler::{Params, Sampler};
use qwenlet::tokenizer::{Special, StreamDecoder, Tokenizer};
use serde_json::Value;

/// The folder of the golden data, or `None` with one line that says so.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("QWENLET_FIXTURES")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/dev")));
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: ../shared/fixtures is absent");
    None
}

fn json_lines(folder: &std::path::Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn metadata(path: &std::path::Path) -> Metadata {
    let bytes = std::fs::read(path).unwrap();
    match gguf::parse(&bytes, Some(bytes.len() as u64)).unwrap() {
        gguf::Parsed::Header(header) => header.metadata,
        gguf::Parsed::NeedMore(n) => panic!("{} needs {n} bytes", path.display()),
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn str(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn tokenizer_is_exact() {
    let Some(folder) = fixtures() else { return };
    let real = Tokenizer::from_metadata(&metadata(&folder.join("vocab-qwen2.gguf"))).unwrap();
    let mut counts = [0; 3];
    for case in json_lines(&folder, "tokenizer.jsonl") {
        let id = &case["id"];
        match str(&case["kind"]) {
            "encode" => {
                let text = str(&case["text"]);
                let special = ids(&case["ids_special"]);
                assert_eq!(real.encode(text, Special::All).unwrap(), special, "case {id}: {text:?}");
                assert_eq!(
                    real.encode(text, Special::None).unwrap(),
                    ids(&case["ids_plain"]),
                    "case {id}: {text:?}"
                );
                assert_eq!(real.decode(&special, false), str(&case["decoded"]), "case {id}");
                assert_eq!(real.decode(&special, true), str(&case["decoded_skip_special"]), "case {id}");
                counts[0] += 1;
            }
            "stream" => {
                let mut decoder = StreamDecoder::new(case["skip_special"].as_bool().unwrap());
                let chunks: Vec<String> =
                    ids(&case["ids"]).into_iter().map(|id| decoder.push(&real, id)).collect();
                assert_eq!(serde_json::to_value(&chunks).unwrap(), case["chunks"], "case {id}");
                assert_eq!(decoder.flush(), str(&case["flush"]), "case {id}");
                counts[1] += 1;
            }
            "encode_mini" => {
                let model = folder.join("models").join(str(&case["file"]));
                let mini = Tokenizer::from_metadata(&metadata(&model)).unwrap();
                assert_eq!(
                    mini.encode(str(&case["text"]), Special::All).unwrap(),
                    ids(&case["ids_special"]),
                    "case {id}"
                );
                counts[2] += 1;
            }
            other => panic!("case {id} is of kind {other:?}"),
        }
    }
    assert!(counts.iter().all(|&n| n > 0), "{counts:?}");
}

#[test]
fn four_thousand_random_strings_come_back() {
    let Some(folder) = fixtures() else { return };
    let real = Tokenizer::from_metadata(&metadata(&folder.join("vocab-qwen2.gguf"))).unwrap();
    // No letter here composes with a neighbour, so that NFC changes nothing.
    let alphabet: Vec<char> =
        " \n\t\r'\".,:;!?<|>(){}[]=+-_/\\abcdeXYZ0189äßéñЖщπ中文日本語한글الع😀🚀\u{200d}\u{a0}\u{3000}"
            .chars()
            .collect();
    let first_added = real.id_of("<|endoftext|>").unwrap();
    let mut state = 1u64;
    let mut random = |n: usize| {
        // Knuth's linear congruential generator: the upper half is random enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..4000 {
        let text: String = (0..random(60)).map(|_| alphabet[random(alphabet.len())]).collect();
        let ids = real.encode(&text, Special::None).unwrap();
        assert_eq!(real.decode(&ids, false), text);
        assert!(ids.iter().all(|&id| id < first_added), "{text:?}");
        let mut decoder = StreamDecoder::new(true);
        let streamed: String = ids.iter().map(|&id| decoder.push(&real, id)).collect();
        assert_eq!(streamed + &decoder.flush(), text);
    }
}

#[test]
fn the_known_added_tokens_of_qwen2_stand_in_for_placeholders() {
    let Some(folder) = fixtures() else { return };
    let real = Tokenizer::from_metadata(&metadata(&folder.join("vocab-qwen2.gguf"))).unwrap();
    let listed: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("tokenizer_added.json")).unwrap()).unwrap();
    let listed: Vec<(u32, String, bool)> = listed["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| {
            (t["id"].as_u64().unwrap() as u32, str(&t["content"]).into(), t["special"].as_bool().unwrap())
        })
        .collect();
    let ours: Vec<_> = real.added_tokens().map(|t| (t.id, t.text.clone(), t.control)).collect();
    assert_eq!(ours, listed);
    // As the publisher's examples of filling in code list them.
    assert_eq!(real.end_tokens(), [151_643, 151_645, 151_659, 151_661, 151_662, 151_663, 151_664]);
    assert_eq!(real.leading_token(), None);
}

#[test]
fn sampler_keeps_the_same_tokens_with_the_same_probabilities() {
    let Some(folder) = fixtures() else { return };
    let cases = json_lines(&folder, "sampler.jsonl");
    assert!(!cases.is_empty());
    for case in cases {
        let id = &case["id"];
        let logits: Vec<f32> = serde_json::from_value(case["logits"].clone()).unwrap();
        let given = &case["params"];
        let number = |name: &str, absent: f32| given[name].as_f64().map_or(absent, |v| v as f32);
        let bias = given["logit_bias"].as_object().into_iter().flatten();
        let params = Params {
            temperature: number("temperature", 1.0),
            top_k: number("top_k", 0.0) as u32,
            top_p: number("top_p", 1.0),
            min_p: number("min_p", 0.0),
            repetition_penalty: number("repetition_penalty", 1.0),
            presence_penalty: number("presence_penalty", 0.0),
            frequency_penalty: number("frequency_penalty", 0.0),
            logit_bias: bias.map(|(id, b)| (id.parse().unwrap(), b.as_f64().unwrap() as f32)).collect(),
            seed: 1,
        };
        let mut sampler = Sampler::new(params, logits.len()).unwrap();
        for token in given["history"].as_array().into_iter().flatten() {
            sampler.accept(token.as_u64().unwrap() as u32);
        }
        let mut kept = sampler.distribution(&logits).unwrap();
        kept.sort_by_key(|&(id, _)| id);
        assert_eq!(kept.iter().map(|&(id, _)| id).collect::<Vec<_>>(), ids(&case["kept"]), "case {id}");
        let mut probs = vec![0.0; logits.len()];
        for (id, p) in kept {
            probs[id as usize] = p;
        }
        for (token, (got, want)) in probs.iter().zip(case["probs"].as_array().unwrap()).enumerate() {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() <= 1e-6, "case {id}, token {token}: {got}, not {want}");
        }
        let drawn = sampler.sample(&logits).unwrap();
        assert!(probs[drawn as usize] > 0.0, "case {id}: token {drawn} was filtered out and drawn");
    }
}

fn stopped_clock() -> WallTime {
    WallTime { unix_seconds: 0, utc_offset_seconds: 0 }
}

/// The template named in a case, and ours for the same family.
fn templates(folder: &std::path::Path, name: &str, tokenizer: &Tokenizer) -> Vec<(String, ChatTemplate)> {
    let own = std::fs::read_to_string(folder.join("templates").join(name)).unwrap();
    let ours = [("Qwen-Qwen2.5-7B-Instruct.jinja", "qwen2"), ("Qwen-Qwen3-0.6B.jinja", "qwen3")];
    let mut sources = vec![(name.to_owned(), own)];
    sources.extend(
        ours.iter()
            .filter(|o| o.0 == name)
            .map(|(_, a)| (format!("built in for {a}"), builtin(a).to_owned())),
    );
    sources
        .into_iter()
        .map(|(name, source)| (name, ChatTemplate::new(&source, Some(tokenizer), stopped_clock).unwrap()))
        .collect()
}

#[test]
fn chat_templates_render_as_transformers_does() {
    let Some(folder) = fixtures() else { return };
    let tokenizer = Tokenizer::from_metadata(&metadata(&folder.join("vocab-qwen2.gguf"))).unwrap();
    let mut checked = 0;
    for case in json_lines(&folder, "chat.jsonl") {
        let Some(expected) = case["expected"].as_str() else { continue };
        let request: ChatRequest = serde_json::from_value(case.clone()).unwrap();
        for (name, template) in templates(&folder, str(&case["template"]), &tokenizer) {
            let id = format!("{name}, {}", case["conversation"]);
            assert_eq!(template.render(&request).unwrap(), expected, "{id}");
            let segments = template.segments(&request).unwrap();
            let joined: String = segments.iter().map(|s| s.text.as_str()).collect();
            assert_eq!(joined, expected, "{id}");
            let ids = tokenizer.encode_segments(&segments).unwrap();
            let recognized = tokenizer.encode(expected, Special::All).unwrap();
            if str(&case["conversation"]).starts_with("hostile") {
                assert_ne!(ids, recognized, "{id}: the user's markers became tokens");
            } else {
                assert_eq!(ids, recognized, "{id}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

/// Every template of the golden data, with content made of pieces of markers.
#[test]
fn no_content_makes_a_published_template_write_control_tokens() {
    let Some(folder) = fixtures() else { return };
    let tokenizer = Tokenizer::from_metadata(&metadata(&folder.join("vocab-qwen2.gguf"))).unwrap();
    const PIECES: [&str; 9] = [
        "<|im_end|>",
        "<|im_start|>",
        "<|im_",
        "end|>",
        "</think>",
        "<tool_response>",
        "</tool_response>",
        "\n",
        "a",
    ];
    let mut n = 0;
    for file in std::fs::read_dir(folder.join("templates")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "jinja") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let template = ChatTemplate::new(&source, Some(&tokenizer), stopped_clock).unwrap();
        let control = |name: &str, text: &str| -> Vec<String> {
            let request = serde_json::json!({
                "messages": [
                    {"role": "system", "content": text},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": text, "tool_calls": [
                        {"function": {"name": name, "arguments": {name: text}}}]},
                    {"role": "tool", "content": text},
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": text},
                    {"role": "user", "content": text},
                ],
                "tools": [{"type": "function", "function": {"name": name, "description": text, name: text, "parameters":
                    {"type": "object", "properties": {name: {"type": text, "description": text, name: [text]}}}}}],
            });
            let request: ChatRequest = serde_json::from_value(request).unwrap();
            let segments = template.segments(&request).unwrap();
            let joined: String = segments.iter().map(|s| s.text.as_str()).collect();
            assert_eq!(joined, template.render(&request).unwrap());
            segments.into_iter().filter(|s| s.special && s.text.starts_with("<|")).map(|s| s.text).collect()
        };
        let expected = control("a", "a");
        for first in PIECES {
            for second in PIECES {
                let text = format!("{first}{second}");
                assert_eq!(control("|im_end|", &text), expected, "{}, {text:?}", path.display());
            }
        }
        n += 1;
    }
    assert!(n > 0, "no templates");
}
