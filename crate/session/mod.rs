//! Sequences, prefix reuse, the decode loop.

mod ahead;
mod answer;
mod pace;
mod stride;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use web_time::Instant;

use self::ahead::Ahead;
use self::answer::Answer;
use self::pace::Pace;
use self::stride::{Started, Stride};
use crate::backend::Backend;
use crate::chat::AnswerParser;
use crate::engine::{Event, Finish, GenerateOptions, Outcome, Pause};
use crate::error::Result;
use crate::plan::state::{PagePool, PageTable};
use crate::plan::{Batch, Row};
use crate::sampler::Params;
use crate::tokenizer::Tokenizer;

/// Conversations kept beside each other, as far as the pages reach.
const MAX_KEPT: usize = 4;

/// Tokens whose state the backend holds.
#[derive(Debug, Default)]
struct Sequence {
    tokens: Vec<u32>,
    /// Has more positions than `tokens` while runs are under way whose tokens are not known yet.
    table: PageTable,
    last_used: u64,
}

/// The state of an engine's conversations.
#[derive(Debug)]
pub(crate) struct Session {
    pool: PagePool,
    /// The one in use is the last.
    sequences: Vec<Sequence>,
    clock: u64,
    logits: Vec<f32>,
    pace: Pace,
    stride: Stride,
}

/// One request, ready to run.
pub(crate) struct Generation<'a> {
    pub(crate) prompt: &'a [u32],
    /// Takes the answer apart, where it is one to a conversation.
    pub(crate) parser: Option<AnswerParser>,
    pub(crate) options: &'a GenerateOptions,
    pub(crate) sampling: Params,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) context_length: usize,
    pub(crate) n_vocab: usize,
    pub(crate) pause: Option<&'a Pause>,
}

impl Session {
    /// `n_pages` as the backend was prepared with; prefill runs at most `max_rows` tokens at a time.
    pub(crate) fn new(n_pages: usize, max_rows: usize) -> Self {
        Self {
            pool: PagePool::new(n_pages),
            sequences: Vec::new(),
            clock: 0,
            logits: Vec::new(),
            pace: Pace::default(),
            stride: Stride::new(max_rows),
        }
    }

    /// Makes the sequence that shares most with `prompt` the last one, cut to what it shares, and returns how many
    /// tokens that is; the last token of the prompt is always left to run, for its logits.
    fn acquire(&mut self, prompt: &[u32]) -> usize {
        let shared = |s: &Sequence| {
            let limit = prompt.len().saturating_sub(1);
            s.tokens.iter().zip(prompt).take(limit).take_while(|(a, b)| a == b).count()
        };
        let best = (0..self.sequences.len()).max_by_key(|&i| shared(&self.sequences[i]));
        let mut sequence = match best {
            None => Sequence::default(),
            Some(i) => {
                let n = shared(&self.sequences[i]);
                // The same conversation goes on, or another begins with the same system message: then both are kept.
                let same = 2 * n >= self.sequences[i].tokens.len();
                let mut sequence = if same {
                    self.sequences.remove(i)
                } else {
                    let parent = &self.sequences[i];
                    Sequence {
                        tokens: parent.tokens.clone(),
                        table: self.pool.fork(&parent.table),
                        last_used: 0,
                    }
                };
                sequence.tokens.truncate(n);
                self.pool.truncate(&mut sequence.table, n);
                sequence
            }
        };
        while self.sequences.len() >= MAX_KEPT {
            self.evict();
        }
        self.clock += 1;
        sequence.last_used = self.clock;
        let reused = sequence.tokens.len();
        self.sequences.push(sequence);
        reused
    }

    /// Forgets the least recently used sequence.
    fn evict(&mut self) {
        let Some(i) = (0..self.sequences.len()).min_by_key(|&i| self.sequences[i].last_used) else { return };
        let mut old = self.sequences.remove(i);
        self.pool.truncate(&mut old.table, 0);
    }

    /// The sequence in use.
    fn current(&mut self) -> &mut Sequence {
        self.sequences.last_mut().expect("acquire comes first")
    }

