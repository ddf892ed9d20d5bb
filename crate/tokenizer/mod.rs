//! The file's own tokenizer: text to token ids and back.
//!
//! Qwen's is byte-level BPE. Text is searched for added tokens where the caller allows them, the rest is normalized to
//! NFC, cut into words ([`split`]), written in the byte alphabet ([`bytes`]) and merged pair by pair by the `tokenizers`
//! crate. Ordinary text can never become an added token: those are not in the merged vocabulary at all.

mod bytes;
mod split;
mod stream;
mod vocab;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::models::bpe::{self, BPE};
use tokenizers::{Model, NormalizedString};

pub use stream::StreamDecoder;
pub use vocab::AddedToken;

use crate::error::{Error, Result};
use crate::gguf::Metadata;
use split::{Pattern, Splitter};
use vocab::{Vocab, invalid};

/// Whether markers such as `<|im_start|>` in a text become their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// They are ordinary text. For everything that a user or a tool supplies.
    None,
    /// Every added token is recognized.
    All,
}

/// A part of a prompt: ordinary text, or the text of exactly one added token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub text: String,
    pub special: bool,
}

/// A file's tokenizer.
pub struct Tokenizer {
    bpe: BPE,
    splitter: Splitter,
    /// By id.
    added: BTreeMap<u32, AddedToken>,
    by_text: BTreeMap<String, u32>,
    /// Finds added tokens; its patterns are `pattern_ids`' tokens.
    finder: AhoCorasick,
    pattern_ids: Vec<u32>,
    /// Bytes that no token stands for; none in a real file.
    missing_bytes: Vec<u8>,
    n_tokens: u32,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    end_tokens: Vec<u32>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("n_tokens", &self.n_tokens)
            .field("added", &self.added.len())
            .field("end_tokens", &self.end_tokens)
            .finish_non_exhaustive()
    }
}

/// Tokens that end an answer wherever a vocabulary has them: of a turn, of a text, and of code being filled in, where a
/// model goes on with the next example. `<|fim_middle|>` is not among them: what is filled in follows it.
const END_TOKENS: [&str; 7] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

