//! Products of quantized weights and quantized activations: integer dots, scaled once every 32 columns.
//!
//! One line reads each tile once and multiplies from registers. Several lines unpack a panel (a stretch of columns of
//! four rows) and multiply it by four lines at a time. Sums run over the columns in the same order either way, so a
//! line's result does not depend on how many there are.

use std::array::{from_fn, from_ref};
use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;

use super::Product;
use super::activations::{Activations, Block, Fours, View};
use crate::kernels::simd::{Kernel, Piece, Quant, Simd, words_in_16_bits};
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
        match self.x.view() {
            View::Line(x) => self.one_line(s, x),
            View::Fours(x) => {
                for first in (0..x.len()).step_by(LINES / 4) {
                    self.lines(s.lines(), first..x.len().min(first + LINES / 4), x);
                }
            }
        }
    }
}

impl<T: Tile> Quantized<'_, T> {
    #[inline(always)]
    fn one_line<S: Simd>(&mut self, s: S, x: &[Block<1>]) {
        // Hidden from the compiler where there are many sums, as in `lines`.
        let words = if T::PHASES <= 2 { 4 } else { black_box(4) };
        for t in self.product.stripes() {
            let mut sum = self.product.initial(s, 0, t);
            let tiles = self.product.tiles::<T>(t);
            let blocks = x.chunks_exact(T::ELEMS / 32);
            for (tile, x) in tiles.chunks_exact(TILE_ROWS * T::BYTES).zip(blocks) {
                let head = T::head(s, tile);
                // One after the other as constants: which byte of the head is a turn's need not be found out each time.
                each!(TURN in 0 1 2 3 4 5 6 7 => if TURN < T::ELEMS / 32 / T::PHASES {
                    let x = &x[TURN * T::PHASES..(TURN + 1) * T::PHASES];
                    add_turn::<S, T>(s, tile, head, TURN, words, x, &mut sum);
                });
            }
            self.product.store(s, 0, t, sum);
        }
    }

    /// Fours of lines.
    #[inline(always)]
    fn lines<S: Simd>(&mut self, s: S, fours: Range<usize>, x: Fours<'_>) {
        // Hidden from the compiler, which else unrolls the innermost loop and puts off its additions to the end: many
        // more values than there are registers, and half the speed in WebAssembly.
        let columns = black_box(8 / halves::<T>());
        let zero = s.splat(0.0);
        let empty = s.unsigned(s.load_b(&[0; 16]));
        let empty = Unpacked::<S> { w: [empty; 8], scale: [zero; 2], shift: [zero; 2] };
        let mut panels = [[empty; PANEL]; 2];
        let stripes = self.product.stripes();
        for first in (0..x.width()).step_by(PANEL) {
            let groups = first..x.width().min(first + PANEL);
            for t in stripes.clone().step_by(if S::PAIRS_OF_STRIPES { 2 } else { 1 }) {
                let pair = S::PAIRS_OF_STRIPES && t + 1 < stripes.end;
                for (t, panel) in (t..t + 1 + usize::from(pair)).zip(&mut panels) {
                    self.unpack_panel(s, t, groups.clone(), panel);
                }
                for four in fours.clone() {
                    let x = &x.four(four)[groups.clone()];
                    let (product, line, first, format) =
                        (&mut self.product, 4 * four, first == 0, PhantomData::<T>);
                    if pair {
                        let panels = &panels;
                        s.apart(PanelLines { product, panels, columns, t, line, x, first, format });
                    } else {
                        let [panel, _] = &panels;
                        let panels = from_ref(panel);
                        s.apart(PanelLines { product, panels, columns, t, line, x, first, format });
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
}

/// Lines `line .. line + 4`, as far as there are so many, times panels of stripes `t .. t + P`.
struct PanelLines<'a, 'b, S: Simd, T, const P: usize> {
    product: &'a mut Product<'b>,
    /// Behind one pointer: two stored one by one would be loaded as one, which has to wait for the stores.
    panels: &'a [[Unpacked<S>; PANEL]; P],
    /// 8 / [`halves`], see [`Quantized::lines`].
    columns: usize,
    t: usize,
    line: usize,
    /// What the lines have in the panels' columns.
    x: &'a [Block<4>],
    /// Whether these are the first columns.
    first: bool,
    format: PhantomData<T>,
}

impl<S: Simd, T: Tile, const P: usize> Piece<S> for PanelLines<'_, '_, S, T, P> {
    #[inline(always)]
    fn run(self, s: S) {
        let Self { product, t, line, panels, .. } = self;
        // The bound shows the compiler that no index is out of range.
        let x = &self.x[..self.x.len().min(PANEL)];
        let n = product.lines();
        let mut sums: [[S::F; 4]; P] = from_fn(|p| {
            from_fn(|r| match (line + r < n, self.first) {
                (false, _) => s.splat(0.0),
                (true, true) => product.initial(s, line + r, t + p),
                (true, false) => product.load(s, line + r, t + p),
            })
        });
        // In memory, and so that the compiler has to leave them there: registers are for the dots.
        let in_memory = black_box(&raw mut sums);
        for (g, x) in x.iter().enumerate() {
            // SAFETY: nobody else has a pointer to the sums.
            unsafe {
                add_group::<S, T, P, 4>(s, panels.each_ref().map(|p| &p[g]), self.columns, x, in_memory)
            };
        }
        for (p, sums) in sums.into_iter().enumerate() {
            for (line, sum) in (line..n).zip(sums) {
                product.store(s, line, t + p, sum);
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

/// One sum a row.
#[inline(always)]
fn rows<S: Simd, T: Tile>(s: S, sum: S::Sum) -> S::I {
    if T::SIGNED { s.rows_signed(sum) } else { s.rows_unsigned(sum) }
}

/// Where the sums of a group's products with line `r` start, so that they end without [`Tile::OFFSET`].
#[inline(always)]
fn start<S: Simd, T: Tile, const R: usize>(s: S, x: &Block<R>, r: usize, half: usize) -> S::Sum {
    // The offset is a power of two, if it is not zero.
    const { assert!(T::OFFSET == 0 || T::OFFSET.count_ones() == 1) };
    let less = s.splat_i(if T::HALF_GROUPS { x.less[half][r] } else { x.less_all[r] });
    if T::SIGNED {
        s.start_signed(less)
    } else if T::OFFSET == 0 {
        s.start_unsigned(s.splat_i(0))
    } else {
        s.start_unsigned(s.shl_i(less, T::OFFSET.trailing_zeros()))
    }
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
    x: &[Block<1>],
    sum: &mut S::F,
) {
    let mut dots: [[S::Sum; 2]; MAX_PHASES] =
        from_fn(|phase| from_fn(|half| start::<S, T, 1>(s, &x[phase.min(T::PHASES - 1)], 0, half)));
    macro_rules! add_columns {
        ($half:expr, $i:expr, $sum:expr, $word:expr) => {
            each!(PHASE in 0 1 2 3 => if PHASE < T::PHASES {
                let w = weights::<S, T>(s, T::q::<S, PHASE, { $half }>(s, tile, turn, $i));
                let x = &x[PHASE].q[4 * $half + $i][0];
                if settles::<T>($word) {
                    dots[PHASE][$sum] = s.settle(dots[PHASE][$sum]);
                }
                dots[PHASE][$sum] = dot::<S, T>(s, dots[PHASE][$sum], w, x);
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
            *sum = add_scaled::<S, T, 1>(s, *sum, rows::<S, T>(s, dot), scale, shift, &x[PHASE], (0, half));
        }
    });
}

/// Adds a group of `P` times four rows times `R` lines. `columns` is 8 / [`halves`], see [`Quantized::lines`].
///
/// # Safety
/// `sums` may be read and written.
#[inline(always)]
unsafe fn add_group<S: Simd, T: Tile, const P: usize, const R: usize>(
    s: S,
    groups: [&Unpacked<S>; P],
    columns: usize,
    x: &Block<R>,
    sums: *mut [[S::F; R]; P],
) {
    for half in 0..halves::<T>() {
        let starts: [S::Sum; R] = from_fn(|r| start::<S, T, R>(s, x, r, half));
        let mut dots = [starts; P];
        // The bound shows the compiler that no index is out of range.
        for i in 0..columns.min(8 / halves::<T>()) {
            let word = 8 / halves::<T>() * half + i;
            let w = groups.map(|group| group.w[word]);
            for (r, q) in x.q[word].iter().enumerate() {
                for (dots, w) in dots.iter_mut().zip(w) {
                    if settles::<T>(i) {
                        dots[r] = s.settle(dots[r]);
                    }
                    dots[r] = dot::<S, T>(s, dots[r], w, q);
                }
            }
        }
        for (p, (dots, group)) in dots.into_iter().zip(groups).enumerate() {
            let (scale, shift) = (group.scale[half], group.shift[half]);
            for (r, dot) in dots.into_iter().enumerate() {
                // SAFETY: the caller says so, and the indices are within the array's.
                let sum = unsafe { &raw mut (*sums)[p][r] };
                // SAFETY: as above. Volatile where there are many: else the compiler carries them over to the next group in
                // registers that there are not, which costs a second copy in memory.
                let before = unsafe { if S::SUMS_IN_MEMORY && P > 1 { sum.read_volatile() } else { *sum } };
                let after =
                    add_scaled::<S, T, R>(s, before, rows::<S, T>(s, dot), scale, shift, x, (r, half));
                // SAFETY: as above.
                unsafe { sum.write(after) };
            }
        }
    }
}

/// `sum + scale * d * dot + shift * d * Σq` of a group or its half and line `r`.
#[inline(always)]
fn add_scaled<S: Simd, T: Tile, const R: usize>(
    s: S,
    sum: S::F,
    dot: S::I,
    scale: S::F,
    shift: S::F,
    x: &Block<R>,
    (r, half): (usize, usize),
) -> S::F {
    let d = s.splat(x.d[r]);
    let sum = s.add(sum, s.mul(s.to_f(dot), s.mul(scale, d)));
    if !T::SHIFTED {
        sum
    } else if T::HALF_GROUPS {
        s.sub(sum, s.mul(shift, s.mul(d, s.to_f(s.splat_i(x.less[half][r])))))
    } else {
        s.add(sum, s.mul(shift, s.splat(x.sum[r])))
    }
}