    /// Appends tokens to the current sequence and starts the run that computes them; logits for those of `outputs`,
    /// as indices into `tokens`.
    fn run(&mut self, backend: &mut dyn Backend, tokens: &[u32], outputs: &[usize]) -> Result<()> {
        self.extend(backend, tokens.len(), true)?;
        self.start(tokens, outputs, |batch| backend.run(batch))
    }

    /// Makes room for `n` more positions of the current sequence; other sequences give way if they may.
    fn extend(&mut self, backend: &mut dyn Backend, n: usize, may_evict: bool) -> Result<()> {
        let copy = loop {
            let mut table = std::mem::take(&mut self.current().table);
            let extended = self.pool.extend(&mut table, n);
            self.current().table = table;
            match extended {
                Ok(copy) => break copy,
                Err(_) if may_evict && self.sequences.len() > 1 => self.evict(),
                Err(error) => return Err(error),
            }
        };
        copy.map_or(Ok(()), |copy| backend.copy_page(copy))
    }

    /// Hands a run of the current sequence's last positions to `run`. A token that is known joins the sequence.
    fn start(
        &mut self,
        tokens: &[u32],
        outputs: &[usize],
        run: impl FnOnce(&Batch<'_>) -> Result<()>,
    ) -> Result<()> {
        let sequence = self.current();
        let first = sequence.table.len() - tokens.len();
        let rows: Vec<Row> = tokens
            .iter()
            .enumerate()
            .map(|(i, &token)| Row {
                token,
                sequence: 0,
                position: (first + i) as u32,
                output: outputs.contains(&i),
            })
            .collect();
        sequence.tokens.extend(tokens.iter().filter(|&&token| token != Row::CHOSEN));
        run(&Batch { rows: &rows, tables: &[sequence.table.pages()] })
    }

    /// Forgets the current sequence: after an error nobody knows what its pages hold.
    fn discard(&mut self) {
        if let Some(mut sequence) = self.sequences.pop() {
            self.pool.truncate(&mut sequence.table, 0);
        }
    }

    /// See [`crate::engine::Engine::logits`].
    pub(crate) async fn logits(
        &mut self,
        backend: &mut dyn Backend,
        ids: &[u32],
        positions: &[usize],
    ) -> Result<Vec<f32>> {
        self.clock += 1;
        self.sequences.push(Sequence { last_used: self.clock, ..Sequence::default() });
        let result = self.logits_of_current(backend, ids, positions).await;
        self.discard();
        result
    }

    async fn logits_of_current(
        &mut self,
        backend: &mut dyn Backend,
        ids: &[u32],
        positions: &[usize],
    ) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < ids.len() {
            let mut end = (at + self.stride.rows()).min(ids.len());
            let wanted: Vec<usize> = positions
                .iter()
                .filter(|p| (at..end).contains(p))
                .map(|p| p - at)
                .take(MAX_LOGIT_ROWS)
                .collect();
            if wanted.len() == MAX_LOGIT_ROWS {
                end = at + wanted[MAX_LOGIT_ROWS - 1] + 1;
            }
            self.run(backend, &ids[at..end], &wanted)?;
            if !wanted.is_empty() {
                backend.read_logits(&mut self.logits).await?;
                all.extend_from_slice(&self.logits);
            }
            at = end;
        }
        Ok(all)
    }

    /// Computes the prompt, then samples and runs one token after another.
    pub(crate) async fn generate(
        &mut self,
        backend: &mut dyn Backend,
        generation: Generation<'_>,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        backend.take_stats();
        let cached = self.acquire(generation.prompt);
        let result = self.answer(backend, &generation, cached, on_event).await;
        if result.is_err() {
            backend.stop_choosing();
            self.discard();
        }
        result
    }

