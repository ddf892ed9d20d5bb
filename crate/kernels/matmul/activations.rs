//! Activations in eight bits: blocks of 32 with an f32 scale, made once for every product that reads the same input.
//! Several lines lie four by four, so that a kernel finds what it multiplies a weight by side by side.

use std::ops::Range;

use crate::error::{Code, Error, Result};
use crate::kernels::simd::{Kernel, Quant, Simd, dispatch};
use crate::kernels::{Lines, SharedLines, check};
use crate::threads::Pool;

/// 32 activations of each of `R` lines, `d[r] * q[..][r]`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Block<const R: usize> {
    /// Words of four columns, in `-127..=127`.
    pub(crate) q: [[[Quant; 4]; R]; 8],
    pub(crate) d: [f32; R],
    /// Minus the sum of the columns in each half.
    pub(crate) less: [[i32; R]; 2],
    /// Minus the sum of all.
    pub(crate) less_all: [i32; R],
    /// `d` times the sum of all.
    pub(crate) sum: [f32; R],
}

impl<const R: usize> Block<R> {
    const ZERO: Self =
        Self { q: [[[0; 4]; R]; 8], d: [0.0; R], less: [[0; R]; 2], less_all: [0; R], sum: [0.0; R] };
}

/// The quantized lines of one input; memory for the largest is kept.
#[derive(Debug, Default)]
pub struct Activations {
    /// What a single line has.
    line: Vec<Block<1>>,
    /// What several have; lines beyond the last hold anything.
    fours: Vec<Block<4>>,
    n: usize,
    /// Blocks a line.
    width: usize,
}

/// The blocks of a single line, or of several.
pub(super) enum View<'a> {
    Line(&'a [Block<1>]),
    Fours(Fours<'a>),
}

/// The blocks of lines, four by four.
#[derive(Clone, Copy)]
pub(super) struct Fours<'a> {
    blocks: &'a [Block<4>],
    width: usize,
}

impl<'a> Fours<'a> {
    pub(super) fn len(self) -> usize {
        self.blocks.len() / self.width.max(1)
    }

    /// Blocks a line.
    pub(super) fn width(self) -> usize {
        self.width
    }

    /// Lines `4 i .. 4 i + 4`.
    pub(super) fn four(self, i: usize) -> &'a [Block<4>] {
        &self.blocks[i * self.width..(i + 1) * self.width]
    }
}

impl Activations {
    /// Room for `lines` of `width` values.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(lines: usize, width: usize) -> Result<Self> {
        let mut new = Self::default();
        let reserved = new.line.try_reserve_exact(width.div_ceil(32));
        reserved.and_then(|()| new.fours.try_reserve_exact(fours(lines) * width.div_ceil(32))).map_err(
            |e| {
                let what = "no memory for quantized activations; choose a smaller model";
                Error::new(Code::OutOfMemory, what).with_cause(e)
            },
        )?;
        Ok(new)
    }

    /// Bytes that [`Activations::new`] takes.
    pub fn bytes_of(lines: usize, width: usize) -> u64 {
        let a_block = size_of::<Block<1>>() + fours(lines) * size_of::<Block<4>>();
        width.div_ceil(32) as u64 * a_block as u64
    }

    pub fn bytes(&self) -> usize {
        size_of::<Block<1>>() * self.line.capacity() + size_of::<Block<4>>() * self.fours.capacity()
    }

    /// Takes new lines, of a multiple of 32 values each.
    ///
    /// # Errors
    /// `internal` where a line is not.
    pub fn quantize(&mut self, x: Lines<'_>, pool: &Pool) -> Result<()> {
        let width = x.width() / 32;
        check(x.width() == 32 * width, "quantize", || format!("a line of {} values", x.width()))?;
        (self.n, self.width) = (x.n(), width);
        // Within the capacity that `new` reserved, for a plan's inputs.
        if x.n() == 1 {
            self.line.resize(width, Block::ZERO);
            let to = SharedLines::packed(&mut self.line, width)?;
            dispatch(Quantize { to, x, fours: 0..1 });
        } else {
            self.fours.resize(fours(x.n()) * width, Block::ZERO);
            let to = SharedLines::packed(&mut self.fours, width)?;
            pool.split(to.n(), LEAST_FOURS, |fours| dispatch(Quantize { to, x, fours }));
        }
        Ok(())
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Blocks a line.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn view(&self) -> View<'_> {
        match self.n {
            1 => View::Line(&self.line),
            _ => View::Fours(Fours { blocks: &self.fours, width: self.width }),
        }
    }
}

