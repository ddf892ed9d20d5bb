//! Attention one page at a time, with a running maximum (online softmax): the products of queries and keys, and of
//! weights and values, are small matrix products in registers, so that a page of a head is read once for all query
//! heads of a block of rows.
//!
//! Queries and weights are integers like keys and values ([`crate::kernels::store_kv::cpu`]), and sums of their products
//! exact; 14 bits for all four of them err half as much as f16 keys and values do.
//!
//! [`super::tasks`] cuts a run into blocks, which are the same for any number of threads.

use std::array::from_fn;
use std::ops::Range;

use super::tasks::{BLOCK_ROWS, Block, Merge, Parts, Queries, Tasks};
use crate::error::Result;
use crate::kernels::simd::{Kernel, Simd, dispatch, exp};
use crate::kernels::store_kv::cpu::{EXACT, HeadPage, LARGEST, PANEL, padded, quantize};
use crate::kernels::{Lines, LinesMut, SharedLines};
use crate::plan::Row;
use crate::plan::state::PAGE_TOKENS;
use crate::threads::Pool;

/// Query heads that share a pass over a page; a key/value head of Qwen has at most so many.
const BLOCK_HEADS: usize = 8;

/// Queries multiplied at a time: with two vectors each, their sums fill half of 16 registers.
const QUERIES: usize = 4;

/// One attention operation.
pub(crate) struct Attention<'a, P> {
    pub(crate) rows: &'a [Row],
    /// `[n_heads, head_dim]` a row.
    pub(crate) q: Lines<'a>,
    pub(crate) n_kv_heads: usize,
    /// Query heads a key/value head.
    pub(crate) group: usize,
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
    /// Page `i` of a sequence, of a key/value head: `(sequence, i, head)`.
    pub(crate) page: P,
}

/// Computes it; `tasks` were made of the same rows.
pub(crate) fn forward<'p, P>(
    attention: &Attention<'_, P>,
    tasks: &mut Tasks,
    mut out: LinesMut<'_>,
    pool: &Pool,
) -> Result<()>
where
    P: Fn(u32, usize, usize) -> HeadPage<'p> + Sync,
{
    let n_kv_heads = attention.n_kv_heads;
    let n_heads = n_kv_heads * attention.group;
    let Parts { blocks, merges, mut sums, mut totals, queries } =
        tasks.parts(attention.q.width(), n_heads)?;
    queries.take(attention.q, attention.head_dim, n_heads, pool)?;
    let items = Items {
        of: attention,
        queries,
        out: SharedLines::new(&mut out),
        sums: SharedLines::new(&mut sums),
        totals: SharedLines::new(&mut totals),
    };
    pool.run(blocks.len() * n_kv_heads, |i| items.run(&blocks[i / n_kv_heads], i % n_kv_heads));
    for merge in merges {
        dispatch(Merging { merge, sums: &mut sums, totals: &mut totals, n_heads, out: out.line(merge.row) });
    }
    Ok(())
}

impl Queries {
    /// Takes an operation's queries.
    fn take(&mut self, q: Lines<'_>, head_dim: usize, n_heads: usize, pool: &Pool) -> Result<()> {
        let padded = padded(head_dim);
        let data = SharedLines::packed(&mut self.data[..q.n() * n_heads * padded], n_heads * padded)?;
        let scales = SharedLines::packed(&mut self.scales[..q.n() * n_heads], n_heads)?;
        pool.run(q.n(), |row| {
            // SAFETY: only this item has this row.
            let (data, scales) =
                unsafe { (data.columns(row, 0..data.width()), scales.columns(row, 0..n_heads)) };
            let heads = q.line(row).chunks_exact(head_dim).zip(data.chunks_exact_mut(padded));
            for ((q, to), scale) in heads.zip(scales) {
                to[head_dim..].fill(0);
                *scale = quantize(q, |i, q| to[i..i + q.len()].copy_from_slice(q));
            }
        });
        Ok(())
    }
}

/// Work that can be done in any order; each item writes what no other touches.
struct Items<'a, 'b, P> {
    of: &'a Attention<'b, P>,
    queries: &'a Queries,
    out: SharedLines<'a>,
    /// Of blocks that have a part of the positions: sums as in `out`, and `[n_heads, 2]` of largest score and total.
    sums: SharedLines<'a>,
    totals: SharedLines<'a>,
}

