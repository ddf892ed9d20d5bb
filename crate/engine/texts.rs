//! Between texts and tokens.

use super::{ChatRequest, Encoded};
use crate::chat::{AnswerParser, ChatTemplate, Thinking, normalize, opens_thinking};
use crate::error::{Error, Result};
use crate::tokenizer::{Segment, Special, Tokenizer};

/// A model's tokenizer and template. They need no engine, so they answer while one is at work.
#[derive(Debug)]
pub struct Texts {
    pub(super) tokenizer: Tokenizer,
    /// An unusable one fails conversations, not the load: plain completions need none.
    pub(super) template: Result<ChatTemplate>,
    pub(super) n_vocab: u32,
}

impl Texts {
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Token ids of a text; `special`: markers like `<|im_start|>` in it become their tokens.
    ///
    /// # Errors
    /// `tokenizer` where the text has a byte that no token stands for.
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.tokenizer.encode(text, if special { Special::All } else { Special::None })
    }

    /// The text of token ids, markers included.
    ///
    /// # Errors
    /// `invalid-argument` naming an id that the vocabulary lacks.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String> {
        self.check_ids(ids)?;
        Ok(self.tokenizer.decode(ids, false))
    }

    /// Tokens that a conversation takes as a prompt.
    ///
    /// # Errors
    /// `invalid-argument` or `template` where it cannot be one.
    pub fn count_tokens(&self, request: &ChatRequest) -> Result<u32> {
        Ok(self.encode_chat(request)?.ids.len() as u32)
    }

    /// What the template makes of thinking; nothing where it is unusable.
    pub(super) fn thinking(&self) -> Thinking {
        self.template.as_ref().map_or(Thinking::None, |t| t.capabilities().thinking)
    }

    pub(super) fn encode_chat(&self, request: &ChatRequest) -> Result<Encoded> {
        let request = normalize(request)?;
        let template = self.template.as_ref().map_err(|e| Error::new(e.code(), e.to_string()))?;
        let mut segments = template.segments(&request)?;
        let last = request.messages.last().filter(|m| m["role"] == "assistant");
        let continued = last.filter(|_| request.add_generation_prompt == Some(false));
        if continued.is_some() {
            self.reopen(&mut segments);
        }
        let text: String = segments.iter().map(|s| s.text.as_str()).collect();
        let said = continued.and_then(|m| m["content"].as_str()).unwrap_or_default();
        let in_thought = opens_thinking(&text) || said.rfind("<think>") > said.rfind("</think>");
        let parser = AnswerParser::new(in_thought, request.tools.as_deref().unwrap_or_default());
        Ok(Encoded { ids: self.tokenizer.encode_segments(&segments)?, dropped: 0, parser: Some(parser) })
    }

    /// Takes the end of the last turn away, so that the answer goes on with it.
    fn reopen(&self, segments: &mut Vec<Segment>) {
        let is_end = |s: &Segment| {
            s.special
                && self.tokenizer.id_of(&s.text).is_some_and(|id| self.tokenizer.end_tokens().contains(&id))
        };
        if let Some(at) = segments.iter().rposition(|s| s.special || !s.text.trim().is_empty())
            && is_end(&segments[at])
        {
            segments.truncate(at);
        }
    }

    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|&&id| id >= self.n_vocab) {
            None => Ok(()),
            Some(id) => Err(Error::invalid_argument(format!(
                "token id {id} is outside the vocabulary of {} tokens",
                self.n_vocab
            ))),
        }
    }
}
