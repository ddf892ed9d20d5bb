//! What becomes of each token: text, events, the end.

use std::ops::ControlFlow;

use super::Generation;
use crate::chat::{AnswerParser, Part, StopMatcher};
use crate::engine::{Event, Finish, GenerateOptions, GenerateStats, Outcome};
use crate::error::Result;
use crate::sampler::Sampler;
use crate::tokenizer::{StreamDecoder, Tokenizer};

/// Turns tokens into text.
pub(super) struct Answer<'a> {
    options: &'a GenerateOptions,
    tokenizer: &'a Tokenizer,
    pub(super) sampler: Sampler,
    decoder: StreamDecoder,
    stop: StopMatcher,
    parser: Option<AnswerParser>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(g: &Generation<'a>) -> Result<Self> {
        let mut sampler = Sampler::new(g.sampling.clone(), g.n_vocab)?;
        sampler.observe_prompt(g.prompt);
        Ok(Self {
            options: g.options,
            tokenizer: g.tokenizer,
            sampler,
            decoder: StreamDecoder::new(true),
            stop: StopMatcher::new(g.options.stop.iter().cloned()),
            parser: g.parser.clone(),
        })
    }

    /// Takes the next token and reports it; a break where it ends the answer. `logits` are those that it was chosen by,
    /// where log-probabilities are asked for.
    pub(super) fn take(
        &mut self,
        id: u32,
        logits: &[f32],
        outcome: &mut Outcome,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<Finish>> {
        if !self.options.ignore_eos && self.tokenizer.end_tokens().contains(&id) {
            return Ok(ControlFlow::Break(Finish::Stop));
        }
        self.sampler.accept(id);
        outcome.ids.push(id);
        let logprob = match self.options.logprobs {
            Some(top) => Some(self.sampler.logprobs(logits, id, top as usize)?),
            None => None,
        };
        let (text, stopped) = self.stop.push(&self.decoder.push(self.tokenizer, id));
        let parts = self.parser.as_mut().map(|p| p.push(&text)).unwrap_or_default();
        outcome.add(&text, &parts);
        let event = Event::Token { id, text, parts, logprob };
        if on_event(event).is_break() {
            return Ok(ControlFlow::Break(Finish::Aborted));
        }
        Ok(if stopped { ControlFlow::Break(Finish::Stop) } else { ControlFlow::Continue(()) })
    }

    /// Emits what was held back.
    pub(super) fn finish(
        mut self,
        outcome: &mut Outcome,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) {
        let rest = self.decoder.flush();
        let mut text = self.stop.push(&rest).0;
        text.push_str(&self.stop.flush());
        let mut parts = Vec::new();
        if let Some(parser) = &mut self.parser {
            parts = parser.push(&text);
            parts.extend(parser.finish());
        }
        if !text.is_empty() || !parts.is_empty() {
            outcome.add(&text, &parts);
            // The answer is over: a break has nothing left to end.
            let _ = on_event(Event::Tail { text, parts });
        }
    }
}

impl Outcome {
    /// Nothing answered yet.
    pub(crate) fn aborted(prompt_tokens: u32) -> Self {
        Self {
            ids: Vec::new(),
            text: String::new(),
            parts: Vec::new(),
            finish: Finish::Aborted,
            prompt_tokens,
            cached_tokens: 0,
            stats: GenerateStats::default(),
        }
    }

    fn add(&mut self, text: &str, parts: &[Part]) {
        self.text.push_str(text);
        for part in parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Text(all)), Part::Text(more))
                | (Some(Part::Thinking(all)), Part::Thinking(more)) => {
                    all.push_str(more);
                }
                _ => self.parts.push(part.clone()),
            }
        }
    }
}
