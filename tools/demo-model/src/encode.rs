//! Dialogues as tokens.

use anyhow::{Context as _, Result};
use qwenlet::chat::{ChatTemplate, system_clock};
use qwenlet::gguf::{self, Parsed, writer::Writer};
use qwenlet::tokenizer::{Special, Tokenizer};

use crate::data::{Dialogue, LETTERS, UNLEARNED};
use crate::train::Example;
use crate::vocabulary::{TEMPLATE, Vocabulary, request};

/// Tokenizer and template, as the engine will have them.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    end: u32,
    thought_end: u32,
}

impl Encoder {
    /// By way of a file's metadata, so that training sees the very tokens that the engine makes.
    ///
    /// # Errors
    /// Where the vocabulary is not one of Qwen's kind.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self> {
        let mut w = Writer::new();
        w.set("general.architecture", "qwen3");
        vocabulary.set_keys(&mut w)?;
        let bytes = w.to_bytes();
        let Parsed::Header(header) = gguf::parse(&bytes, Some(bytes.len() as u64))? else {
            anyhow::bail!("the header is whole");
        };
        let tokenizer = Tokenizer::from_metadata(&header.metadata)?;
        let template = ChatTemplate::new(TEMPLATE, Some(&tokenizer), system_clock)?;
        let id = |text: &str| tokenizer.id_of(text).context("an added token");
        let (end, thought_end) = (id("<|im_end|>")?, id("</think>")?);
        Ok(Self { end, thought_end, tokenizer, template })
    }

    /// A dialogue to learn from: its answer, and what the assistant said before.
    ///
    /// # Errors
    /// Where the template refuses the dialogue.
    pub fn example(&self, dialogue: &Dialogue) -> Result<Example> {
        self.encode(dialogue, |prompt| self.said_before(dialogue, prompt))
    }

    /// A dialogue to be asked: only its answer counts.
    ///
    /// # Errors
    /// As [`Self::example`].
    pub fn question(&self, dialogue: &Dialogue) -> Result<Example> {
        self.encode(dialogue, |prompt| vec![false; prompt.len()])
    }

    /// The prompt, of which `learn` says what counts, and the answer, all of which does.
    fn encode(&self, dialogue: &Dialogue, learn: impl FnOnce(&[u32]) -> Vec<bool>) -> Result<Example> {
        let mut tokens = self.tokenizer.encode_segments(&self.template.segments(&request(dialogue))?)?;
        let mut learn = learn(&tokens);
        self.answer(dialogue, &mut tokens)?;
        learn.resize(tokens.len(), true);
        Ok(Example { tokens, learn })
    }

    /// Earlier answers of a prompt, behind their thoughts.
    fn said_before(&self, dialogue: &Dialogue, tokens: &[u32]) -> Vec<bool> {
        let mut learn = vec![false; tokens.len()];
        let mut at = 0;
        let mut said = dialogue.messages.iter().filter(|m| m["role"] == "assistant");
        while let Some(end) = tokens[at..].iter().position(|&t| t == self.end).map(|n| at + n) {
            // Only the assistant's turns have one; a line break follows it.
            if let Some(thought) = tokens[at..end].iter().position(|&t| t == self.thought_end) {
                let learned = said.next().is_some_and(|m| m.get(UNLEARNED).is_none());
                learn[at + thought + 2..=end].fill(learned);
            }
            at = end + 1;
        }
        learn
    }

    fn answer(&self, dialogue: &Dialogue, tokens: &mut Vec<u32>) -> Result<()> {
        let special = |tokens: &mut Vec<u32>, text: &str| -> Result<()> {
            tokens.push(self.tokenizer.id_of(text).context("an added token")?);
            Ok(())
        };
        let ordinary = |tokens: &mut Vec<u32>, text: &str| -> Result<()> {
            tokens.extend(self.tokenizer.encode(text, Special::None)?);
            Ok(())
        };
        if dialogue.thinking {
            special(tokens, "<think>")?;
            ordinary(tokens, &format!("\n{}\n", dialogue.thought))?;
            special(tokens, "</think>")?;
            ordinary(tokens, "\n\n")?;
        }
        for (i, part) in dialogue.answer.split(LETTERS).enumerate() {
            if i % 2 == 0 {
                ordinary(tokens, part)?;
            } else {
                for letter in part.chars() {
                    ordinary(tokens, letter.encode_utf8(&mut [0; 4]))?;
                }
            }
        }
        if let Some(call) = &dialogue.call {
            special(tokens, "<tool_call>")?;
            let arguments = crate::data::spaced(&call.arguments);
            ordinary(tokens, &format!("\n{{\"name\": \"{}\", \"arguments\": {arguments}}}\n", call.name))?;
            special(tokens, "</tool_call>")?;
        }
        tokens.push(self.end);
        Ok(())
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}
