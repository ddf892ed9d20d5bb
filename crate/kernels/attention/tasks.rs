//! How a run's attention is cut into parts that can be computed at once. The cut depends on the rows alone, so results
//! do not depend on how many threads there are.

use std::ops::Range;

use crate::error::Result;
use crate::kernels::{LinesMut, zeros};
use crate::plan::Row;
use crate::plan::state::PAGE_TOKENS;

/// Rows that share a pass over the pages of their sequence.
pub(super) const BLOCK_ROWS: usize = 8;

/// Pages of a part, where a single row's positions are parted.
const PART_PAGES: usize = 8;

/// Neighbouring rows of one sequence, and pages of it.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) rows: Range<usize>,
    pub(super) pages: Range<usize>,
    /// Where the sums over these pages go, unless they are all pages.
    pub(super) part: Option<usize>,
}

/// A row whose sums are in parts.
#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) row: usize,
    pub(super) parts: Range<usize>,
}

/// The parts of a run, with memory for the largest run.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    blocks: Vec<Block>,
    merges: Vec<Merge>,
    n_parts: usize,
    /// A line a part, as wide as an operation's queries.
    sums: Vec<f32>,
    totals: Vec<f32>,
    pub(super) queries: Queries,
}

/// The queries of an operation as keys are held: integers, padded, and a scale a row and head.
#[derive(Debug, Default)]
pub(super) struct Queries {
    pub(super) data: Vec<i16>,
    pub(super) scales: Vec<f32>,
}

impl Tasks {
    /// For runs of so many rows over so many pages, `n_parted` rows of which may be parted; for lines of at most
    /// `n_heads` heads and, as they are held, `width` values.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub(crate) fn new(
        max_rows: usize,
        n_pages: usize,
        n_parted: usize,
        width: usize,
        n_heads: usize,
    ) -> Result<Self> {
        let n_parts = n_parted * n_pages.div_ceil(PART_PAGES);
        Ok(Self {
            blocks: Vec::with_capacity(max_rows + n_parts),
            merges: Vec::with_capacity(max_rows),
            n_parts,
            sums: zeros(n_parts * width, || "parts of attention".to_owned())?,
            totals: zeros(n_parts * n_heads * 2, || "parts of attention".to_owned())?,
            queries: Queries {
                data: zeros(max_rows * width, || "queries".to_owned())?,
                scales: zeros(max_rows * n_heads, || "queries".to_owned())?,
            },
        })
    }

    /// Bytes that [`Tasks::new`] takes.
    pub(crate) fn bytes_of(
        max_rows: usize,
        n_pages: usize,
        n_parted: usize,
        width: usize,
        n_heads: usize,
    ) -> u64 {
        let n_parts = n_parted * n_pages.div_ceil(PART_PAGES);
        let f32s = n_parts * (width + 2 * n_heads) + max_rows * n_heads;
        (size_of::<f32>() * f32s + size_of::<i16>() * max_rows * width) as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        let f32s = self.sums.len() + self.totals.len() + self.queries.scales.len();
        size_of::<f32>() * f32s + size_of_val(self.queries.data.as_slice())
    }

    /// Cuts a run. A row on its own, as decoding has it, is parted where its sequence is long.
    pub(crate) fn cut(&mut self, rows: &[Row]) {
        self.blocks.clear();
        self.merges.clear();
        let (mut first, mut part) = (0, 0);
        while first < rows.len() {
            let sequence = |row: &&Row| row.sequence == rows[first].sequence;
            let n = rows[first..].iter().take(BLOCK_ROWS).take_while(sequence).count();
            let rows_of_block = first..first + n;
            let last = rows[rows_of_block.clone()].iter().map(|r| r.position).max().unwrap_or(0);
            let n_pages = last as usize / PAGE_TOKENS + 1;
            let n_parts = n_pages.div_ceil(PART_PAGES);
            if n == 1 && n_parts > 1 && part + n_parts <= self.n_parts {
                for pages in (0..n_pages).step_by(PART_PAGES) {
                    let pages = pages..n_pages.min(pages + PART_PAGES);
                    let part = Some(part + pages.start / PART_PAGES);
                    self.blocks.push(Block { rows: rows_of_block.clone(), pages, part });
                }
                self.merges.push(Merge { row: first, parts: part..part + n_parts });
                part += n_parts;
            } else {
                self.blocks.push(Block { rows: rows_of_block, pages: 0..n_pages, part: None });
            }
            first += n;
        }
    }

    /// What an operation with queries of `width` values in `n_heads` heads works on.
    pub(super) fn parts(&mut self, width: usize, n_heads: usize) -> Result<Parts<'_>> {
        let sums = LinesMut::packed(&mut self.sums[..self.n_parts * width], width)?;
        let totals = LinesMut::packed(&mut self.totals[..self.n_parts * n_heads * 2], 2 * n_heads)?;
        Ok(Parts { blocks: &self.blocks, merges: &self.merges, sums, totals, queries: &mut self.queries })
    }
}

/// Views of [`Tasks`] for one operation.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) blocks: &'a [Block],
    /// To be done after all blocks.
    pub(super) merges: &'a [Merge],
    /// Lines for the parts: sums as in the output, and two totals a head.
    pub(super) sums: LinesMut<'a>,
    pub(super) totals: LinesMut<'a>,
    pub(super) queries: &'a mut Queries,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u32, position: usize) -> Row {
        Row { token: 0, sequence, position: position as u32, output: false }
    }

    #[test]
    fn every_row_has_all_its_pages_once() {
        let mut tasks = Tasks::new(40, 64, 2, 8, 2).unwrap();
        let mut rows: Vec<Row> = (0..19).map(|i| row(0, 60 + i)).collect();
        rows.push(row(1, 64 * PAGE_TOKENS - 1));
        rows.push(row(2, PART_PAGES * PAGE_TOKENS));
        rows.push(row(3, PART_PAGES * PAGE_TOKENS - 1));
        // What has no room for parts is done in one.
        rows.extend([row(0, 64 * PAGE_TOKENS - 1), row(1, 64 * PAGE_TOKENS - 1)]);
        // Twice: what a run left does not show in the next.
        for _ in 0..2 {
            tasks.cut(&rows);
            let mut pages = vec![0; rows.len()];
            let mut parts = Vec::new();
            for block in &tasks.blocks {
                for r in block.rows.clone() {
                    assert_eq!(rows[r].sequence, rows[block.rows.start].sequence);
                    let first = if block.part.is_some() { pages[r] } else { 0 };
                    assert_eq!(block.pages.start, first);
                    pages[r] = block.pages.end;
                    assert!(!block.pages.is_empty() && block.rows.len() <= BLOCK_ROWS);
                }
                parts.extend(block.part);
            }
            for (row, pages) in rows.iter().zip(pages) {
                assert!(pages * PAGE_TOKENS > row.position as usize);
            }
            assert_eq!(parts, (0..parts.len()).collect::<Vec<_>>());
            let merged: Vec<_> = tasks.merges.iter().map(|m| (m.row, m.parts.clone())).collect();
            assert_eq!(merged, [(19, 0..8), (20, 8..10)]);
        }
    }
}
