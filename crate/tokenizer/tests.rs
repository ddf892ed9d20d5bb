use super::*;
use crate::Code;
use crate::gguf::StringArray;

/// The 256 bytes, a few merges, and the markers of a chat; `extra` are further tokens with their types.
fn metadata(merges: &[&str], extra: &[(&str, i32)]) -> Metadata {
    let mut tokens: Vec<String> = (0..=255).map(|b| bytes::char_of(b).to_string()).collect();
    tokens.extend(merges.iter().map(|m| m.replace(' ', "")));
    let mut types = vec![1i32; tokens.len()];
    for (text, ty) in extra {
        tokens.push((*text).into());
        types.push(*ty);
    }
    let mut m = Metadata::default();
    m.insert("tokenizer.ggml.model", "gpt2");
    m.insert("tokenizer.ggml.pre", "qwen2");
    m.insert("tokenizer.ggml.tokens", tokens.iter().collect::<StringArray>());
    m.insert("tokenizer.ggml.token_type", types.as_slice());
    m.insert("tokenizer.ggml.merges", merges.iter().collect::<StringArray>());
    m
}

const MERGES: [&str; 4] = ["h e", "l l", "he ll", "hell o"];
const MARKERS: [(&str, i32); 5] =
    [("<|im_start|>", 3), ("<|im_end|>", 3), ("<think>", 4), ("<|im_end|>x", 4), ("[PAD265]", 5)];

fn tokenizer() -> Tokenizer {
    Tokenizer::from_metadata(&metadata(&MERGES, &MARKERS)).unwrap()
}

fn refused(change: impl FnOnce(&mut Metadata)) -> Error {
    let mut m = metadata(&MERGES, &MARKERS);
    change(&mut m);
    Tokenizer::from_metadata(&m).unwrap_err()
}

fn plain(text: &str) -> Segment {
    Segment { text: text.into(), special: false }
}

fn marker(text: &str) -> Segment {
    Segment { text: text.into(), special: true }
}

#[test]
fn markers_in_text_are_text_unless_asked_for() {
    let t = tokenizer();
    let text = "hello<|im_end|>";
    assert_eq!(t.encode(text, Special::All).unwrap(), [259, 261]);
    let ids = t.encode(text, Special::None).unwrap();
    assert!(ids.iter().all(|&id| id < 260), "{ids:?}");
    assert_eq!(t.decode(&ids, false), text);
    // The longest marker wins.
    assert_eq!(t.encode("<|im_end|>x", Special::All).unwrap(), [263]);
}

#[test]
fn ordinary_segments_are_one_text() {
    let t = tokenizer();
    let split =
        [marker("<|im_start|>"), plain("he"), plain(""), plain("llo"), marker("<|im_end|>"), plain("")];
    assert_eq!(t.encode_segments(&split).unwrap(), [260, 259, 261]);
    let fake = [plain("<|im_"), plain("end|>")];
    assert!(t.encode_segments(&fake).unwrap().iter().all(|&id| id < 260));
    assert_eq!(t.encode_segments(&[marker("hello")]).unwrap_err().code(), Code::Tokenizer);
}

#[test]
fn decoding_skips_what_has_no_text() {
    let t = tokenizer();
    assert_eq!(t.decode(&[260, 259, 262, 261, 264, 9_999], false), "<|im_start|>hello<think><|im_end|>");
    assert_eq!(t.decode(&[260, 259, 262, 261], true), "hello<think>");
    assert_eq!(t.token_bytes(0xe8), [0xe8]);
    assert_eq!(t.decode(&[0xe8, 0xaa, 0x9e, 0xff], false), "語\u{fffd}");
}

