//! Products of quantized weights and quantized activations: integer dots, scaled once every 32 columns.
//!
//! One line reads each tile once and multiplies from registers. Several lines unpack a panel (a stretch of columns of
//! four rows) and multiply it by four lines at a time. Sums run over the columns in the same order either way, so a
//! line's result does not depend on how many there are.

use std::array::from_fn;
use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;

use super::Product;
use super::activations::{Activations, Block};
use crate::kernels::simd::{Kernel, Quant, Simd, words_in_16_bits};
use crate::quant::tile::{TILE_ROWS, Tile};

/// Groups of a panel: small enough for the first-level cache.
const PANEL: usize = 32;

/// Lines that share a pass over the weights: their part of a panel's columns stays in the second-level cache.
const LINES: usize = 128;

pub(super) struct Quantized<'a, T> {
    pub(super) product: Product<'a>,
    pub(super) x: &'a Activations,
    pub(super) format: PhantomData<T>,
}

/// 32 columns of four rows, ready to be multiplied.
#[derive(Clone, Copy)]
struct Unpacked<S: Simd> {
    w: [S::W; 8],
    scale: [S::F; 2],
    shift: [S::F; 2],
    /// Sums of the weights, see [`Simd::rows_signed`].
    weights: [S::I; 2],
}

/// Runs `$body` with each of these numbers as the constant `$i`.
macro_rules! each {
    ($i:ident in $($value:literal)* => $body:expr) => {
        $({
            const $i: usize = $value;
            $body;
        })*
    };
}

/// Phases that a format may have; those that it has not cost nothing.
const MAX_PHASES: usize = 4;

impl<T: Tile> Kernel for Quantized<'_, T> {
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

