//! A batch as the words that shaders read, checked first: no shader meets a token, page or position out of range.

use super::draft::FEW_LINES;
use crate::backend::RunLimits;
use crate::error::{Error, Result};
use crate::kernels::attention;
use crate::kernels::shader::run;
use crate::plan::state::PAGE_TOKENS;
use crate::plan::{Batch, Row, RowSet};

/// How many lines a run has of each row set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows: u32,
    pub(super) outputs: u32,
    /// Whether no two rows are of one sequence.
    pub(super) apart: bool,
    /// Whether it is more than a few rows, all of one sequence.
    pub(super) tiled: bool,
    /// Workgroups that share the pages of a row.
    pub(super) splits: u32,
    /// Pages of the longest row's sequence up to it.
    pub(super) pages: u32,
}

impl Counts {
    pub(super) const NONE: Self =
        Self { rows: 0, outputs: 0, apart: true, tiled: false, splits: 1, pages: 0 };

    pub(super) fn lines(self, rows: RowSet) -> u32 {
        match rows {
            RowSet::All => self.rows,
            RowSet::Output => self.outputs,
        }
    }
}

/// How many workgroups share the pages of a row: by the last position, and the number of rows.
pub type Splits = fn(usize, usize) -> usize;

/// What is fast.
pub(super) fn splits(last: usize, rows: usize) -> usize {
    attention::splits(last / PAGE_TOKENS + 1, rows)
}

/// Writes the run data of a batch into `words`: header, rows, rows with logits, page tables. A row may name the token
/// that the GPU chose last where `may_choose`.
///
/// # Errors
/// `invalid-argument` for a token beyond the table, `internal` where the batch is not within what was prepared.
pub(super) fn write(
    batch: &Batch<'_>,
    limits: RunLimits,
    n_tokens: u32,
    may_choose: bool,
    splits: Splits,
    words: &mut Vec<u32>,
) -> Result<Counts> {
    let n_outputs = batch.rows.iter().filter(|r| r.output).count();
    for (n, most, what) in [
        (batch.rows.len(), limits.max_rows, "rows"),
        (n_outputs, limits.max_outputs, "rows with logits"),
        (batch.tables.len(), limits.max_sequences, "sequences"),
    ] {
        if n > most {
            return Err(Error::internal(format!("a run of {n} {what} on a plan prepared for {most}")));
        }
    }
    if let Some(page) = batch.tables.iter().copied().flatten().find(|p| p.0 as usize >= limits.n_pages) {
        return Err(Error::internal(format!("page {} of a pool of {}", page.0, limits.n_pages)));
    }
    if let Some(table) = batch.tables.iter().find(|t| t.len() > limits.n_pages) {
        return Err(Error::internal(format!(
            "a table of {} pages, the pool has {}",
            table.len(),
            limits.n_pages
        )));
    }

    let outputs_at = run::ROWS_AT + run::ROW_WORDS * batch.rows.len();
    words.clear();
    words.resize(run::ROWS_AT, 0);
    words[run::N_ROWS] = batch.rows.len() as u32;
    words[run::N_OUTPUTS] = n_outputs as u32;
    words[run::OUTPUTS_AT] = outputs_at as u32;
    let last = batch.rows.iter().map(|r| r.position as usize).max().unwrap_or(0);
    let few = batch.rows.len() <= FEW_LINES as usize;
    let tiled = !few && batch.rows.iter().all(|r| r.sequence == batch.rows[0].sequence);
    let splits = if few || tiled { splits(last, batch.rows.len()) } else { 1 };
    words[run::SPLITS] = splits as u32;
    let is_repeated = |(i, row): (usize, &Row)| batch.rows[..i].iter().any(|r| r.sequence == row.sequence);
    let apart = batch.rows.len() <= batch.tables.len() && !batch.rows.iter().enumerate().any(is_repeated);
    for row in batch.rows {
        if row.token >= n_tokens && !(may_choose && row.token == Row::CHOSEN) {
            return Err(Error::invalid_argument(format!(
                "token {} is beyond the model's vocabulary of {n_tokens}",
                row.token
            )));
        }
        let sequence = row.sequence as usize;
        let pages = batch.tables.get(sequence).map_or(0, |t| t.len());
        if row.position as usize / PAGE_TOKENS >= pages {
            return Err(Error::internal(format!(
                "position {} of sequence {sequence} is beyond its {pages} pages",
                row.position
            )));
        }
        let before: usize = batch.tables[..sequence].iter().map(|t| t.len()).sum();
        words.extend([row.token, row.position, (outputs_at + n_outputs + before) as u32, 0]);
    }
    words.extend((0..).zip(batch.rows).filter(|(_, r)| r.output).map(|(i, _)| i));
    words.extend(batch.tables.iter().copied().flatten().map(|p| p.0));
    let [rows, outputs, splits, pages] =
        [batch.rows.len(), n_outputs, splits, last / PAGE_TOKENS + 1].map(|n| n as u32);
    Ok(Counts { rows, outputs, apart, tiled, splits, pages })
}
