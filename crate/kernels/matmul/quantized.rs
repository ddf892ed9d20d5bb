//! Products of quantized weights and quantized activations: integer dots, scaled once every 32 columns.
//!
//! One line reads each tile once and multiplies from registers. Several lines unpack a panel (a stretch of columns of
//! four rows) and multiply it by four lines at a time. Sums run over the columns in the same order either way, so a
//! line's result does not depend on how many there are.

use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::Range;

use super::Product;
use super::activations::{Activations, Block};
use crate::kernels::simd::{Kernel, Simd};
use crate::quant::tile::{Group, TILE_ROWS, Tile};

/// Groups of a panel: small enough for the first-level cache.
const PANEL: usize = 32;

/// Lines that share a pass over the weights: their part of a panel's columns stays in the second-level cache.
const LINES: usize = 128;

pub(super) struct Quantized<'a, 'b, T> {
    pub(super) product: Product<'a, 'b>,
    pub(super) x: &'a Activations,
    pub(super) format: PhantomData<T>,
}

/// 32 columns of four rows, ready to be multiplied.
#[derive(Clone, Copy)]
struct Unpacked<S: Simd> {
    w: [S::W; 8],
    scale: [S::F; 2],
    shift: [S::F; 2],
}

/// Runs `$body` with each group of a tile as the constant `$g`.
macro_rules! each_group {
    ($tile:ty, $g:ident => $body:expr) => {
        each_group!(@ $tile, $g, $body, 0, 1, 2, 3, 4, 5, 6, 7)
    };
    (@ $tile:ty, $g:ident, $body:expr, $($n:literal),*) => {
        $(if 32 * $n < <$tile>::ELEMS {
            const $g: usize = $n;
            $body;
        })*
    };
}

impl<T: Tile> Kernel for Quantized<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.x.n();
        if n == 1 {
            self.one_line(s);
            return;
        }
        for first in (0..n).step_by(LINES) {
            self.lines(s, first..n.min(first + LINES));
        }
    }
}

impl<T: Tile> Quantized<'_, '_, T> {
    #[inline(always)]
    fn one_line<S: Simd>(&mut self, s: S) {
        let x = self.x.line(0);
        let stripe = self.product.stripe::<T>();
        for (t, tiles) in self.product.tiles.chunks_exact(stripe).enumerate() {
            let mut sum = [self.product.initial(s, 0, t)];
            let blocks = x.chunks_exact(T::ELEMS / 32);
            for (tile, x) in tiles.chunks_exact(TILE_ROWS * T::BYTES).zip(blocks) {
                let head = T::head(s, tile);
                each_group!(T, G => {
                    let group = unpack::<S, T>(s, T::group::<S, G>(s, tile, head));
                    add_group::<S, T, 1>(s, &group, [&x[G]], &mut sum);
                });
            }
            self.product.store(s, 0, t, sum[0]);
        }
    }

    #[inline(always)]
    fn lines<S: Simd>(&mut self, s: S, lines: Range<usize>) {
        let width = self.x.width();
        let stripe = self.product.stripe::<T>();
        let zero = s.splat(0.0);
        let empty = s.unsigned(s.load_b(&[0; 16]));
        let mut panel = [Unpacked::<S> { w: [empty; 8], scale: [zero; 2], shift: [zero; 2] }; PANEL];
        for first in (0..width).step_by(PANEL) {
            let groups = first..width.min(first + PANEL);
            for (t, tiles) in self.product.tiles.chunks_exact(stripe).enumerate() {
                let bytes = TILE_ROWS * T::BYTES;
                let tiles = &tiles[first * 32 / T::ELEMS * bytes..groups.end * 32 / T::ELEMS * bytes];
                let panel = &mut panel[..groups.len()];
                let unpacked = panel.chunks_exact_mut(T::ELEMS / 32);
                for (tile, panel) in tiles.chunks_exact(bytes).zip(unpacked) {
                    let head = T::head(s, tile);
                    each_group!(T, G => panel[G] = unpack::<S, T>(s, T::group::<S, G>(s, tile, head)));
                }
                let mut line = lines.start;
                while line + 4 <= lines.end {
                    self.panel_lines::<S, 4>(s, panel, t, first, line);
                    line += 4;
                }
                while line < lines.end {
                    self.panel_lines::<S, 1>(s, panel, t, first, line);
                    line += 1;
                }
            }
        }
    }

    /// Lines `line .. line + R` times a panel that starts at group `first` of stripe `t`.
    #[inline(always)]
    fn panel_lines<S: Simd, const R: usize>(
        &mut self,
        s: S,
        panel: &[Unpacked<S>],
        t: usize,
        first: usize,
        line: usize,
    ) {
        let x: [&[Block]; R] = from_fn(|r| &self.x.line(line + r)[first..first + panel.len()]);
        let mut sums: [S::F; R] = from_fn(|r| {
            if first == 0 { self.product.initial(s, line + r, t) } else { self.product.load(s, line + r, t) }
        });
        for (g, group) in panel.iter().enumerate() {
            add_group::<S, T, R>(s, group, from_fn(|r| &x[r][g]), &mut sums);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            self.product.store(s, line + r, t, sum);
        }
    }
}

#[inline(always)]
fn unpack<S: Simd, T: Tile>(s: S, group: Group<S>) -> Unpacked<S> {
    let w = group.q.map(|q| if T::SIGNED { s.signed(q) } else { s.unsigned(q) });
    Unpacked { w, scale: group.scale, shift: group.shift }
}

/// Adds 32 columns of four rows times `R` lines.
#[inline(always)]
fn add_group<S: Simd, T: Tile, const R: usize>(
    s: S,
    group: &Unpacked<S>,
    x: [&Block; R],
    sums: &mut [S::F; R],
) {
    let n_halves = if T::HALF_GROUPS { 2 } else { 1 };
    for half in 0..n_halves {
        let n = 8 / n_halves;
        let mut dots = [s.zero(); R];
        for (i, w) in group.w.iter().enumerate().skip(half * n).take(n) {
            for (dot, x) in dots.iter_mut().zip(x) {
                let x = &x.q.as_chunks::<4>().0[i];
                *dot = if T::SIGNED { s.dot_signed(*dot, *w, x) } else { s.dot_unsigned(*dot, *w, x) };
            }
        }
        for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
            let quants = if T::HALF_GROUPS { x.sums[half] } else { x.sums[0] + x.sums[1] };
            let mut dot = s.rows(dot);
            if T::OFFSET != 0 {
                dot = s.add_i(dot, s.splat_i(-T::OFFSET * quants));
            }
            let scale = s.mul(group.scale[half], s.splat(x.d));
            *sum = s.add(*sum, s.mul(s.to_f(dot), scale));
            if T::SHIFTED {
                let total = if T::HALF_GROUPS { x.d * quants as f32 } else { x.sum };
                *sum = s.add(*sum, s.mul(group.shift[half], s.splat(total)));
            }
        }
    }
}
