//! `out = gate * sigmoid(gate) * up`.

use std::ops::Range;

use super::simd::{Kernel, Simd, dispatch, exp};
use super::{Lines, LinesMut, SharedLines, check};
use crate::error::Result;
use crate::threads::Pool;

/// # Errors
/// `internal` where shapes do not fit.
pub(crate) fn check_shape(gate: Lines<'_>, up: Lines<'_>, out: &LinesMut<'_>) -> Result<()> {
    let shapes = [(gate.n(), gate.width()), (up.n(), up.width()), (out.n(), out.width())];
    check(shapes.iter().all(|s| *s == shapes[0]), "silu_mul", || format!("[lines, width] of {shapes:?}"))
}

/// # Errors
/// `internal` where shapes do not fit.
pub fn reference(gate: Lines<'_>, up: Lines<'_>, mut out: LinesMut<'_>) -> Result<()> {
    check_shape(gate, up, &out)?;
    for (r, (gate, up)) in gate.iter().zip(up.iter()).enumerate() {
        for ((out, &g), &u) in out.line(r).iter_mut().zip(gate).zip(up) {
            let g = f64::from(g);
            *out = (g / (1.0 + (-g).exp()) * f64::from(u)) as f32;
        }
    }
    Ok(())
}

/// [`reference`], as fast as this machine can.
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn forward(gate: Lines<'_>, up: Lines<'_>, mut out: LinesMut<'_>, pool: &Pool) -> Result<()> {
    check_shape(gate, up, &out)?;
    let (n, width) = (gate.n(), gate.width());
    let out = SharedLines::new(&mut out);
    // Vectors of four columns; whole ones in every part but the last.
    let fours = width.div_ceil(4);
    pool.split(n * fours, LEAST_FOURS, |part| {
        for line in part.start / fours..part.end.div_ceil(fours) {
            let of_line = |at: usize| (4 * at.saturating_sub(line * fours)).min(width);
            dispatch(Forward { gate, up, out, line, columns: of_line(part.start)..of_line(part.end) });
        }
    });
    Ok(())
}

/// Vectors that are worth another thread's attention: some microseconds of work.
const LEAST_FOURS: usize = 256;

struct Forward<'a> {
    gate: Lines<'a>,
    up: Lines<'a>,
    out: SharedLines<'a>,
    line: usize,
    columns: Range<usize>,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (gate, gate_rest) = self.gate.line(self.line)[self.columns.clone()].as_chunks::<4>();
        let (up, up_rest) = self.up.line(self.line)[self.columns.clone()].as_chunks::<4>();
        // SAFETY: the columns are this part's.
        let out = unsafe { self.out.columns(self.line, self.columns) };
        let (out, out_rest) = out.as_chunks_mut::<4>();
        for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
            four(s, g, u, out);
        }
        if !out_rest.is_empty() {
            let pad = |v: &[f32]| std::array::from_fn(|i| v.get(i).copied().unwrap_or(0.0));
            let mut out = [0.0; 4];
            four(s, &pad(gate_rest), &pad(up_rest), &mut out);
            out_rest.copy_from_slice(&out[..out_rest.len()]);
        }
    }
}

#[inline(always)]
fn four<S: Simd>(s: S, gate: &[f32; 4], up: &[f32; 4], out: &mut [f32; 4]) {
    let g = s.load(gate);
    let one = s.splat(1.0);
    let sigmoid = s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), g))));
    s.store(s.mul(s.mul(g, sigmoid), s.load(up)), out);
}
