//! Root-mean-square norm over groups of `weight.len()` values: `out = x / sqrt(mean(x²) + eps) * weight`.

use super::simd::{Kernel, Simd, dispatch, dot};
use super::{Lines, LinesMut, check};
use crate::error::Result;

/// The whole line is one group, or each head is one.
///
/// # Errors
/// `internal` where shapes do not fit.
pub(crate) fn check_shape(x: Lines<'_>, weight: &[f32], out: &LinesMut<'_>) -> Result<()> {
    check(
        x.n() == out.n()
            && x.width() == out.width()
            && !weight.is_empty()
            && x.width().is_multiple_of(weight.len()),
        "rms_norm",
        || {
            format!(
                "[{}, {}] into [{}, {}] by {} weights",
                x.n(),
                x.width(),
                out.n(),
                out.width(),
                weight.len()
            )
        },
    )
}

/// # Errors
/// `internal` where shapes do not fit.
pub fn reference(x: Lines<'_>, weight: &[f32], eps: f32, mut out: LinesMut<'_>) -> Result<()> {
    check_shape(x, weight, &out)?;
    for (r, x) in x.iter().enumerate() {
        let groups = x.chunks_exact(weight.len()).zip(out.line(r).chunks_exact_mut(weight.len()));
        for (x, out) in groups {
            let squares: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let scale = 1.0 / (squares / weight.len() as f64 + f64::from(eps)).sqrt();
            for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
                *out = (f64::from(x) * scale) as f32 * w;
            }
        }
    }
    Ok(())
}

/// [`reference`], as fast as this machine can.
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn forward(x: Lines<'_>, weight: &[f32], eps: f32, out: LinesMut<'_>) -> Result<()> {
    check_shape(x, weight, &out)?;
    dispatch(Forward { x, weight, eps, out });
    Ok(())
}

pub(crate) struct Forward<'a, 'b> {
    pub(crate) x: Lines<'a>,
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) out: LinesMut<'b>,
}

impl Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.weight.len();
        for (r, x) in self.x.iter().enumerate() {
            for (x, out) in x.chunks_exact(n).zip(self.out.line(r).chunks_exact_mut(n)) {
                let scale = 1.0 / (dot(s, x, x) / n as f32 + self.eps).sqrt();
                for ((out, &x), &w) in out.iter_mut().zip(x).zip(self.weight) {
                    *out = x * scale * w;
                }
            }
        }
    }
}
