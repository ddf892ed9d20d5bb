//! Loads a model and answers requests: source → gguf → model → backend → session.
//!
//! Natively these futures are driven by `pollster`; in the browser they run in the worker.

mod api;
pub mod fit;
mod load;
mod logits;
mod overflow;
mod prepare;

use std::ops::ControlFlow;
use std::rc::Rc;

pub use api::*;
pub use load::{OpenPart, read_header, read_through};
pub use prepare::Suspect;

use self::overflow::{OldTurns, turns_to_leave_out};
use crate::backend::{Backend, BackendInfo};
use crate::chat::{AnswerParser, ChatTemplate, Thinking, normalize, opens_thinking};
use crate::error::{Code, Error, Result};
use crate::sampler::Params;
use crate::session::{Generation, Session};
use crate::tokenizer::{Segment, Special, Tokenizer};

/// A loaded model.
pub struct Engine {
    info: EngineInfo,
    tokenizer: Rc<Tokenizer>,
    /// An unusable one fails conversations, not the load: plain completions need none.
    template: Result<ChatTemplate>,
    backend: Box<dyn Backend>,
    session: Session,
    /// Recommended sampling, without and with thinking.
    recommended: [Params; 2],
    pause: Option<Pause>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Engine {
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    pub fn backend_info(&self) -> &BackendInfo {
        self.backend.info()
    }

    /// What turns text into tokens and back. It can be used while an answer is made.
    pub fn tokenizer(&self) -> &Rc<Tokenizer> {
        &self.tokenizer
    }

    /// Answers; a break from `on_event` ends the answer after the current token, as [`Finish::Aborted`].
    ///
    /// # Errors
    /// `invalid-argument`, `template`, `context-full`, or what the backend reports. The conversation state survives
    /// an error: at worst the next request computes its prompt anew.
    pub async fn generate(
        &mut self,
        prompt: &Prompt,
        options: &GenerateOptions,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let sampling = self.sampling(prompt, options)?;
        let Encoded { ids, dropped, parser } = self.encode(prompt, options)?;
        if dropped > 0 && on_event(Event::Dropped { turns: dropped }).is_break() {
            return Ok(Outcome::aborted(ids.len() as u32));
        }
        let generation = Generation {
            prompt: &ids,
            parser,
            options,
            sampling,
            tokenizer: &self.tokenizer,
            context_length: self.info.context_length as usize,
            n_vocab: self.info.n_vocab as usize,
            pause: self.pause.as_ref(),
        };
        self.session.generate(self.backend.as_mut(), generation, on_event).await
    }

    /// Token ids of a text; `special`: markers like `<|im_start|>` in it become their tokens.
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
    pub fn count_tokens(&self, request: &ChatRequest) -> Result<u32> {
        Ok(self.encode_chat(request)?.ids.len() as u32)
    }

    fn template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().map_err(|e| Error::new(e.code(), e.to_string()))
    }

