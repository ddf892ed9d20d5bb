//! What a file says about its tokens, checked.

use crate::error::{Code, Error, Result};
use crate::gguf::{Metadata, StringArray};

/// A token that text is searched for before it is cut into words: a marker such as `<|im_start|>` or `<think>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    pub id: u32,
    pub text: String,
    /// A control token: it steers, and is not shown where special tokens are skipped. Tags such as `<think>` are added
    /// tokens, but not control tokens.
    pub control: bool,
}

/// More added tokens than this are not a vocabulary but an attack (Qwen's have up to about 300, placeholders included).
const MAX_ADDED: usize = 1 << 15;

/// Qwen2's first id after the ordinary tokens.
pub(super) const QWEN2_ADDED: u32 = 151_643;

/// The added tokens of Qwen2's vocabulary in order of id, and whether the publisher marks them as special. Old files name
/// the first three and hold `[PADn]` in the places of the others.
pub(super) const QWEN2_ADDED_TOKENS: [(&str, bool); 26] = [
    ("<|endoftext|>", true),
    ("<|im_start|>", true),
    ("<|im_end|>", true),
    ("<|object_ref_start|>", true),
    ("<|object_ref_end|>", true),
    ("<|box_start|>", true),
    ("<|box_end|>", true),
    ("<|quad_start|>", true),
    ("<|quad_end|>", true),
    ("<|vision_start|>", true),
    ("<|vision_end|>", true),
    ("<|vision_pad|>", true),
    ("<|image_pad|>", true),
    ("<|video_pad|>", true),
    ("<tool_call>", false),
    ("</tool_call>", false),
    ("<|fim_prefix|>", false),
    ("<|fim_middle|>", false),
    ("<|fim_suffix|>", false),
    ("<|fim_pad|>", false),
    ("<|repo_name|>", false),
    ("<|file_sep|>", false),
    ("<tool_response>", false),
    ("</tool_response>", false),
    ("<think>", false),
    ("</think>", false),
];

/// Values of `tokenizer.ggml.token_type`.
mod token_type {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Made by merging pairs; its name is in the byte alphabet.
    Ordinary,
    Added {
        control: bool,
    },
    /// Padding of the table: no text gives it, and it gives no text.
    Unused,
}

/// Every token of a file by kind.
#[derive(Debug)]
pub(super) struct Vocab<'a> {
    pub(super) n_tokens: u32,
    pub(super) ordinary: Vec<(u32, &'a str)>,
    pub(super) added: Vec<AddedToken>,
    /// "left right", best first.
    pub(super) merges: &'a StringArray,
}

impl<'a> Vocab<'a> {
    pub(super) fn from_metadata(metadata: &'a Metadata) -> Result<Self> {
        let model = metadata.require_str("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(invalid(format!(
                "tokenizer.ggml.model is {model:?}; Qwen's is gpt2 (byte-level pairs)"
            )));
        }
        let tokens = metadata.require_strings("tokenizer.ggml.tokens")?;
        let merges = metadata.require_strings("tokenizer.ggml.merges")?;
        let types = metadata.i32s("tokenizer.ggml.token_type")?;
        if tokens.is_empty() {
            return Err(invalid("tokenizer.ggml.tokens is empty"));
        }
        let n_tokens = u32::try_from(tokens.len())
            .map_err(|_| invalid(format!("tokenizer.ggml.tokens has {} entries", tokens.len())))?;
        if let Some(types) = &types
            && types.len() != tokens.len()
        {
            return Err(invalid(format!(
                "tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens {}",
                types.len(),
                tokens.len()
            )));
        }

        // Qwen2.5's files name theirs: what is a placeholder there was never trained.
        let fourth = QWEN2_ADDED + 3;
        let is_old_qwen2 = tokens.get(QWEN2_ADDED as usize) == Some(QWEN2_ADDED_TOKENS[0].0)
            && tokens.get(fourth as usize).is_some_and(|name| is_placeholder(fourth, name));
        let mut ordinary = Vec::with_capacity(tokens.len());
        let mut added = Vec::new();
        for (id, name) in (0..n_tokens).zip(tokens.iter()) {
            let ty = types.as_ref().map_or(token_type::NORMAL, |t| t[id as usize]);
            let (name, kind) = classify(id, name, ty, is_old_qwen2);
            match kind {
                Kind::Unused => {}
                _ if name.is_empty() => return Err(invalid(format!("token {id} is empty"))),
                Kind::Ordinary => ordinary.push((id, name)),
                Kind::Added { control } => added.push(AddedToken { id, text: name.to_owned(), control }),
            }
        }
        if added.len() > MAX_ADDED {
            return Err(invalid(format!(
                "{} control and user-defined tokens; at most {MAX_ADDED} are supported",
                added.len()
            )));
        }
        Ok(Self { n_tokens, ordinary, added, merges })
    }
}

/// The token's text (which is not the file's where that is a placeholder) and kind.
fn classify(id: u32, name: &str, ty: i32, is_old_qwen2: bool) -> (&str, Kind) {
    if is_placeholder(id, name) {
        let known = id.checked_sub(QWEN2_ADDED).and_then(|i| QWEN2_ADDED_TOKENS.get(i as usize));
        return match known {
            Some(&(name, control)) if is_old_qwen2 => (name, Kind::Added { control }),
            _ => (name, Kind::Unused),
        };
    }
    let marker = name.len() > 4 && name.starts_with("<|") && name.ends_with("|>");
    let kind = match ty {
        token_type::CONTROL => Kind::Added { control: true },
        token_type::UNUSED => Kind::Unused,
        _ if marker => Kind::Added { control: true },
        token_type::USER_DEFINED => Kind::Added { control: false },
        _ => Kind::Ordinary,
    };
    (name, kind)
}

/// Converters fill the rows of the embedding that have no token with `[PADid]`.
fn is_placeholder(id: u32, name: &str) -> bool {
    name.strip_prefix("[PAD").and_then(|n| n.strip_suffix(']')).is_some_and(|n| n.parse() == Ok(id))
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::Tokenizer, message)
}