impl<T: Tile> Quantized<'_, T> {
    #[inline(always)]
    fn one_line<S: Simd>(&mut self, s: S) {
        let x = self.x.line(0);
        // Hidden from the compiler where there are many sums, as in `lines`.
        let words = if T::PHASES == 1 { 4 } else { black_box(4) };
        for t in self.product.stripes() {
            let mut sum = self.product.initial(s, 0, t);
            let tiles = self.product.tiles::<T>(t);
            let blocks = x.chunks_exact(T::ELEMS / 32);
            for (tile, x) in tiles.chunks_exact(TILE_ROWS * T::BYTES).zip(blocks) {
                let head = T::head(s, tile);
                for (turn, x) in x.chunks_exact(T::PHASES).enumerate() {
                    add_turn::<S, T>(s, tile, head, turn, words, x, &mut sum);
                }
            }
            self.product.store(s, 0, t, sum);
        }
    }

    #[inline(always)]
    fn lines<S: Simd>(&mut self, s: S, lines: Range<usize>) {
        let width = self.x.width();
        // Hidden from the compiler, which else unrolls the innermost loop and puts off its additions to the end: many
        // more values than there are registers, and half the speed in WebAssembly.
        let columns = black_box(8 / halves::<T>());
        let zero = s.splat(0.0);
        let empty = s.unsigned(s.load_b(&[0; 16]));
        let empty =
            Unpacked::<S> { w: [empty; 8], scale: [zero; 2], shift: [zero; 2], weights: [s.splat_i(0); 2] };
        let mut panels = [[empty; PANEL]; 2];
        let stripes = self.product.stripes();
        for first in (0..width).step_by(PANEL) {
            let groups = first..width.min(first + PANEL);
            for t in stripes.clone().step_by(if S::PAIRS_OF_STRIPES { 2 } else { 1 }) {
                let pair = S::PAIRS_OF_STRIPES && t + 1 < stripes.end;
                for (t, panel) in (t..t + 1 + usize::from(pair)).zip(&mut panels) {
                    self.unpack_panel(s, t, groups.clone(), panel);
                }
                let panels = panels.each_ref().map(|panel| &panel[..groups.len()]);
                for line in lines.clone().step_by(4) {
                    match (pair, lines.end - line) {
                        (true, 4..) => self.panel_lines::<S, 2, 4>(s, panels, columns, t, first, line),
                        (false, 4..) => self.panel_lines::<S, 1, 4>(s, [panels[0]], columns, t, first, line),
                        _ => {
                            for line in line..lines.end {
                                self.panel_lines::<S, 1, 1>(s, [panels[0]], columns, t, first, line);
                                if pair {
                                    self.panel_lines::<S, 1, 1>(s, [panels[1]], columns, t + 1, first, line);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Makes groups of stripe `t` ready to be multiplied.
    #[inline(always)]
    fn unpack_panel<S: Simd>(&self, s: S, t: usize, groups: Range<usize>, panel: &mut [Unpacked<S>]) {
        let bytes = TILE_ROWS * T::BYTES;
        let tiles = self.product.tiles::<T>(t);
        let tiles = &tiles[groups.start * 32 / T::ELEMS * bytes..groups.end * 32 / T::ELEMS * bytes];
        for (tile, panel) in tiles.chunks_exact(bytes).zip(panel.chunks_exact_mut(T::ELEMS / 32)) {
            let head = T::head(s, tile);
            for (turn, panel) in panel.chunks_exact_mut(T::PHASES).enumerate() {
                each!(PHASE in 0 1 2 3 => if PHASE < T::PHASES {
                    unpack::<S, T, PHASE>(s, tile, head, turn, &mut panel[PHASE]);
                });
            }
        }
    }

    /// Lines `line .. line + R` times panels that start at group `first` of stripes `t .. t + P`.
    #[inline(always)]
    fn panel_lines<S: Simd, const P: usize, const R: usize>(
        &mut self,
        s: S,
        panels: [&[Unpacked<S>]; P],
        columns: usize,
        t: usize,
        first: usize,
        line: usize,
    ) {
        let n = panels[0].len();
        let panels = panels.map(|panel| &panel[..n]);
        let x: [&[Block]; R] = from_fn(|r| &self.x.line(line + r)[first..first + n]);
        let mut sums: [[S::F; R]; P] = from_fn(|p| {
            from_fn(|r| {
                let (line, t) = (line + r, t + p);
                if first == 0 { self.product.initial(s, line, t) } else { self.product.load(s, line, t) }
            })
        });
        for g in 0..n {
            add_group::<S, T, P, R>(s, panels.map(|p| &p[g]), columns, x.map(|x| &x[g]), &mut sums);
        }
        for (p, sums) in sums.into_iter().enumerate() {
            for (r, sum) in sums.into_iter().enumerate() {
                self.product.store(s, line + r, t + p, sum);
            }
        }
    }
}

/// Group `PHASES * turn + PHASE` of a tile.
#[inline(always)]
fn unpack<S: Simd, T: Tile, const PHASE: usize>(
    s: S,
    tile: &[u8],
    head: T::Head<S>,
    turn: usize,
    to: &mut Unpacked<S>,
) {
    for i in 0..4 {
        to.w[i] = weights::<S, T>(s, T::q::<S, PHASE, 0>(s, tile, turn, i));
        to.w[4 + i] = weights::<S, T>(s, T::q::<S, PHASE, 1>(s, tile, turn, i));
    }
    if T::SIGNED {
        to.weights = [s.splat_i(0); 2];
        for (i, w) in to.w.into_iter().enumerate() {
            let sum = &mut to.weights[if T::HALF_GROUPS { i / 4 } else { 0 }];
            *sum = s.add_weights(*sum, w);
        }
    }
    for half in 0..halves::<T>() {
        let group = T::PHASES * turn + PHASE;
        (to.scale[half], to.shift[half]) = T::scale_shift(s, tile, head, group, half);
    }
}

#[inline(always)]
fn weights<S: Simd, T: Tile>(s: S, q: S::B) -> S::W {
    if T::SIGNED { s.signed(q) } else { s.unsigned(q) }
}

#[inline(always)]
fn dot<S: Simd, T: Tile>(s: S, sum: S::Sum, w: S::W, x: &[Quant; 4]) -> S::Sum {
    if T::SIGNED { s.dot_signed(sum, w, x) } else { s.dot_unsigned(sum, w, x) }
}

/// One sum a row; `weights` are the sums of the weights, where those are signed.
#[inline(always)]
fn rows<S: Simd, T: Tile>(s: S, sum: S::Sum, weights: S::I) -> S::I {
    if T::SIGNED { s.rows_signed(sum, weights) } else { s.rows_unsigned(sum) }
}

/// Whether sums over a group's words have to be settled before word `i`.
#[inline(always)]
fn settles<T: Tile>(i: usize) -> bool {
    !T::SIGNED && words_in_16_bits(T::MAX) < 8 && i > 0 && i.is_multiple_of(words_in_16_bits(T::MAX))
}

/// Parts of a group that have scales of their own.
const fn halves<T: Tile>() -> usize {
    if T::HALF_GROUPS { 2 } else { 1 }
}

/// Adds one turn's groups times one line; `words` is 4. All phases take from a byte what is theirs while it is at hand.
#[inline(always)]
fn add_turn<S: Simd, T: Tile>(
    s: S,
    tile: &[u8],
    head: T::Head<S>,
    turn: usize,
    words: usize,
    x: &[Block],
    sum: &mut S::F,
) {
    let mut dots = [[s.zero(); 2]; MAX_PHASES];
    let mut sums = [[s.splat_i(0); 2]; MAX_PHASES];
    macro_rules! add_columns {
        ($half:expr, $i:expr, $sum:expr, $word:expr) => {
            each!(PHASE in 0 1 2 3 => if PHASE < T::PHASES {
                let w = weights::<S, T>(s, T::q::<S, PHASE, { $half }>(s, tile, turn, $i));
                let x = &x[PHASE].q.as_chunks::<4>().0[4 * $half + $i];
                if settles::<T>($word) {
                    dots[PHASE][$sum] = s.settle(dots[PHASE][$sum]);
                }
                dots[PHASE][$sum] = dot::<S, T>(s, dots[PHASE][$sum], w, x);
                if T::SIGNED {
                    sums[PHASE][$sum] = s.add_weights(sums[PHASE][$sum], w);
                }
            })
        };
    }
    // Halves with scales of their own come one after the other: fewer sums at a time. The mask shows the compiler that
    // no index is out of range.
    for i in (0..words).map(|i| i & 3) {
        add_columns!(0, i, 0, if T::HALF_GROUPS { i } else { 2 * i });
        if !T::HALF_GROUPS {
            add_columns!(1, i, 0, 2 * i + 1);
        }
    }
    if T::HALF_GROUPS {
        for i in (0..words).map(|i| i & 3) {
            add_columns!(1, i, 1, i);
        }
    }
    each!(PHASE in 0 1 2 3 => if PHASE < T::PHASES {
        for (half, dot) in dots[PHASE].into_iter().enumerate().take(halves::<T>()) {
            let (scale, shift) = T::scale_shift(s, tile, head, T::PHASES * turn + PHASE, half);
            let dot = rows::<S, T>(s, dot, sums[PHASE][half]);
            *sum = add_scaled::<S, T>(s, *sum, dot, scale, shift, &x[PHASE], half);
        }
    });
}

/// Adds a group of `P` times four rows times `R` lines. `columns` is 8 / [`halves`], see [`Quantized::lines`].
#[inline(always)]
fn add_group<S: Simd, T: Tile, const P: usize, const R: usize>(
    s: S,
    groups: [&Unpacked<S>; P],
    columns: usize,
    x: [&Block; R],
    sums: &mut [[S::F; R]; P],
) {
    for half in 0..halves::<T>() {
        let w: [&[S::W]; P] = groups.map(|group| &group.w[half * columns..][..columns]);
        let x4: [&[[Quant; 4]]; R] = x.map(|x| &x.q.as_chunks::<4>().0[half * columns..][..columns]);
        let mut dots = [[s.zero(); R]; P];
        for i in 0..columns {
            let w = w.map(|w| w[i]);
            for (r, x) in x4.into_iter().enumerate() {
                for (dots, w) in dots.iter_mut().zip(w) {
                    if settles::<T>(i) {
                        dots[r] = s.settle(dots[r]);
                    }
                    dots[r] = dot::<S, T>(s, dots[r], w, &x[i]);
                }
            }
        }
        for ((sums, dots), group) in sums.iter_mut().zip(dots).zip(groups) {
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                let dot = rows::<S, T>(s, dot, group.weights[half]);
                *sum = add_scaled::<S, T>(s, *sum, dot, group.scale[half], group.shift[half], x, half);
            }
        }
    }
}

/// `sum + scale * d * (dot - OFFSET * Σq) + shift * d * Σq` of a group or its half.
#[inline(always)]
fn add_scaled<S: Simd, T: Tile>(
    s: S,
    sum: S::F,
    dot: S::I,
    scale: S::F,
    shift: S::F,
    x: &Block,
    half: usize,
) -> S::F {
    let quants = if T::HALF_GROUPS { x.sums[half] } else { x.total };
    // The offset is a power of two, if it is not zero.
    const { assert!(T::OFFSET == 0 || T::OFFSET.count_ones() == 1) };
    let offset = |quants| s.shl_i(s.splat_i(quants), T::OFFSET.trailing_zeros());
    let dot = if T::OFFSET == 0 { dot } else { s.sub_i(dot, offset(quants)) };
    let sum = s.add(sum, s.mul(s.to_f(dot), s.mul(scale, s.splat(x.d))));
    if !T::SHIFTED {
        return sum;
    }
    let total = if T::HALF_GROUPS { x.d * quants as f32 } else { x.sum };
    s.add(sum, s.mul(shift, s.splat(total)))
}