#[test]
fn streaming_gives_the_text_of_decoding() {
    let t = tokenizer();
    arbtest::arbtest(|u| {
        let ids: Vec<u32> = u.arbitrary::<Vec<u8>>()?.into_iter().map(|b| u32::from(b) * 265 / 255).collect();
        for skip in [false, true] {
            let mut decoder = StreamDecoder::new(skip);
            let mut text: String = ids.iter().map(|&id| decoder.push(&t, id)).collect();
            text += &decoder.flush();
            assert_eq!(text, t.decode(&ids, skip));
        }
        Ok(())
    });
}

#[test]
fn any_text_comes_back_composed() {
    let t = tokenizer();
    arbtest::arbtest(|u| {
        let text: String = u.arbitrary()?;
        let ids = t.encode(&text, Special::None).unwrap();
        assert_eq!(t.decode(&ids, false), nfc(&text));
        assert!(ids.iter().all(|&id| id < 260));
        Ok(())
    });
    assert_eq!(nfc("e\u{301}"), "é");
}

#[test]
fn end_tokens_are_the_file_s_and_the_known_ones() {
    let mut m = metadata(&MERGES, &MARKERS);
    m.insert("tokenizer.ggml.eos_token_id", 262u32);
    m.insert("tokenizer.ggml.bos_token_id", 260u32);
    let t = Tokenizer::from_metadata(&m).unwrap();
    assert_eq!(t.end_tokens(), [261, 262]);
    assert_eq!((t.leading_token(), t.trailing_token()), (None, None));
    assert_eq!(
        t.template_tokens().collect::<Vec<_>>(),
        [("bos_token", "<|im_start|>"), ("eos_token", "<think>")]
    );
    m.insert("tokenizer.ggml.add_bos_token", true);
    assert_eq!(Tokenizer::from_metadata(&m).unwrap().leading_token(), Some(260));
}

#[test]
fn code_that_is_filled_in_ends_where_the_next_example_begins() {
    let markers = ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"].map(|text| (text, 4));
    let t = Tokenizer::from_metadata(&metadata(&MERGES, &markers)).unwrap();
    assert_eq!(t.end_tokens(), [260, 262, 263]);
    let prompt = t.encode("<|fim_prefix|>h<|fim_suffix|>l<|fim_middle|>", Special::All).unwrap();
    assert_eq!([prompt[0], prompt[2], prompt[4]], [260, 262, 261]);
}

#[test]
fn a_vocabulary_without_a_byte_refuses_the_byte_only() {
    let mut m = metadata(&[], &[]);
    let tokens: StringArray =
        (0..=255).filter(|&b| b != b'k').map(|b| bytes::char_of(b).to_string()).collect();
    m.insert("tokenizer.ggml.tokens", tokens);
    m.remove("tokenizer.ggml.token_type");
    let t = Tokenizer::from_metadata(&m).unwrap();
    assert_eq!(t.encode("no", Special::None).unwrap(), [u32::from(b'n') - 1, u32::from(b'o') - 1]);
    let error = t.encode("ok", Special::None).unwrap_err();
    assert!(error.message().contains("0x6b"), "{error}");
}

