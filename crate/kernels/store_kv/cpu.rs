//! How the CPU keeps keys and values: integers of 14 bits in 16, with an f32 scale for each head of a position.
//!
//! The bytes of f16 and about its precision, but with any range, and products are integer ones: two in an instruction's
//! lane, where `simd128` needs nine instructions to widen four f16. Eight bits are 64 times coarser, too coarse for keys:
//! in Qwen2 their bias makes some dimensions many times as large as the rest, which share a scale with them.

use crate::kernels::simd::{Kernel, Simd, dispatch};
use crate::plan::state::PAGE_TOKENS;

/// Values that lie together for a kernel that reads eight at a time, pairs of the index that it sums over.
pub(crate) const PANEL: usize = 8;

/// The integers of a value lie in `-LARGEST ..= LARGEST`, so that [`EXACT`] products fit 32 bits.
pub(crate) const LARGEST: f32 = 8191.0;

/// As many products of two such integers add up without overflow.
pub(crate) const EXACT: usize = 32;

/// Scales of one head in one page: of the keys, then of the values.
pub(crate) const HEAD_SCALES: usize = 2 * PAGE_TOKENS;

/// Values of a head with the zeros behind them.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(PANEL)
}

/// Integers of one head's keys and values in one page.
pub(crate) fn head_len(head_dim: usize) -> usize {
    2 * PAGE_TOKENS * padded(head_dim)
}

/// One head's keys and values in one page; zeros stand behind `head_dim`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadPage<'a> {
    /// `[slot / PANEL, dim / 2, PANEL, 2]`: pairs of dimensions of eight positions are together.
    pub(crate) keys: &'a [i16],
    /// `[dim / PANEL, slot / 2, PANEL, 2]`: pairs of positions of eight dimensions are together.
    pub(crate) values: &'a [i16],
    pub(crate) key_scales: &'a [f32],
    pub(crate) value_scales: &'a [f32],
}

impl<'a> HeadPage<'a> {
    /// `data` holds [`head_len`] integers, `scales` [`HEAD_SCALES`].
    pub(crate) fn new(data: &'a [i16], scales: &'a [f32]) -> Self {
        let (keys, values) = data.split_at(data.len() / 2);
        let (key_scales, value_scales) = scales.split_at(PAGE_TOKENS);
        Self { keys, values, key_scales, value_scales }
    }
}

/// Where value `column` of item `i` of a sum over `n` items lies: `[column / PANEL, n / 2, PANEL, 2]`.
fn place(n: usize, i: usize, column: usize) -> usize {
    ((column / PANEL * n / 2 + i / 2) * PANEL + column % PANEL) * 2 + i % 2
}

/// Writes one position's key and value to `data` and `scales`, which are as [`HeadPage::new`] takes them.
pub(crate) fn store(data: &mut [i16], scales: &mut [f32], slot: usize, key: &[f32], value: &[f32]) {
    let (keys, values) = data.split_at_mut(data.len() / 2);
    let dim = padded(key.len());
    scales[slot] = quantize(key, |i, q| {
        // Pairs of dimensions are together.
        for (i, pair) in (i..).step_by(2).zip(q.chunks(2)) {
            let at = place(dim, i, slot);
            keys[at..at + pair.len()].copy_from_slice(pair);
        }
    });
    scales[PAGE_TOKENS + slot] = quantize(value, |i, q| {
        for (i, &q) in (i..).zip(q) {
            values[place(PAGE_TOKENS, slot, i)] = q;
        }
    });
}

/// Gives the values' integers to `put`, up to four at a time with the first one's index; returns the scale.
pub(crate) fn quantize(x: &[f32], put: impl FnMut(usize, &[i16])) -> f32 {
    dispatch(Quantize { x, put })
}

struct Quantize<'a, P> {
    x: &'a [f32],
    put: P,
}

