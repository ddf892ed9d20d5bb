//! Writes models of real shapes with random weights, for measuring without a download:
//! `make_bench_models DIR [--shape qwen2.5-0.5b|qwen2.5-1.5b|qwen2.5-7b|qwen3-0.6b] [--mix q4_0|q8_0|q4_k_m]`.
//!
//! Without a choice, those that `bench/web` compares. Tensor types are those that llama.cpp's quantizer gives such a
//! model; the vocabulary has the real one's size.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use lexopt::{Arg, ValueExt};
use qwenlet::gguf::StringArray;
use qwenlet::gguf::writer::Writer;
use qwenlet::quant::GgmlType;
use support::quantize::quantize;
use support::rng::Rng;
use support::vocabulary::{ADDED, CHAT_TEMPLATE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

struct Shape {
    name: &'static str,
    arch: &'static str,
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    context: u32,
    vocab: usize,
    /// Whether the embedding is the head too.
    tied: bool,
}

#[rustfmt::skip]
const SHAPES: [Shape; 4] = [
    Shape { name: "qwen2.5-0.5b", arch: "qwen2", hidden: 896, layers: 24, heads: 14, kv_heads: 2, head_dim: 64, ffn: 4864, context: 32_768, vocab: 151_936, tied: true },
    Shape { name: "qwen2.5-1.5b", arch: "qwen2", hidden: 1536, layers: 28, heads: 12, kv_heads: 2, head_dim: 128, ffn: 8960, context: 32_768, vocab: 151_936, tied: true },
    Shape { name: "qwen2.5-7b", arch: "qwen2", hidden: 3584, layers: 28, heads: 28, kv_heads: 4, head_dim: 128, ffn: 18_944, context: 32_768, vocab: 152_064, tied: false },
    Shape { name: "qwen3-0.6b", arch: "qwen3", hidden: 1024, layers: 28, heads: 16, kv_heads: 8, head_dim: 128, ffn: 3072, context: 40_960, vocab: 151_936, tied: true },
];

const MIXES: [&str; 3] = ["q4_0", "q8_0", "q4_k_m"];

const DEFAULT: [(&str, &str); 4] = [
    ("qwen2.5-0.5b", "q4_0"),
    ("qwen2.5-0.5b", "q8_0"),
    ("qwen2.5-0.5b", "q4_k_m"),
    ("qwen3-0.6b", "q4_k_m"),
];

/// Tokens of Qwen2.5 and Qwen3 before the added ones: 256 bytes and what merges make.
const N_BPE: usize = 151_643;

/// What the benchmark's prompts are made of; each is to be one token, with the space before it.
const WORDS: &str = include_str!("../bench/web/page/words.txt");

/// Values that are quantized of each kind; tensors are made of blocks drawn from these.
const POOL: usize = 1 << 18;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut dir, mut shape, mut mix) = (None, None, None);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("shape") => shape = Some(args.value()?.string()?),
            Arg::Long("mix") => mix = Some(args.value()?.string()?),
            Arg::Value(path) if dir.is_none() => dir = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let dir = dir.ok_or("usage: make_bench_models DIR [--shape SHAPE] [--mix MIX]")?;
    if shape.as_ref().is_some_and(|s| !SHAPES.iter().any(|known| known.name == s)) {
        return Err(format!("--shape: one of {}", SHAPES.map(|s| s.name).join(", ")).into());
    }
    if mix.as_ref().is_some_and(|m| !MIXES.contains(&m.as_str())) {
        return Err(format!("--mix: one of {}", MIXES.join(", ")).into());
    }
    let any = shape.is_some() || mix.is_some();
    std::fs::create_dir_all(&dir)?;
    for known in &SHAPES {
        for known_mix in MIXES {
            let asked =
                shape.as_ref().is_none_or(|s| s == known.name) && mix.as_ref().is_none_or(|m| m == known_mix);
            if if any { asked } else { DEFAULT.contains(&(known.name, known_mix)) } {
                let path = dir.join(format!("{}-{known_mix}.gguf", known.name));
                model(known, known_mix)?.write(BufWriter::new(File::create(&path)?))?;
                println!("{} {}", path.display(), std::fs::metadata(&path)?.len());
            }
        }
    }
    Ok(())
}