impl Tokenizer {
    /// Builds the tokenizer that a file's metadata describes (`tokenizer.ggml.*`).
    ///
    /// # Errors
    /// `tokenizer` where the vocabulary contradicts itself or is none of Qwen's kind, `invalid-model` where a key is
    /// missing or has the wrong type.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let pattern = Pattern::from_name(metadata.str("tokenizer.ggml.pre")?)?;
        let vocab = Vocab::from_metadata(metadata)?;
        let id = |key: &str| -> Result<Option<u32>> {
            let id = metadata.u32(key)?;
            match id {
                Some(id) if id >= vocab.n_tokens => {
                    Err(invalid(format!("{key} is {id}, but there are {} tokens", vocab.n_tokens)))
                }
                _ => Ok(id),
            }
        };
        let bos = id("tokenizer.ggml.bos_token_id")?;
        let eos = id("tokenizer.ggml.eos_token_id")?;
        let eot = id("tokenizer.ggml.eot_token_id")?;
        let pad = id("tokenizer.ggml.padding_token_id")?;
        let add_bos = metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
        let add_eos = metadata.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);

        let bpe = build_bpe(&vocab)?;
        let missing_bytes = (0..=255)
            .filter(|&b| bpe.token_to_id(bytes::char_of(b).encode_utf8(&mut [0; 4])).is_none())
            .collect();

        let mut by_text = BTreeMap::new();
        for token in &vocab.added {
            if let Some(other) = by_text.insert(token.text.clone(), token.id) {
                return Err(invalid(format!("tokens {other} and {} are both {:?}", token.id, token.text)));
            }
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(vocab.added.iter().map(|t| t.text.as_bytes()))
            .map_err(|e| invalid("the added tokens are too many or too long").with_cause(e))?;
        let pattern_ids = vocab.added.iter().map(|t| t.id).collect();

        let mut end_tokens: Vec<u32> = [eos, eot].into_iter().flatten().collect();
        end_tokens.extend(END_TOKENS.iter().filter_map(|text| by_text.get(*text)));
        end_tokens.sort_unstable();
        end_tokens.dedup();

        Ok(Self {
            bpe,
            splitter: Splitter::new(pattern)?,
            n_tokens: vocab.n_tokens,
            added: vocab.added.into_iter().map(|t| (t.id, t)).collect(),
            by_text,
            finder,
            pattern_ids,
            missing_bytes,
            bos,
            eos,
            pad,
            add_bos,
            add_eos,
            end_tokens,
        })
    }

    /// Token ids of a text.
    ///
    /// # Errors
    /// `tokenizer` where the text has a byte that no token stands for (no real vocabulary lacks one).
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        match special {
            Special::None => self.encode_ordinary(text, &mut ids)?,
            Special::All => {
                let mut done = 0;
                for m in self.finder.find_iter(text) {
                    self.encode_ordinary(&text[done..m.start()], &mut ids)?;
                    ids.push(self.pattern_ids[m.pattern().as_usize()]);
                    done = m.end();
                }
                self.encode_ordinary(&text[done..], &mut ids)?;
            }
        }
        Ok(ids)
    }

    /// Token ids of a prompt whose parts are known to be markers or ordinary text. Neighbouring ordinary parts are one
    /// text: words may go across them.
    ///
    /// # Errors
    /// `tokenizer` where a special part is not an added token, and as [`Tokenizer::encode`].
    pub fn encode_segments(&self, segments: &[Segment]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for run in segments.chunk_by(|a, b| !a.special && !b.special) {
            match run {
                [one] if one.special => {
                    let id = self.by_text.get(&one.text);
                    ids.push(*id.ok_or_else(|| invalid(format!("{:?} is not an added token", one.text)))?);
                }
                [one] => self.encode_ordinary(&one.text, &mut ids)?,
                _ => {
                    let text: String = run.iter().map(|s| s.text.as_str()).collect();
                    self.encode_ordinary(&text, &mut ids)?;
                }
            }
        }
        Ok(ids)
    }

    /// The text of token ids, broken UTF-8 as U+FFFD. Ids without text (padding of the table, ids past its end) give
    /// none; `skip_special` leaves control tokens out too.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for &id in ids {
            self.push_bytes(id, skip_special, &mut bytes);
        }
        match String::from_utf8_lossy(&bytes) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        }
    }

    /// The bytes that a token stands for; they need not be whole characters.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.push_bytes(id, false, &mut bytes);
        bytes
    }

    /// The id of an added token by its text.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// Added tokens by id.
    pub fn added_tokens(&self) -> impl Iterator<Item = &AddedToken> {
        self.added.values()
    }

    /// Ids that end an answer, in increasing order.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// Ids that the table has, padding included.
    pub fn n_tokens(&self) -> u32 {
        self.n_tokens
    }

    /// The token to put before a text, where the file asks for one; Qwen's do not.
    pub fn leading_token(&self) -> Option<u32> {
        self.bos.filter(|_| self.add_bos)
    }

    /// The token to put after a text, where the file asks for one; Qwen's embedding models do.
    pub fn trailing_token(&self) -> Option<u32> {
        self.eos.filter(|_| self.add_eos)
    }

    /// Names that chat templates may use for tokens, and their texts.
    pub fn template_tokens(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("bos_token", self.bos), ("eos_token", self.eos), ("pad_token", self.pad)]
            .into_iter()
            .filter_map(|(name, id)| Some((name, self.added.get(&id?)?.text.as_str())))
    }

    fn push_bytes(&self, id: u32, skip_special: bool, out: &mut Vec<u8>) {
        if let Some(token) = self.added.get(&id) {
            if !(skip_special && token.control) {
                out.extend_from_slice(token.text.as_bytes());
            }
        } else if let Some(name) = self.bpe.id_to_token(id) {
            bytes::push_bytes(&name, out);
        }
    }

    fn encode_ordinary(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let text = nfc(text);
        if !self.missing_bytes.is_empty()
            && let Some(byte) = text.bytes().find(|b| self.missing_bytes.contains(b))
        {
            return Err(invalid(format!("the vocabulary has no token for byte {byte:#04x}")));
        }
        let mut name = String::new();
        for piece in self.splitter.pieces(&text) {
            name.clear();
            bytes::push_name(piece, &mut name);
            let tokens = self
                .bpe
                .tokenize(&name)
                .map_err(|e| invalid(format!("{piece:?} cannot be tokenized")).with_cause(e))?;
            ids.extend(tokens.iter().map(|t| t.id));
        }
        Ok(())
    }
}

/// Cuts texts into words in the byte alphabet, as merges are learned from them: by the pattern of Qwen2 and Qwen3.
#[derive(Debug)]
pub struct Words(Splitter);

impl Words {
    /// # Errors
    /// `internal` where the pattern does not compile.
    pub fn new() -> Result<Self> {
        Splitter::new(Pattern::Qwen2).map(Self)
    }

    /// The words of `text`, end to end.
    pub fn of(&self, text: &str) -> Vec<String> {
        let name = |piece: &str| {
            let mut name = String::new();
            bytes::push_name(piece, &mut name);
            name
        };
        self.0.pieces(&nfc(text)).map(name).collect()
    }
}

/// Canonical composition, which Qwen's tokenizers apply before anything else.
fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut normalized = NormalizedString::from(text);
    normalized.nfc();
    Cow::Owned(normalized.get().to_owned())
}

fn build_bpe(vocab: &Vocab<'_>) -> Result<BPE> {
    let mut names = bpe::Vocab::with_capacity(vocab.ordinary.len());
    let mut longest = 0;
    for &(id, name) in &vocab.ordinary {
        longest = longest.max(name.len());
        if let Some(other) = names.insert(name.to_owned(), id) {
            return Err(invalid(format!("tokens {other} and {id} are both {name:?}")));
        }
    }
    let mut merges = Vec::with_capacity(vocab.merges.len());
    for (i, merge) in vocab.merges.iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(invalid(format!("merge {i} is {merge:?}, not two tokens")));
        };
        // The builder writes both parts into a buffer as long as the longest token.
        if left.len() + right.len() > longest {
            return Err(invalid(format!("merge {i}, {merge:?}, gives a text that is not a token")));
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    BPE::builder()
        .vocab_and_merges(names, merges)
        // The cache would outlive the tokenizer: it is the thread's.
        .cache_capacity(0)
        .build()
        .map_err(|e| Error::new(crate::Code::Tokenizer, "the merges do not fit the tokens").with_cause(e))
}

#[cfg(test)]
mod tests;