/// Fours of lines that hold several; a single line needs none.
fn fours(lines: usize) -> usize {
    if lines > 1 { lines.div_ceil(4) } else { 0 }
}

/// Fours of lines that are worth another thread's attention.
const LEAST_FOURS: usize = 2;

struct Quantize<'a, const R: usize> {
    to: SharedLines<'a, Block<R>>,
    x: Lines<'a>,
    fours: Range<usize>,
}

impl<const R: usize> Kernel for Quantize<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for four in self.fours {
            // SAFETY: the lines are this part's.
            let to = unsafe { self.to.columns(four, 0..self.to.width()) };
            let n = R.min(self.x.n() - R * four);
            // Those that there are not are the last again, in places that nobody reads.
            let x: [&[[f32; 32]]; R] =
                std::array::from_fn(|r| self.x.line(R * four + r.min(n - 1)).as_chunks().0);
            for (i, to) in to.iter_mut().enumerate() {
                for (r, x) in x.iter().enumerate() {
                    quantize_block(s, &x[i], to, r);
                }
            }
        }
    }
}

#[inline(always)]
fn quantize_block<S: Simd, const R: usize>(s: S, x: &[f32; 32], to: &mut Block<R>, r: usize) {
    let x4 = x.as_chunks::<4>().0;
    let mut largest = s.splat(0.0);
    // NaN where an activation is NaN or infinite, so that it shows in the result; else zero.
    let mut unusual = s.splat(0.0);
    for x in x4 {
        let x = s.load(x);
        largest = s.max(largest, s.abs(x));
        unusual = s.add(unusual, s.mul(x, s.splat(0.0)));
    }
    let mut lanes = [0.0; 4];
    s.store(largest, &mut lanes);
    let largest = lanes.iter().fold(0.0f32, |a, &b| if a < b { b } else { a });
    let d = largest / 127.0;
    // A scale so small that its reciprocal overflows stands for zeros.
    let inverse = s.splat(if d < f32::MIN_POSITIVE { 0.0 } else { 1.0 / d });
    let d = d + s.sum(unusual);
    let mut sums = [0; 2];
    let halves = to.q.as_chunks_mut::<4>().0.iter_mut().zip(x4.as_chunks::<4>().0);
    for ((to_q, x4), sum) in halves.zip(&mut sums) {
        let q = x4.each_ref().map(|x| s.round(s.mul(s.load(x), inverse)));
        s.store_quants(q, to_q.each_mut().map(|word| &mut word[r]));
        let mut lanes = [0; 4];
        s.store_i(s.add_i(s.add_i(q[0], q[1]), s.add_i(q[2], q[3])), &mut lanes);
        *sum = lanes.iter().fold(0i32, |a, &b| a.wrapping_add(b));
    }
    to.less[0][r] = sums[0].wrapping_neg();
    to.less[1][r] = sums[1].wrapping_neg();
    let total = sums[0].wrapping_add(sums[1]);
    to.d[r] = d;
    to.less_all[r] = total.wrapping_neg();
    to.sum[r] = d * total as f32;
}

#[cfg(any(test, feature = "checks"))]
impl Activations {
    /// The blocks of a line, each alone.
    pub(crate) fn blocks(&self, line: usize) -> Vec<Block<1>> {
        let alone = |x: &Block<4>, r: usize| Block {
            q: x.q.map(|word| [word[r]]),
            d: [x.d[r]],
            less: x.less.map(|half| [half[r]]),
            less_all: [x.less_all[r]],
            sum: [x.sum[r]],
        };
        match self.view() {
            View::Line(x) => x.to_vec(),
            View::Fours(x) => x.four(line / 4).iter().map(|x| alone(x, line % 4)).collect(),
        }
    }
}