fn model(shape: &Shape, mix: &str) -> qwenlet::Result<Writer> {
    let mut w = Writer::new();
    let key = |name: &str| format!("{}.{name}", shape.arch);
    w.set("general.architecture", shape.arch);
    w.set("general.name", format!("random {} {mix}", shape.name));
    // Candle computes its rotary angles in f16 unless a file says that it is of f32 (0).
    w.set("general.dtype", 0u32);
    w.set(key("block_count"), shape.layers as u32);
    w.set(key("context_length"), shape.context);
    w.set(key("embedding_length"), shape.hidden as u32);
    w.set(key("feed_forward_length"), shape.ffn as u32);
    w.set(key("attention.head_count"), shape.heads as u32);
    w.set(key("attention.head_count_kv"), shape.kv_heads as u32);
    w.set(key("attention.layer_norm_rms_epsilon"), 1e-6f32);
    w.set(key("rope.freq_base"), 1e6f32);
    if shape.arch == "qwen3" {
        w.set(key("attention.key_length"), shape.head_dim as u32);
        w.set(key("attention.value_length"), shape.head_dim as u32);
    }
    vocabulary(&mut w, shape.vocab);

    let mut tensors =
        Tensors { w, mix, layers: shape.layers, tied: shape.tied, rng: Rng::new(1), pools: HashMap::new() };
    let (hidden, ffn) = (shape.hidden, shape.ffn);
    let (q, kv) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    tensors.matrix("token_embd.weight", None, shape.vocab, hidden, 2.0)?;
    // What a block adds to the residual stream keeps that of order 1 over all layers.
    let residual = 1.0 / (2.0 * shape.layers as f32).sqrt();
    for i in 0..shape.layers {
        let name = |part: &str| format!("blk.{i}.{part}");
        tensors.vector(&name("attn_norm.weight"), hidden, 1.0)?;
        for (part, rows) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
            tensors.matrix(&name(&format!("{part}.weight")), Some(i), rows, hidden, 1.0)?;
            if shape.arch == "qwen2" {
                tensors.vector(&name(&format!("{part}.bias")), rows, 0.0)?;
            }
        }
        if shape.arch == "qwen3" {
            tensors.vector(&name("attn_q_norm.weight"), shape.head_dim, 1.0)?;
            tensors.vector(&name("attn_k_norm.weight"), shape.head_dim, 1.0)?;
        }
        tensors.matrix(&name("attn_output.weight"), Some(i), hidden, q, residual)?;
        tensors.vector(&name("ffn_norm.weight"), hidden, 1.0)?;
        tensors.matrix(&name("ffn_gate.weight"), Some(i), ffn, hidden, 1.0)?;
        tensors.matrix(&name("ffn_up.weight"), Some(i), ffn, hidden, 1.0)?;
        tensors.matrix(&name("ffn_down.weight"), Some(i), hidden, ffn, 2.0 * residual)?;
    }
    tensors.vector("output_norm.weight", hidden, 1.0)?;
    if !shape.tied {
        tensors.matrix("output.weight", None, shape.vocab, hidden, 2.0)?;
    }
    Ok(tensors.w)
}

struct Tensors<'a> {
    w: Writer,
    mix: &'a str,
    layers: usize,
    tied: bool,
    rng: Rng,
    pools: HashMap<(GgmlType, u32), Vec<u8>>,
}

impl Tensors<'_> {
    fn vector(&mut self, name: &str, n: usize, mean: f32) -> qwenlet::Result<()> {
        let data = quantize(GgmlType::F32, &self.rng.normals(n, mean, 0.1), n);
        self.w.tensor(name, &[n as u64], GgmlType::F32, data)?;
        Ok(())
    }

    /// A product with this matrix has `gain` times the spread of what goes in.
    fn matrix(
        &mut self,
        name: &str,
        layer: Option<usize>,
        rows: usize,
        cols: usize,
        gain: f32,
    ) -> qwenlet::Result<()> {
        let ty = tensor_type(self.mix, name, layer, (self.layers, self.tied), cols);
        let std = gain / (cols as f32).sqrt();
        let pool = self
            .pools
            .entry((ty, std.to_bits()))
            .or_insert_with(|| quantize(ty, &self.rng.normals(POOL, 0.0, std), POOL));
        let format = ty.format();
        let blocks = rows * cols / format.block_elems;
        let mut data = Vec::with_capacity(blocks * format.block_bytes);
        for _ in 0..blocks {
            let at = self.rng.below(POOL / format.block_elems) * format.block_bytes;
            data.extend_from_slice(&pool[at..][..format.block_bytes]);
        }
        self.w.tensor(name, &[cols as u64, rows as u64], ty, data)?;
        Ok(())
    }
}

