//! Decoding ahead: where the backend chooses tokens, runs are started before the tokens that they take are known, and
//! the tokens are read as they arrive. What ran past the end of an answer is cut off the sequence.

use std::collections::VecDeque;

use web_time::Instant;

use super::Session;
use crate::backend::Backend;
use crate::error::Result;
use crate::plan::Row;

/// The runs of an answer, the one of the prompt's last token included; each leads to a token.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Choices that the backend can have under way.
    most: usize,
    /// Tokens that the answer may have.
    limit: usize,
    /// Runs started.
    started: usize,
    /// When those started whose tokens were not read yet.
    waiting: VecDeque<Instant>,
    /// A token was read whose run is not started yet.
    unused: Option<u32>,
}

impl Ahead {
    /// With the run of the prompt's last token under way, or about to be.
    pub(super) fn new(most: usize, limit: usize) -> Self {
        Self { most, limit, started: 1, waiting: VecDeque::from([Instant::now()]), unused: None }
    }
}

impl Session {
    /// Starts as many runs as the pace allows, and at least one where none is under way.
    pub(super) fn run_ahead(&mut self, backend: &mut dyn Backend, ahead: &mut Ahead) -> Result<()> {
        let depth = self.pace.depth().min(ahead.most);
        while ahead.waiting.len() < depth && ahead.started < ahead.limit {
            let needed = ahead.waiting.is_empty();
            // A conversation that is kept gives way to a token that is needed, not to one that may never be.
            match self.extend(backend, 1, needed) {
                Ok(()) => {}
                Err(error) if needed => return Err(error),
                Err(_) => break,
            }
            let token = ahead.unused.take().unwrap_or(Row::CHOSEN);
            let draw = ahead.started as u32;
            self.start(&[token], &[0], |batch| backend.run_and_choose(batch, draw))?;
            ahead.started += 1;
            ahead.waiting.push_back(Instant::now());
        }
        Ok(())
    }

    /// The next token that arrives.
    pub(super) async fn chosen(&mut self, backend: &mut dyn Backend, ahead: &mut Ahead) -> Result<u32> {
        let id = backend.choice().await?;
        let run = ahead.started - ahead.waiting.len();
        let Some(since) = ahead.waiting.pop_front() else { return Ok(id) };
        // The prompt's run says nothing of a step.
        if run > 0 {
            self.pace.arrived(run, ahead.started - 1, since, Instant::now());
        }
        if ahead.waiting.is_empty() {
            ahead.unused = Some(id);
        } else {
            self.current().tokens.push(id);
        }
        Ok(id)
    }

    /// Cuts off the positions whose tokens are not known, or not part of the answer.
    pub(super) fn cut(&mut self) {
        let Some(sequence) = self.sequences.last_mut() else { return };
        self.pool.truncate(&mut sequence.table, sequence.tokens.len());
    }
}