impl<'p, P: Fn(u32, usize, usize) -> HeadPage<'p>> Items<'_, '_, P> {
    fn run(&self, block: &Block, kv_head: usize) {
        dispatch(Item { items: self, of: self.of, block, kv_head });
    }
}

struct Item<'a, 'b, P> {
    items: &'a Items<'a, 'b, P>,
    of: &'a Attention<'b, P>,
    block: &'a Block,
    kv_head: usize,
}

/// The softmax of one query so far.
#[derive(Debug, Clone, Copy)]
struct Softmax {
    largest: f32,
    /// Of the exponentials.
    total: f32,
}

impl<'p, P: Fn(u32, usize, usize) -> HeadPage<'p>> Kernel for Item<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let heads = self.kv_head * self.of.group..(self.kv_head + 1) * self.of.group;
        for first in heads.clone().step_by(BLOCK_HEADS) {
            self.heads(s, first..heads.end.min(first + BLOCK_HEADS));
        }
    }
}

impl<'p, P: Fn(u32, usize, usize) -> HeadPage<'p>> Item<'_, '_, P> {
    /// These query heads of the block's rows: row by row, a query each.
    #[inline(always)]
    fn heads<S: Simd>(&self, s: S, heads: Range<usize>) {
        let rows = &self.of.rows[self.block.rows.clone()];
        let n = rows.len() * heads.len();
        let mut states = [Softmax { largest: f32::NEG_INFINITY, total: 0.0 }; BLOCK_ROWS * BLOCK_HEADS];
        for i in 0..n {
            self.sums(&heads, i).fill(0.0);
        }
        for page in self.block.pages.clone() {
            let data = (self.of.page)(rows[0].sequence, page, self.kv_head);
            for (states, i) in states[..n].chunks_mut(QUERIES).zip((0..).step_by(QUERIES)) {
                match states.len() {
                    1 => self.queries::<S, 1>(s, &heads, page, &data, i, states),
                    2 => self.queries::<S, 2>(s, &heads, page, &data, i, states),
                    3 => self.queries::<S, 3>(s, &heads, page, &data, i, states),
                    _ => self.queries::<S, QUERIES>(s, &heads, page, &data, i, states),
                }
            }
        }
        for (i, state) in states[..n].iter().enumerate() {
            match self.block.part {
                None => divide(s, self.sums(&heads, i), state.total),
                Some(part) => {
                    let head = heads.start + i;
                    // SAFETY: only this item has this head of this part.
                    let totals = unsafe { self.items.totals.columns(part, 2 * head..2 * head + 2) };
                    totals.copy_from_slice(&[state.largest, state.total]);
                }
            }
        }
    }

    fn columns(&self, head: usize) -> Range<usize> {
        head * self.of.head_dim..(head + 1) * self.of.head_dim
    }

    /// Row of the block, and head, of a query.
    fn place(heads: &Range<usize>, i: usize) -> (usize, usize) {
        (i / heads.len(), heads.start + i % heads.len())
    }

    /// Where the sums of a query go.
    #[expect(clippy::mut_from_ref, reason = "each call's part is given up before the next call for it")]
    #[inline(always)]
    fn sums(&self, heads: &Range<usize>, i: usize) -> &mut [f32] {
        let (row, head) = Self::place(heads, i);
        let (lines, line) = match self.block.part {
            None => (&self.items.out, self.block.rows.start + row),
            Some(part) => (&self.items.sums, part),
        };
        // SAFETY: only this item has this row and head, or this head of this part; within the item, each query is
        // asked for apart.
        unsafe { lines.columns(line, self.columns(head)) }
    }

    /// Adds a page to queries `i .. i + R`.
    #[inline(always)]
    fn queries<S: Simd, const R: usize>(
        &self,
        s: S,
        heads: &Range<usize>,
        page: usize,
        data: &HeadPage<'_>,
        i: usize,
        states: &mut [Softmax],
    ) {
        let rows = self.block.rows.clone();
        let seen: [usize; R] = from_fn(|r| {
            let row = rows.start + Self::place(heads, i + r).0;
            let seen = (self.of.rows[row].position as usize + 1).saturating_sub(page * PAGE_TOKENS);
            seen.min(PAGE_TOKENS)
        });
        let most = seen.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return;
        }
        let dim = padded(self.of.head_dim);
        let n_heads = self.of.n_kv_heads * self.of.group;
        let at: [usize; R] = from_fn(|r| {
            let (row, head) = Self::place(heads, i + r);
            (rows.start + row) * n_heads + head
        });
        let q = at.map(|at| &self.items.queries.data[at * dim..(at + 1) * dim]);
        let q_scales = at.map(|at| s.splat(self.items.queries.scales[at] * self.of.scale));

