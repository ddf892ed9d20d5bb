//! Root-mean-square norm over groups of `weight.len()` values: `out = x / sqrt(mean(x²) + eps) * weight`.

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
