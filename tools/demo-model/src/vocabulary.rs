//! The demo model's tokenizer: byte-level BPE, learned from its own dialogues.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use qwenlet::chat::{ChatTemplate, system_clock};
use qwenlet::engine::ChatRequest;
use qwenlet::gguf::{StringArray, writer::Writer};
use qwenlet::tokenizer::Words;
use serde_json::json;
use tokenizers::Trainer as _;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::data::{self, Dialogue, LETTERS};

/// The chat template that the file carries.
pub const TEMPLATE: &str = include_str!("../template.jinja");

/// Bytes and merges.
const N_BPE: usize = 1100;

/// Rows of the embedding: bytes, merges, added tokens, and padding up to a round number.
pub const N_VOCAB: usize = 1152;

/// Dialogues that the merges are learned from.
const CORPUS: u64 = 40_000;

/// Qwen3's added tokens that a model of text has a use for.
pub const ADDED: [&str; 9] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

/// Tokens by id, and merges by rank as `left right`.
#[derive(Debug, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
}

impl Vocabulary {
    /// Learns the merges; `seed` is the data's.
    ///
    /// # Errors
    /// Where a dialogue cannot be rendered.
    pub fn train(seed: u64) -> Result<Self> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let words = Words::new()?;
        let template = ChatTemplate::new(TEMPLATE, None, system_clock)?;
        for number in 0..CORPUS {
            let dialogue = data::sample(&mut data::rng(seed, "vocabulary", number));
            for text in texts(&dialogue, &template)? {
                // Listed words are made of pieces: what is spelled has to be known by its parts, not by heart.
                for word in
                    words.of(&text).into_iter().filter(|w| !data::is_listed(w.trim_start_matches('Ġ')))
                {
                    *counts.entry(word).or_default() += 1;
                }
            }
        }
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(N_BPE)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let all = counts.iter().flat_map(|(word, &n)| std::iter::repeat_n(word.as_str(), n as usize));
        trainer.feed(all, |word| Ok(vec![word.to_owned()])).map_err(anyhow::Error::from_boxed)?;
        let mut bpe = BPE::default();
        trainer.train(&mut bpe).map_err(anyhow::Error::from_boxed)?;
        Self::from_bpe(&bpe)
    }

    fn from_bpe(bpe: &BPE) -> Result<Self> {
        // Merges are not readable from outside; as JSON they are.
        let json = serde_json::to_value(bpe)?;
        let merges = json["merges"].as_array().context("merges")?;
        let side =
            |pair: &serde_json::Value, i: usize| pair[i].as_str().map(str::to_owned).context("a merge");
        let merges = merges
            .iter()
            .map(|pair| Ok(format!("{} {}", side(pair, 0)?, side(pair, 1)?)))
            .collect::<Result<_>>()?;
        let mut by_id: Vec<(u32, String)> =
            bpe.get_vocab().into_iter().map(|(token, id)| (id, token)).collect();
        by_id.sort_unstable();
        let mut tokens: Vec<String> = by_id.into_iter().map(|(_, token)| token).collect();
        let mut types = vec![NORMAL; tokens.len()];
        for token in ADDED {
            tokens.push(token.into());
            types.push(if token.starts_with("<|") { CONTROL } else { USER_DEFINED });
        }
        for i in 0..N_VOCAB - tokens.len() {
            tokens.push(format!("[PAD{i}]"));
            types.push(UNUSED);
        }
        Ok(Self { tokens, types, merges })
    }

    /// Sets a file's keys for tokenizer and template.
    ///
    /// # Errors
    /// Where an added token is missing.
    pub fn set_keys(&self, w: &mut Writer) -> Result<()> {
        let id = |token: &str| -> Result<u32> {
            Ok(self.tokens.iter().position(|t| t == token).context("an added token")? as u32)
        };
        w.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "qwen2");
        w.set("tokenizer.ggml.tokens", self.tokens.iter().collect::<StringArray>());
        w.set("tokenizer.ggml.token_type", self.types.as_slice());
        w.set("tokenizer.ggml.merges", self.merges.iter().collect::<StringArray>());
        w.set("tokenizer.ggml.eos_token_id", id("<|im_end|>")?);
        w.set("tokenizer.ggml.padding_token_id", id("<|endoftext|>")?);
        w.set("tokenizer.ggml.bos_token_id", id("<|endoftext|>")?);
        w.set("tokenizer.ggml.add_bos_token", false);
        w.set("tokenizer.chat_template", TEMPLATE);
        Ok(())
    }
}

/// Token types of GGUF.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// What a dialogue has in ordinary text: rendered, cut at the added tokens, without letters that stand alone.
fn texts(dialogue: &Dialogue, template: &ChatTemplate) -> Result<Vec<String>> {
    let mut text = template.render(&request(dialogue))?;
    // Every other part of the answer is letters.
    for part in dialogue.answer.split(LETTERS).step_by(2) {
        text += "<|im_end|>";
        text += part;
    }
    text += "<|im_end|>\n";
    text += &dialogue.thought;
    let mut parts = vec![text];
    for marker in ADDED {
        parts = parts.iter().flat_map(|p| p.split(marker)).map(str::to_owned).collect();
    }
    Ok(parts)
}

/// A dialogue as the engine is asked it.
pub fn request(dialogue: &Dialogue) -> ChatRequest {
    let mut request = ChatRequest { messages: dialogue.messages.clone(), ..ChatRequest::default() };
    if !dialogue.tools.is_empty() {
        request.tools = Some(dialogue.tools.clone());
    }
    if !dialogue.thinking {
        request.kwargs.insert("enable_thinking".into(), json!(false));
    }
    request
}