        let mut scores = [[0.0; PAGE_TOKENS]; R];
        for (panel, keys) in data.keys.chunks_exact(PANEL * dim).take(most.div_ceil(PANEL)).enumerate() {
            let products = product(s, q, keys.as_chunks().0);
            for half in 0..2 {
                let at = PANEL * panel + 4 * half;
                let scales = load(s, &data.key_scales[at..]);
                for ((scores, products), q_scale) in scores.iter_mut().zip(products).zip(q_scales) {
                    store(s, s.mul(products[half], s.mul(scales, q_scale)), &mut scores[at..]);
                }
            }
        }
        let used = most.next_multiple_of(PANEL);
        let mut weights = [[0; PAGE_TOKENS]; R];
        let factors: [(f32, f32); R] = from_fn(|r| {
            let scores = &mut scores[r][..used];
            let correction = softmax(s, scores, seen[r], data.value_scales, &mut states[r]);
            (correction, integers(s, scores, &mut weights[r]))
        });
        // Whole pairs; the weight of one behind the last is zero.
        let most = most.next_multiple_of(2);
        for (panel, values) in data.values.chunks_exact(PANEL * PAGE_TOKENS).enumerate() {
            let weights = weights.each_ref().map(|w| &w[..most]);
            let products = product(s, weights, &values.as_chunks().0[..most / 2]);
            for (r, products) in products.into_iter().enumerate() {
                let sums = &mut self.sums(heads, i + r)[PANEL * panel..];
                let (correction, scale) = (s.splat(factors[r].0), s.splat(factors[r].1));
                for (sums, product) in sums.chunks_mut(4).zip(products) {
                    four(s, sums, |v| s.add(s.mul(v, correction), s.mul(product, scale)));
                }
            }
        }
    }
}

/// `Σ_i a[r][i] * b[i / 2][..][i % 2]` for eight columns of `b`.
#[inline(always)]
fn product<S: Simd, const R: usize>(s: S, a: [&[i16]; R], b: &[[i16; 2 * PANEL]]) -> [[S::F; 2]; R] {
    let mut sums = [[s.splat(0.0); 2]; R];
    for (first, b) in (0..).step_by(EXACT).zip(b.chunks(EXACT / 2)) {
        let a = a.map(|a| &a[first..first + 2 * b.len()].as_chunks::<2>().0[..b.len()]);
        let mut dots = [[s.splat_i(0); 2]; R];
        for (i, b) in b.iter().enumerate() {
            let b: &[[u8; 16]; 2] = bytemuck::cast_ref(b);
            let b = [s.load_i(&b[0]), s.load_i(&b[1])];
            for (dots, a) in dots.iter_mut().zip(a) {
                let a = s.splat_i(bytemuck::cast(a[i]));
                *dots = [s.dot_pairs(dots[0], a, b[0]), s.dot_pairs(dots[1], a, b[1])];
            }
        }
        for (sums, dots) in sums.iter_mut().zip(dots) {
            *sums = [s.add(sums[0], s.to_f(dots[0])), s.add(sums[1], s.to_f(dots[1]))];
        }
    }
    sums
}

/// Turns the scores of a page, the first `seen` of them, into weights times the values' scales; what lies behind those
/// becomes zero, whatever it and its scale were. Returns the factor on what was summed before.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], seen: usize, scales: &[f32], state: &mut Softmax) -> f32 {
    scores[seen..].fill(f32::NEG_INFINITY);
    let largest = scores.as_chunks::<4>().0.iter();
    let largest = largest.fold(s.splat(state.largest), |a, b| s.max(a, s.load(b)));
    let largest = largest_lane(s, largest);
    let correction = exp_one(s, state.largest - largest);
    for four in scores.as_chunks_mut::<4>().0 {
        s.store(exp(s, s.sub(s.load(four), s.splat(largest))), four);
    }
    scores[seen..].fill(0.0);
    let mut total = s.splat(0.0);
    for (four, scales) in scores.as_chunks_mut::<4>().0.iter_mut().zip(scales.as_chunks().0) {
        let weights = s.load(four);
        total = s.add(total, weights);
        s.store(s.mul(weights, s.load(scales)), four);
    }
    scores[seen..].fill(0.0);
    *state = Softmax { largest, total: state.total * correction + s.sum(total) };
    correction
}

