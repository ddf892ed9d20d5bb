//! Causal grouped-query attention over the pages of each row's sequence:
//! `out[h] = Σ_p softmax_p(scale * q[h] · k[g, p]) * v[g, p]` over positions `p` in `0 ..= pos(row)`, where
//! `g = h / (n_heads / n_kv_heads)`.

pub(crate) mod cpu;
pub(crate) mod tasks;

use super::shader::MAX_SPLITS;
use super::store_kv::Pool;
use super::{Lines, LinesMut, check};
use crate::error::Result;
use crate::plan::Row;
use crate::plan::state::PageId;

/// Pages of a sequence up to which one workgroup of a GPU takes them all: more dispatches cost as much as they save.
const UNSPLIT_PAGES: usize = 8;

/// Pages that a workgroup has at least where several share them.
const SPLIT_PAGES: usize = 4;

/// Shares of a run, those of all its rows together, at most: there is memory for so many, and they keep a large GPU busy.
pub(crate) const MAX_PARTS: usize = 512;

/// How many workgroups of a GPU share the pages of a row: one has a few heads of one or of some rows, and a large GPU
/// wants more than those of a run.
pub(crate) fn splits(n_pages: usize, n_rows: usize) -> usize {
    if n_pages <= UNSPLIT_PAGES {
        return 1;
    }
    n_pages.div_ceil(SPLIT_PAGES).min(MAX_SPLITS).min(MAX_PARTS / n_rows.max(1)).max(1)
}

/// # Errors
/// `internal` where shapes do not fit.
pub(crate) fn check_shape(
    rows: usize,
    q: Lines<'_>,
    out: &LinesMut<'_>,
    n_heads: usize,
    (n_kv_heads, head_dim): (usize, usize),
) -> Result<()> {
    check(
        rows == q.n()
            && rows == out.n()
            && q.width() == n_heads * head_dim
            && out.width() == q.width()
            && n_kv_heads > 0
            && n_heads.is_multiple_of(n_kv_heads),
        "attention",
        || {
            format!(
                "[{}, {}] into [{}, {}], {rows} rows, {n_heads} heads of {head_dim} over {n_kv_heads}",
                q.n(),
                q.width(),
                out.n(),
                out.width()
            )
        },
    )
}

/// `q` and `out` hold `[n_heads, head_dim]` a line; the state is written already.
///
/// # Errors
/// `internal` where shapes do not fit or a row has no page.
#[expect(clippy::too_many_arguments, reason = "an operation's parameters, as the plan has them")]
pub fn reference(
    rows: &[Row],
    tables: &[&[PageId]],
    keys: &Pool,
    values: &Pool,
    n_heads: usize,
    scale: f32,
    q: Lines<'_>,
    mut out: LinesMut<'_>,
) -> Result<()> {
    let dim = keys.head_dim;
    check_shape(rows.len(), q, &out, n_heads, (keys.n_kv_heads, dim))?;
    let group = n_heads / keys.n_kv_heads;
    for (r, row) in rows.iter().enumerate() {
        let table = tables[row.sequence as usize];
        let n = row.position as usize + 1;
        for (h, (q, out)) in q.line(r).chunks_exact(dim).zip(out.line(r).chunks_exact_mut(dim)).enumerate() {
            let mut weights = vec![0.0f64; n];
            for (p, weight) in weights.iter_mut().enumerate() {
                let at = keys.at(table, h / group, p)?;
                let k = &keys.data[at..at + dim];
                let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                *weight = dot * f64::from(scale);
            }
            let largest = weights.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let total: f64 = weights
                .iter_mut()
                .map(|w| {
                    *w = (*w - largest).exp();
                    *w
                })
                .sum();
            let mut sums = vec![0.0f64; dim];
            for (p, weight) in weights.iter().enumerate() {
                let at = values.at(table, h / group, p)?;
                for (sum, &v) in sums.iter_mut().zip(&values.data[at..at + dim]) {
                    *sum += weight / total * f64::from(v);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum as f32;
            }
        }
    }
    Ok(())
}
