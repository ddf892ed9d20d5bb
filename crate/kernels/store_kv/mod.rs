//! Writes each row's key and value to its place in a layer's pages.

pub(crate) mod cpu;

use super::{Lines, check};
use crate::error::{Error, Result};
use crate::plan::Row;
use crate::plan::state::{PAGE_TOKENS, PageId};

/// The keys or the values of one layer, `[page, kv head, slot, head_dim]`: what the references keep state in. A
/// backend's own state may lie otherwise.
#[derive(Debug, Clone)]
pub struct Pool {
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub data: Vec<f32>,
}

impl Pool {
    pub fn new(n_pages: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        Self { n_kv_heads, head_dim, data: vec![0.0; n_pages * n_kv_heads * PAGE_TOKENS * head_dim] }
    }

    /// Where a head's values of one position start.
    ///
    /// # Errors
    /// `internal` where the page table has no such position.
    pub fn at(&self, table: &[PageId], head: usize, position: usize) -> Result<usize> {
        let page = table
            .get(position / PAGE_TOKENS)
            .ok_or_else(|| Error::internal(format!("position {position} is beyond {} pages", table.len())))?;
        let head = page.0 as usize * self.n_kv_heads + head;
        Ok((head * PAGE_TOKENS + position % PAGE_TOKENS) * self.head_dim)
    }
}

/// `k` and `v` hold `[n_kv_heads, head_dim]` a line.
///
/// # Errors
/// `internal` where shapes do not fit or a row has no page.
pub fn reference(
    rows: &[Row],
    tables: &[&[PageId]],
    k: Lines<'_>,
    v: Lines<'_>,
    keys: &mut Pool,
    values: &mut Pool,
) -> Result<()> {
    for (lines, pool) in [(k, keys), (v, values)] {
        let (heads, dim) = (pool.n_kv_heads, pool.head_dim);
        check(rows.len() == lines.n() && lines.width() == heads * dim, "store_kv", || {
            format!("[{}, {}] for {} rows of {heads} heads of {dim}", lines.n(), lines.width(), rows.len())
        })?;
        for (row, line) in rows.iter().zip(lines.iter()) {
            for (head, value) in line.chunks_exact(dim).enumerate() {
                let at = pool.at(tables[row.sequence as usize], head, row.position as usize)?;
                pool.data[at..at + dim].copy_from_slice(value);
            }
        }
    }
    Ok(())
}