/// What llama.cpp's quantizer makes of a matrix (`llama_tensor_get_type`): the head, which may be the embedding too, is
/// finer, and in Q4_K_M so are half of attn_v and ffn_down; rows that are no blocks of 256 take the next larger type.
fn tensor_type(
    mix: &str,
    name: &str,
    layer: Option<usize>,
    (layers, tied): (usize, bool),
    cols: usize,
) -> GgmlType {
    let fine = match layer {
        None => tied || name == "output.weight",
        Some(i) => {
            let more = i < layers / 8 || i >= 7 * layers / 8 || (i - layers / 8) % 3 == 2;
            mix == "q4_k_m" && more && (name.contains("attn_v") || name.contains("ffn_down"))
        }
    };
    let whole = cols.is_multiple_of(256);
    match (mix, fine, whole) {
        ("q8_0", ..) | (_, true, false) => GgmlType::Q8_0,
        (_, true, true) => GgmlType::Q6K,
        ("q4_0", ..) => GgmlType::Q4_0,
        (_, false, true) => GgmlType::Q4K,
        (_, false, false) => GgmlType::Q5_0,
    }
}

/// Merges that only ever append a byte to what begins with a space: every prefix of a word is a token, so that a word
/// of [`WORDS`] is one too, whatever the ranks are.
fn vocabulary(w: &mut Writer, n_vocab: usize) {
    let mut bytes: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    let space = ByteLevel::alphabet().into_iter().find(|&c| c == 'Ġ').expect("stands for a space");
    let mut tokens: Vec<String> = bytes.iter().map(char::to_string).collect();
    let mut known: HashSet<String> = tokens.iter().cloned().collect();
    let mut merges: Vec<String> = Vec::new();
    let mut append = |start: &str, letter: char| {
        let token = format!("{start}{letter}");
        if tokens.len() < N_BPE && known.insert(token.clone()) {
            merges.push(format!("{start} {letter}"));
            tokens.push(token.clone());
        }
        token
    };
    for word in WORDS.split_whitespace() {
        word.chars().fold(space.to_string(), |start, letter| append(&start, letter));
    }
    // All strings of letters, shortest first, for the rest.
    let mut starts = vec![space.to_string()];
    for _ in 0..4 {
        starts = starts.iter().flat_map(|s| ('a'..='z').map(|c| append(s, c)).collect::<Vec<_>>()).collect();
    }
    assert_eq!(tokens.len(), N_BPE, "four letters suffice");

    let mut types = vec![1i32; N_BPE];
    let id = |token: &str| (N_BPE + ADDED.iter().position(|t| *t == token).expect("an added token")) as u32;
    for token in ADDED {
        tokens.push(token.into());
        types.push(if token.starts_with("<|") { 3 } else { 4 });
    }
    while tokens.len() < n_vocab {
        tokens.push(format!("[PAD{}]", tokens.len()));
        types.push(5);
    }
    w.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "qwen2");
    w.set("tokenizer.ggml.tokens", tokens.iter().collect::<StringArray>());
    w.set("tokenizer.ggml.token_type", types.as_slice());
    w.set("tokenizer.ggml.merges", merges.iter().collect::<StringArray>());
    w.set("tokenizer.ggml.eos_token_id", id("<|im_end|>"));
    w.set("tokenizer.ggml.padding_token_id", id("<|endoftext|>"));
    w.set("tokenizer.ggml.bos_token_id", id("<|endoftext|>"));
    w.set("tokenizer.ggml.add_bos_token", false);
    w.set("tokenizer.chat_template", CHAT_TEMPLATE);
}