/// Integers for weights that are not negative; returns their scale.
#[inline(always)]
fn integers<S: Simd>(s: S, weights: &[f32], to: &mut [i16]) -> f32 {
    let fours = weights.as_chunks::<4>().0;
    let (mut largest, mut unusual) = (s.splat(0.0), s.splat(0.0));
    for four in fours {
        let four = s.load(four);
        largest = s.max(largest, four);
        // NaN where a weight is NaN or infinite.
        unusual = s.add(unusual, s.mul(four, s.splat(0.0)));
    }
    let largest = largest_lane(s, largest);
    // Weights so small that a reciprocal overflows count for nothing.
    let inverse = if largest < LARGEST * f32::MIN_POSITIVE { 0.0 } else { LARGEST / largest };
    for (four, to) in fours.iter().zip(to.as_chunks_mut::<4>().0) {
        s.store_i16(s.round(s.mul(s.load(four), s.splat(inverse))), to);
    }
    largest / LARGEST + s.sum(unusual)
}

#[inline(always)]
fn largest_lane<S: Simd>(s: S, v: S::F) -> f32 {
    let mut lanes = [0.0; 4];
    s.store(v, &mut lanes);
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a < b { b } else { a })
}

#[inline(always)]
fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; 4];
    s.store(exp(s, s.splat(x)), &mut lanes);
    lanes[0]
}

/// The first four of them.
#[inline(always)]
fn load<S: Simd>(s: S, from: &[f32]) -> S::F {
    s.load(from.first_chunk().expect("whole panels"))
}

#[inline(always)]
fn store<S: Simd>(s: S, v: S::F, to: &mut [f32]) {
    s.store(v, to.first_chunk_mut().expect("whole panels"));
}

/// Changes up to four values.
#[inline(always)]
fn four<S: Simd>(s: S, values: &mut [f32], change: impl FnOnce(S::F) -> S::F) {
    match values.first_chunk_mut() {
        Some(values) => s.store(change(s.load(values)), values),
        None => {
            let mut padded = [0.0; 4];
            padded[..values.len()].copy_from_slice(values);
            s.store(change(s.load(&padded)), &mut padded);
            values.copy_from_slice(&padded[..values.len()]);
        }
    }
}

#[inline(always)]
fn divide<S: Simd>(s: S, values: &mut [f32], by: f32) {
    for values in values.chunks_mut(4) {
        four(s, values, |v| s.div(v, s.splat(by)));
    }
}

/// Puts a row together whose positions were parted.
struct Merging<'a, 'b> {
    merge: &'a Merge,
    sums: &'a mut LinesMut<'b>,
    totals: &'a mut LinesMut<'b>,
    n_heads: usize,
    out: &'a mut [f32],
}

impl Kernel for Merging<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let head_dim = self.out.len() / self.n_heads;
        for (head, out) in self.out.chunks_exact_mut(head_dim).enumerate() {
            let parts = self.merge.parts.clone();
            let mut largest = f32::NEG_INFINITY;
            for part in parts.clone() {
                let of_part = self.totals.line(part)[2 * head];
                largest = if largest < of_part { of_part } else { largest };
            }
            out.fill(0.0);
            let mut total = 0.0;
            for part in parts {
                let factor = exp_one(s, self.totals.line(part)[2 * head] - largest);
                total += self.totals.line(part)[2 * head + 1] * factor;
                let sums = &self.sums.line(part)[head * head_dim..][..head_dim];
                for (out, sums) in out.chunks_mut(4).zip(sums.chunks(4)) {
                    let sums: [f32; 4] = from_fn(|i| sums.get(i).copied().unwrap_or(0.0));
                    four(s, out, |v| s.add(v, s.mul(s.load(&sums), s.splat(factor))));
                }
            }
            divide(s, out, total);
        }
    }
}

#[cfg(any(test, feature = "checks"))]
#[path = "tests.rs"]
pub(crate) mod tests;