#[test]
fn hostile_metadata_is_refused_by_name() {
    let strings = |s: &[&str]| s.iter().collect::<StringArray>();
    type Change<'a> = Box<dyn FnOnce(&mut Metadata) + 'a>;
    let cases: Vec<(&str, Change<'_>)> = vec![
        ("tokenizer.ggml.model is \"llama\"", Box::new(|m| drop(m.insert("tokenizer.ggml.model", "llama")))),
        ("tokenizer.ggml.pre is \"gpt-4o\"", Box::new(|m| drop(m.insert("tokenizer.ggml.pre", "gpt-4o")))),
        ("tokens is empty", Box::new(|m| drop(m.insert("tokenizer.ggml.tokens", StringArray::new())))),
        (
            "token_type has 2 entries",
            Box::new(|m| drop(m.insert("tokenizer.ggml.token_type", [1i32, 1].as_slice()))),
        ),
        ("eos_token_id is 265", Box::new(|m| drop(m.insert("tokenizer.ggml.eos_token_id", 265u32)))),
        ("merge 1 is \"zz\"", Box::new(|m| drop(m.insert("tokenizer.ggml.merges", strings(&["h e", "zz"]))))),
        ("the merges do not fit", Box::new(|m| drop(m.insert("tokenizer.ggml.merges", strings(&["h 語"]))))),
        ("the merges do not fit", Box::new(|m| drop(m.insert("tokenizer.ggml.merges", strings(&["e h"]))))),
        (
            "gives a text that is not a token",
            Box::new(|m| drop(m.insert("tokenizer.ggml.merges", strings(&["hello hello"])))),
        ),
    ];
    for (expected, change) in cases {
        let error = refused(change);
        assert_eq!(error.code(), Code::Tokenizer, "{error}");
        assert!(error.message().contains(expected), "{error} does not say {expected:?}");
    }
    for (extra, expected) in [
        (vec![("a", 1)], "are both \"a\""),
        (vec![("<think>", 4), ("<think>", 4)], "are both \"<think>\""),
        (vec![("", 3)], "token 260 is empty"),
    ] {
        let error = Tokenizer::from_metadata(&metadata(&MERGES, &extra)).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
    let error = refused(|m| drop(m.remove("tokenizer.ggml.merges")));
    assert_eq!(error.code(), Code::InvalidModel);
}

#[test]
fn words_to_learn_merges_from_are_cut_as_texts_are() {
    let words = Words::new().unwrap();
    assert_eq!(words.of("Say 42, née\n語!"), ["Say", "Ġ", "4", "2", ",", "ĠnÃ©e", "Ċ", "èªŀ", "!"]);
    // Composed first, as every text is.
    assert_eq!(words.of("ne\u{301}e"), words.of("née"));
}

/// Qwen2's ids: bytes, fillers, the first `n` added tokens by name and `own` at their ids; `[PADn]` in all other places.
fn qwen2(n: usize, own: &[(u32, &str)]) -> Metadata {
    let mut tokens: Vec<String> = (0..=255).map(|b| bytes::char_of(b).to_string()).collect();
    tokens.extend((256..vocab::QWEN2_ADDED).map(|i| format!("x{i}")));
    tokens.extend(vocab::QWEN2_ADDED_TOKENS[..n].iter().map(|(text, _)| (*text).to_owned()));
    tokens.extend((tokens.len()..151_936).map(|i| format!("[PAD{i}]")));
    let mut types = vec![1i32; tokens.len()];
    for (id, ty) in types.iter_mut().enumerate().skip(vocab::QWEN2_ADDED as usize) {
        *ty = if tokens[id].starts_with("<|") { 3 } else { 5 };
    }
    for &(id, text) in own {
        tokens[id as usize] = text.into();
        types[id as usize] = 4;
    }
    let mut m = metadata(&[], &[]);
    m.insert("tokenizer.ggml.tokens", tokens.iter().collect::<StringArray>());
    m.insert("tokenizer.ggml.token_type", types.as_slice());
    m
}

#[test]
fn placeholders_behind_the_added_tokens_of_qwen2_5_are_no_tokens() {
    let t = Tokenizer::from_metadata(&qwen2(22, &[])).unwrap();
    assert_eq!(t.added_tokens().last().map(|t| t.id), Some(151_664));
    let tags = "<tool_response></tool_response><think></think>";
    assert!(t.encode(tags, Special::All).unwrap().iter().all(|&id| id < 256));
    // A fine-tuned model may have tags of its own there.
    let t = Tokenizer::from_metadata(&qwen2(22, &[(151_665, "<think>"), (151_666, "</think>")])).unwrap();
    assert_eq!(t.encode("<think></think>", Special::All).unwrap(), [151_665, 151_666]);
    // Files that name three tokens only mean the others too.
    let t = Tokenizer::from_metadata(&qwen2(3, &[])).unwrap();
    assert_eq!(t.encode("<|fim_pad|><think>", Special::All).unwrap(), [151_662, 151_667]);
}
