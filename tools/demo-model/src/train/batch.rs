//! Examples laid end to end, so that no row is padding.

use std::ops::Range;

/// A sequence of tokens, of which some are to be learned.
#[derive(Debug, Clone, Default)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Whether token i is to be predicted from those before it; nothing comes before the first, which is never learned.
    pub learn: Vec<bool>,
}

/// Some examples as the network takes them: one row per token, each example on its own in attention.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tokens: Vec<u32>,
    pub(super) positions: Vec<u32>,
    pub(super) segments: Vec<Range<usize>>,
    /// The rows whose next token is learned, and these tokens.
    pub(super) rows: Vec<usize>,
    pub(super) targets: Vec<u32>,
}

impl Batch {
    pub(super) fn new(examples: &[Example]) -> Self {
        let mut batch = Batch::default();
        for example in examples.iter().filter(|e| !e.tokens.is_empty()) {
            assert_eq!(example.tokens.len(), example.learn.len(), "a flag for each token");
            let start = batch.tokens.len();
            batch.tokens.extend(&example.tokens);
            batch.positions.extend(0..example.tokens.len() as u32);
            batch.segments.push(start..batch.tokens.len());
            for i in (1..example.tokens.len()).filter(|&i| example.learn[i]) {
                batch.rows.push(start + i - 1);
                batch.targets.push(example.tokens[i]);
            }
        }
        batch
    }
}

/// Cuts the examples into runs of at most `limit` tokens; one that is longer than that is a run of its own.
pub(super) fn runs(mut examples: &[Example], limit: usize) -> impl Iterator<Item = &[Example]> {
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |e: &&Example| {
            tokens += e.tokens.len();
            tokens <= limit
        };
        let count = examples.iter().take_while(fits).count().max(1);
        let (run, rest) = examples.split_at_checked(count)?;
        examples = rest;
        Some(run)
    })
}
