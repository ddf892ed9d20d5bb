//! A small byte-level BPE vocabulary of the project's own, with Qwen's added tokens behind it.

use std::sync::LazyLock;

use qwenlet::gguf::writer::Writer;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

/// What the merges are learned from.
const CORPUS: &str = "\
The river was slow in the morning and the old woman was waiting at the bridge. She had a letter in her hand, and she
was reading it again and again. \"There is nothing to do,\" she said, \"but to answer.\" The answer was not long: it
was the name of a street, the number of a house, and the word yes. What are you waiting for? I am waiting for the boat.
The boat is not coming today; the water is too low. Then I will walk, it's only an hour, and I'll be there before the
rain. They walked together through the fields, past the mill and the two tall trees, and they talked of the harvest.
fn main() { let mut total = 0; for i in 0..10 { total += i; } println!(\"{total}\"); }
def answer(question): return question.strip().lower() if question else None
Der Fluss war am Morgen langsam, und die Brücke war leer. Où est le café? Le café est fermé. El niño está en la montaña.
你好，世界。今天天气很好，我们去河边走走吧。你好吗？我很好，谢谢你。 こんにちは、世界。 Привет, мир! 🙂 👋🏽
";

/// Tokens that the trainer ends with: 256 bytes and as many merges as fit.
const N_BPE: usize = 470;

/// Rows of the embedding; what no token has is padding, as in real files.
pub const N_VOCAB: usize = 512;

/// Qwen3's added tokens, in the order of their ids.
pub const ADDED: [&str; 26] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

/// ChatML, as all Qwen models have been trained on.
pub const CHAT_TEMPLATE: &str = "\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}";

/// Tokens by id, and merges by rank as `left right`.
#[derive(Debug)]
pub struct Vocabulary {
    pub tokens: Vec<String>,
    pub types: Vec<i32>,
    pub merges: Vec<String>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(train);

/// The vocabulary; trained once.
pub fn vocabulary() -> &'static Vocabulary {
    &VOCABULARY
}

impl Vocabulary {
    /// The id of an added token.
    pub fn added(&self, token: &str) -> u32 {
        self.tokens.iter().position(|t| t == token).expect("an added token") as u32
    }
}

fn train() -> Vocabulary {
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(N_BPE)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    trainer.feed(CORPUS.lines(), |line| Ok(words(line))).expect("text is words");
    let mut bpe = BPE::default();
    trainer.train(&mut bpe).expect("trains");
    // Merges are not readable from outside; as JSON they are.
    let json = serde_json::to_value(&bpe).expect("serializes");
    let merges = json["merges"].as_array().expect("an array").iter().map(|pair| {
        let side = |i: usize| pair[i].as_str().expect("a string");
        format!("{} {}", side(0), side(1))
    });
    let mut by_id: Vec<(String, u32)> = bpe_vocab(&bpe);
    by_id.sort_by_key(|(_, id)| *id);
    let mut tokens: Vec<String> = by_id.into_iter().map(|(token, _)| token).collect();
    let mut types = vec![1; tokens.len()];
    for token in ADDED {
        tokens.push(token.into());
        types.push(if token.starts_with("<|") { 3 } else { 4 });
    }
    for i in 0..N_VOCAB - tokens.len() {
        tokens.push(format!("[PAD{i}]"));
        types.push(5);
    }
    Vocabulary { tokens, types, merges: merges.collect() }
}

fn bpe_vocab(bpe: &BPE) -> Vec<(String, u32)> {
    tokenizers::Model::get_vocab(bpe).into_iter().collect()
}

/// Words as a byte-level tokenizer sees them: bytes as letters, each with the space before it.
fn words(line: &str) -> Vec<String> {
    let mut text = PreTokenizedString::from(line);
    ByteLevel::new(false, true, true).pre_tokenize(&mut text).expect("splits");
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.into_iter().map(|(word, _, _)| word.to_string()).collect()
}

/// Sets the keys that a tokenizer is built from.
pub fn set_keys(w: &mut Writer) {
    let v = vocabulary();
    w.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "qwen2");
    w.set("tokenizer.ggml.tokens", v.tokens.iter().collect::<qwenlet::gguf::StringArray>());
    w.set("tokenizer.ggml.token_type", v.types.as_slice());
    w.set("tokenizer.ggml.merges", v.merges.iter().collect::<qwenlet::gguf::StringArray>());
    w.set("tokenizer.ggml.eos_token_id", v.added("<|im_end|>"));
    w.set("tokenizer.ggml.padding_token_id", v.added("<|endoftext|>"));
    w.set("tokenizer.ggml.bos_token_id", v.added("<|endoftext|>"));
    w.set("tokenizer.ggml.add_bos_token", false);
    w.set("tokenizer.chat_template", CHAT_TEMPLATE);
}