impl<P: FnMut(usize, &[i16])> Kernel for Quantize<'_, P> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> f32 {
        let (x, rest) = self.x.as_chunks::<4>();
        let mut last = [0.0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let x = || x.iter().chain(std::iter::once(&last));
        let mut largest = s.splat(0.0);
        // NaN where a value is NaN or infinite, so that it shows in the result; else zero.
        let mut unusual = s.splat(0.0);
        for x in x() {
            let x = s.load(x);
            largest = s.max(largest, s.abs(x));
            unusual = s.add(unusual, s.mul(x, s.splat(0.0)));
        }
        let mut lanes = [0.0; 4];
        s.store(largest, &mut lanes);
        let scale = lanes.iter().fold(0.0f32, |a, &b| if a < b { b } else { a }) / LARGEST;
        // A scale so small that its reciprocal overflows stands for zeros.
        let inverse = s.splat(if scale < f32::MIN_POSITIVE { 0.0 } else { 1.0 / scale });
        for (i, x) in x().enumerate() {
            let mut lanes = [0; 4];
            s.store_i16(s.round(s.mul(s.load(x), inverse)), &mut lanes);
            match self.x.len() - 4 * i {
                0 => {}
                n @ 1..4 => (self.put)(4 * i, &lanes[..n]),
                _ => (self.put)(4 * i, &lanes),
            }
        }
        scale + s.sum(unusual)
    }
}

/// What a head's key or value is after it was stored.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn round(x: &mut [f32]) {
    let mut stored = vec![0; x.len()];
    let scale = quantize(x, |i, q| stored[i..i + q.len()].copy_from_slice(q));
    x.iter_mut().zip(stored).for_each(|(x, q)| *x = f32::from(q) * scale);
}

#[cfg(any(test, feature = "checks"))]
pub(crate) mod tests {
    use super::*;
    use crate::kernels::simd::with_scalar;
    use crate::testing::Rng;

    #[cfg_attr(test, test)]
    pub(crate) fn values_of_any_size_are_held_within_their_heads_resolution() {
        let mut rng = Rng::new(51);
        for size in [1e-30, 1e-4, 1.0, 65504.0, 1e9, 3e38] {
            for n in [1, 3, 4, 7, 64, 128] {
                let x: Vec<f32> = rng.values(n).iter().map(|v| v * size).collect();
                let mut got = x.clone();
                round(&mut got);
                let largest = x.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                for (got, x) in got.iter().zip(&x) {
                    assert!((got - x).abs() <= largest / 16_300.0, "{got}, not {x}, beside {largest}");
                }
                let mut scalar = x.clone();
                with_scalar(|| round(&mut scalar));
                assert_eq!(got, scalar);
            }
        }
        for (x, want) in [([0.0, -0.0], [0.0, 0.0]), ([1e-37, -1e-40], [0.0, 0.0])] {
            let mut got = x;
            round(&mut got);
            assert_eq!(got, want);
        }
    }

    #[cfg_attr(test, test)]
    pub(crate) fn what_is_no_number_shows() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0, 2.0, 3.0, 4.0, bad];
            round(&mut x);
            assert!(x.iter().all(|x| x.is_nan()), "{x:?}");
        }
    }

    #[cfg_attr(test, test)]
    pub(crate) fn a_position_writes_its_own_slot_alone() {
        for dim in [3, 8, 64] {
            let (mut data, mut scales) = (vec![0; head_len(dim)], vec![0.0; HEAD_SCALES]);
            let mut rng = Rng::new(52);
            let (keys, values) = (rng.values(PAGE_TOKENS * dim), rng.values(PAGE_TOKENS * dim));
            // Twice, in different orders: a slot can be written again.
            for slot in (0..PAGE_TOKENS).chain((0..PAGE_TOKENS).rev()) {
                let at = slot * dim..(slot + 1) * dim;
                store(&mut data, &mut scales, slot, &keys[at.clone()], &values[at]);
            }
            let page = HeadPage::new(&data, &scales);
            for slot in 0..PAGE_TOKENS {
                for i in 0..padded(dim) {
                    let key = page.keys[slot / 8 * padded(dim) * 8 + i / 2 * 16 + slot % 8 * 2 + i % 2];
                    let value = page.values[i / 8 * PAGE_TOKENS * 8 + slot / 2 * 16 + i % 8 * 2 + slot % 2];
                    let (key, value) = (f32::from(key), f32::from(value));
                    let want = |of: &[f32]| if i < dim { of[slot * dim + i] } else { 0.0 };
                    assert!((key * page.key_scales[slot] - want(&keys)).abs() < 1e-4);
                    assert!((value * page.value_scales[slot] - want(&values)).abs() < 1e-4);
                }
            }
        }
    }
}