    async fn answer(
        &mut self,
        backend: &mut dyn Backend,
        g: &Generation<'_>,
        cached: usize,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        let mut answer = Answer::new(g)?;
        let room = g.context_length - g.prompt.len();
        let limit = g.options.max_tokens.map_or(room, |n| (n as usize).min(room));
        let most = if g.options.logprobs.is_some() { 0 } else { backend.start_choosing(&answer.sampler)? };
        let mut ahead = (most > 0).then(|| Ahead::new(most, limit));

        let mut turns = Turns { pause: g.pause, last: Instant::now() };
        let mut outcome = Outcome { cached_tokens: cached as u32, ..Outcome::aborted(g.prompt.len() as u32) };
        let start = Instant::now();
        let total = (g.prompt.len() - cached) as u32;
        let mut at = cached;
        let (mut before, mut under_way) = (start, VecDeque::new());
        while at < g.prompt.len() {
            let end = (at + self.stride.rows()).min(g.prompt.len());
            let since = Instant::now();
            let tokens = &g.prompt[at..end];
            if end < g.prompt.len() {
                self.run(backend, tokens, &[])?;
            } else if ahead.is_some() {
                self.extend(backend, tokens.len(), true)?;
                self.start(tokens, &[tokens.len() - 1], |batch| backend.run_and_choose(batch, 0))?;
            } else {
                self.run(backend, tokens, &[tokens.len() - 1])?;
            }
            if end < g.prompt.len() {
                under_way.push_back(Started::new(end - at, since, backend.finished()));
                while under_way.len() > self.stride.behind()
                    && let Some(run) = under_way.pop_front()
                {
                    self.stride.wait(run, &mut before).await?;
                }
            }
            at = end;
            let done = (at - cached) as u32;
            turns.give().await;
            if on_event(Event::Prefill { done, total }).is_break() {
                backend.stop_choosing();
                return Ok(outcome);
            }
        }
        for run in under_way {
            self.stride.wait(run, &mut before).await?;
        }
        let mut id = self.next(backend, &mut answer, &mut ahead).await?;
        outcome.stats.prefill_seconds = start.elapsed().as_secs_f64();
        outcome.stats.prefill_tokens = total;
        let prefill_run = backend.take_stats();

        let start = Instant::now();
        outcome.finish = Finish::Length;
        while outcome.ids.len() < limit {
            if let ControlFlow::Break(finish) = answer.take(id, &self.logits, &mut outcome, on_event)? {
                outcome.finish = finish;
                break;
            }
            if outcome.ids.len() == limit {
                break;
            }
            match &mut ahead {
                Some(ahead) => self.run_ahead(backend, ahead)?,
                None => self.run(backend, &[id], &[0])?,
            }
            id = self.next(backend, &mut answer, &mut ahead).await?;
            turns.give().await;
        }
        if ahead.is_some() {
            backend.stop_choosing();
            self.cut();
        }
        answer.finish(&mut outcome, on_event);
        outcome.stats.decode_seconds = start.elapsed().as_secs_f64();
        outcome.stats.decode_tokens = (outcome.ids.len() as u32).saturating_sub(1);
        outcome.stats.run = backend.take_stats();
        outcome.stats.prefill_run = prefill_run;
        Ok(outcome)
    }

    /// The token that the oldest run leads to whose token was not taken yet.
    async fn next(
        &mut self,
        backend: &mut dyn Backend,
        answer: &mut Answer<'_>,
        ahead: &mut Option<Ahead>,
    ) -> Result<u32> {
        match ahead {
            Some(ahead) => self.chosen(backend, ahead).await,
            None => {
                backend.read_logits(&mut self.logits).await?;
                answer.sampler.sample(&self.logits)
            }
        }
    }
}

/// As many rows of logits as the engine prepares its backends for.
pub(crate) const MAX_LOGIT_ROWS: usize = 8;

/// How long the host may wait for its turn; to give it one costs some fraction of a millisecond.
const TURN: Duration = Duration::from_millis(16);

/// Turns of the host, for what it is told meanwhile: an abort, above all.
struct Turns<'a> {
    pause: Option<&'a Pause>,
    last: Instant,
}

impl Turns<'_> {
    /// Gives it one where it is time.
    async fn give(&mut self) {
        if let Some(pause) = self.pause
            && self.last.elapsed() >= TURN
        {
            pause().await;
            self.last = Instant::now();
        }
    }
}
