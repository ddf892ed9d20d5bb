//! Activations in eight bits: blocks of 32 with an f32 scale, made once for every product that reads the same input.

use std::ops::Range;

use crate::error::{Code, Error, Result};
use crate::kernels::simd::{Kernel, Quant, Simd, dispatch};
use crate::kernels::{Lines, SharedLines, check};
use crate::threads::Pool;

/// 32 activations, `d * q[i]` each.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    /// In `-127..=127`.
    pub(crate) q: [Quant; 32],
    pub(crate) d: f32,
    /// Sums of `q[..16]` and `q[16..]`.
    pub(crate) sums: [i32; 2],
    pub(crate) total: i32,
    /// `d` times the sum of all.
    pub(crate) sum: f32,
}

impl Block {
    const ZERO: Self = Self { q: [0; 32], d: 0.0, sums: [0; 2], total: 0, sum: 0.0 };
}

/// The quantized lines of one input; memory for the largest is kept.
#[derive(Debug, Default)]
pub struct Activations {
    blocks: Vec<Block>,
    /// Blocks a line.
    width: usize,
}

impl Activations {
    /// Room for `lines` of `width` values.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn new(lines: usize, width: usize) -> Result<Self> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(lines * width.div_ceil(32)).map_err(|_| {
            Error::new(Code::OutOfMemory, "no memory for quantized activations; choose a smaller model")
        })?;
        Ok(Self { blocks, width: 0 })
    }

    /// Bytes that [`Activations::new`] takes.
    pub fn bytes_of(lines: usize, width: usize) -> u64 {
        lines as u64 * width.div_ceil(32) as u64 * size_of::<Block>() as u64
    }

    pub fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }

    /// Takes new lines, of a multiple of 32 values each.
    ///
    /// # Errors
    /// `internal` where a line is not.
    pub fn quantize(&mut self, x: Lines<'_>, pool: &Pool) -> Result<()> {
        let width = x.width() / 32;
        check(x.width() == 32 * width, "quantize", || format!("a line of {} values", x.width()))?;
        self.width = width;
        // Within the capacity that `new` reserved, for a plan's inputs.
        self.blocks.resize(x.n() * width, Block::ZERO);
        let to = SharedLines::packed(&mut self.blocks, width)?;
        pool.split(x.n(), LEAST_LINES, |lines| dispatch(Quantize { to, x, lines }));
        Ok(())
    }

    pub(crate) fn n(&self) -> usize {
        self.blocks.len() / self.width.max(1)
    }

    /// Blocks a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn line(&self, i: usize) -> &[Block] {
        &self.blocks[i * self.width..(i + 1) * self.width]
    }
}

/// Lines that are worth another thread's attention.
const LEAST_LINES: usize = 8;

struct Quantize<'a> {
    to: SharedLines<'a, Block>,
    x: Lines<'a>,
    lines: Range<usize>,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for line in self.lines {
            // SAFETY: the line is one of this part's.
            let to = unsafe { self.to.columns(line, 0..self.to.width()) };
            for (x, to) in self.x.line(line).as_chunks::<32>().0.iter().zip(to) {
                quantize_block(s, x, to);
            }
        }
    }
}

#[inline(always)]
fn quantize_block<S: Simd>(s: S, x: &[f32; 32], to: &mut Block) {
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
    let inverse = if d < f32::MIN_POSITIVE { 0.0 } else { 1.0 / d };
    to.d = d + s.sum(unusual);
    for (half, sum) in to.sums.iter_mut().enumerate() {
        let mut total = s.splat_i(0);
        let quarters = x4.iter().zip(to.q.as_chunks_mut::<4>().0).skip(4 * half).take(4);
        for (x, to) in quarters {
            let q = s.round(s.mul(s.load(x), s.splat(inverse)));
            total = s.add_i(total, q);
            let mut lanes = [0; 4];
            s.store_i(q, &mut lanes);
            *to = lanes.map(|q| q as Quant);
        }
        let mut lanes = [0; 4];
        s.store_i(total, &mut lanes);
        *sum = lanes.iter().fold(0, |a, &b| a.wrapping_add(b));
    }
    to.total = to.sums[0].wrapping_add(to.sums[1]);
    to.sum = to.d * to.total as f32;
}