    fn encode_chat(&self, request: &ChatRequest) -> Result<Encoded> {
        let request = normalize(request)?;
        let mut segments = self.template()?.segments(&request)?;
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

    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|&&id| id >= self.info.n_vocab) {
            None => Ok(()),
            Some(id) => Err(Error::invalid_argument(format!(
                "token id {id} is outside the vocabulary of {} tokens",
                self.info.n_vocab
            ))),
        }
    }

    fn encode(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Encoded> {
        let ids = match prompt {
            Prompt::Text(text) => {
                let text = self.tokenizer.encode(text, Special::None)?;
                self.tokenizer.leading_token().into_iter().chain(text).collect()
            }
            Prompt::Ids(ids) => {
                self.check_ids(ids)?;
                ids.clone()
            }
            Prompt::Chat(request) => return self.fit_chat(request, options),
        };
        if ids.is_empty() {
            return Err(Error::invalid_argument("the prompt is empty; give at least one token"));
        }
        // An answer of at least one token has to fit behind the prompt.
        if ids.len() >= self.info.context_length as usize {
            return Err(self.full(ids.len()));
        }
        Ok(Encoded { ids, dropped: 0, parser: None })
    }

    fn full(&self, n: usize) -> Error {
        Error::new(
            Code::ContextFull,
            format!(
                "the prompt has {n} tokens, the context {} and the answer needs room too; shorten the conversation, \
                 load with a larger contextLength, or ask to drop the oldest turns",
                self.info.context_length
            ),
        )
    }

    /// A conversation, without its oldest turns where they are to make room.
    fn fit_chat(&self, request: &ChatRequest, options: &GenerateOptions) -> Result<Encoded> {
        let context = self.info.context_length as usize;
        let quarter = (context / 4).max(1);
        let room = match options.overflow {
            Overflow::Error => 1,
            Overflow::DropOldest => options.max_tokens.map_or(quarter, |n| (n as usize).clamp(1, quarter)),
        };
        let limit = context - room;
        let whole = self.encode_chat(request)?;
        let n = whole.ids.len();
        if n <= limit {
            return Ok(whole);
        }
        if options.overflow == Overflow::Error {
            return Err(self.full(n));
        }
        let turns = OldTurns::of(&request.messages);
        let without = |n: usize| {
            let messages = turns.without(n, &request.messages);
            let (tools, kwargs) = (request.tools.clone(), request.kwargs.clone());
            self.encode_chat(&ChatRequest { messages, tools, kwargs, ..*request })
        };
        let left = |n: usize| Ok(without(n)?.ids.len());
        let chosen = turns_to_leave_out(turns.len(), n, limit, quarter, left)?;
        let dropped = chosen.unwrap_or(turns.len());
        let shorter = without(dropped)?;
        // A template may tell the time: another length than was found is possible.
        if shorter.ids.len() > limit {
            return Err(self.full(shorter.ids.len()));
        }
        Ok(Encoded { dropped: dropped as u32, ..shorter })
    }

    fn sampling(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Params> {
        let thinking = self.template().map_or(Thinking::None, |t| t.capabilities().thinking);
        let thinking = match (prompt, thinking) {
            (Prompt::Chat(request), Thinking::Switch { default }) => {
                request.kwargs.get("enable_thinking").and_then(|v| v.as_bool()).unwrap_or(default)
            }
            (_, thinking) => thinking == Thinking::Always,
        };
        // Greedy is asked for to get the most likely tokens: recommended penalties belong to the recommended draw.
        let mut p = match options.temperature {
            Some(0.0) => Params { temperature: 0.0, ..Params::default() },
            _ => self.recommended[usize::from(thinking)].clone(),
        };
        // It is recommended for turns of a conversation: a text that goes on repeats words.
        if !matches!(prompt, Prompt::Chat(_)) {
            p.presence_penalty = 0.0;
        }
        let set = |to: &mut f32, from: Option<f32>| *to = from.unwrap_or(*to);
        set(&mut p.temperature, options.temperature);
        set(&mut p.top_p, options.top_p);
        set(&mut p.min_p, options.min_p);
        set(&mut p.repetition_penalty, options.repetition_penalty);
        set(&mut p.presence_penalty, options.presence_penalty);
        set(&mut p.frequency_penalty, options.frequency_penalty);
        p.top_k = options.top_k.unwrap_or(p.top_k);
        p.logit_bias.clone_from(&options.logit_bias);
        p.seed = match options.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|e| {
                Error::internal("the host gives no random seed; give one").with_cause(e.to_string())
            })?,
        };
        Ok(p)
    }
}

/// A prompt in tokens.
struct Encoded {
    ids: Vec<u32>,
    /// Turns left out to make it fit.
    dropped: u32,
    /// Takes the answer apart, where the prompt is a conversation.
    parser: Option<AnswerParser>,
}
