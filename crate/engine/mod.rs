//! Loads a model and answers requests: source → gguf → model → backend → session.
//!
//! Natively these futures are driven by `pollster`; in the browser they run in the worker.

mod api;
pub mod fit;
mod load;
mod logits;
mod overflow;
mod prepare;
mod texts;

use std::ops::ControlFlow;
use std::rc::Rc;

pub use api::*;
pub use load::{OpenPart, read_header, read_through};
pub use prepare::Suspect;
pub use texts::Texts;

use self::overflow::{OldTurns, turns_to_leave_out};
use crate::backend::{Backend, BackendInfo};
use crate::chat::{AnswerParser, Thinking};
use crate::error::{Code, Error, Result};
use crate::sampler::Params;
use crate::session::{Generation, Session};

/// A loaded model.
pub struct Engine {
    info: EngineInfo,
    texts: Rc<Texts>,
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

    /// What turns texts into tokens and back. It can be used while an answer is made.
    pub fn texts(&self) -> &Rc<Texts> {
        &self.texts
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
            tokenizer: self.texts.tokenizer(),
            context_length: self.info.context_length as usize,
            n_vocab: self.info.n_vocab as usize,
            pause: self.pause.as_ref(),
        };
        self.session.generate(self.backend.as_mut(), generation, on_event).await
    }

    /// See [`Texts::tokenize`].
    ///
    /// # Errors
    /// As there.
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.texts.tokenize(text, special)
    }

    /// See [`Texts::detokenize`].
    ///
    /// # Errors
    /// As there.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String> {
        self.texts.detokenize(ids)
    }

    /// See [`Texts::count_tokens`].
    ///
    /// # Errors
    /// As there.
    pub fn count_tokens(&self, request: &ChatRequest) -> Result<u32> {
        self.texts.count_tokens(request)
    }

    fn encode(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Encoded> {
        let ids = match prompt {
            Prompt::Text(text) => {
                let text = self.texts.tokenize(text, false)?;
                self.texts.tokenizer().leading_token().into_iter().chain(text).collect()
            }
            Prompt::Ids(ids) => {
                self.texts.check_ids(ids)?;
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
        let whole = self.texts.encode_chat(request)?;
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
            self.texts.encode_chat(&ChatRequest { messages, tools, kwargs, ..*request })
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
        let thinking = match (prompt, self.texts.thinking()) {
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
        // Here, and not by the sampler alone: what is refused must not cost a conversation its state.
        p.validate(self.info.n_vocab as usize)?;
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
