//! Rotary embedding, half-split ("NEOX") pairs: values `i` and `i + n` of a head turn by `position * freqs[i]`, where
//! `n = freqs.len()`; values from `2 n` on stay.

use super::{LinesMut, check};
use crate::error::Result;
use crate::plan::Rope;

/// # Errors
/// `internal` where shapes do not fit.
pub(crate) fn check_shape(rope: &Rope, positions: usize, x: &LinesMut<'_>, head_dim: usize) -> Result<()> {
    check(
        positions == x.n()
            && head_dim > 0
            && x.width().is_multiple_of(head_dim)
            && 2 * rope.freqs.len() <= head_dim,
        "rope",
        || {
            format!(
                "{positions} positions, [{}, {}], heads of {head_dim}, {} frequencies",
                x.n(),
                x.width(),
                rope.freqs.len()
            )
        },
    )
}

/// Cosines and sines of one position, `freqs.len()` each: the angle and its functions in f64, where large positions
/// stay exact, then f32.
///
/// # Panics
/// Where `cos` or `sin` is shorter than `rope.freqs`.
pub fn cos_sin(rope: &Rope, position: u32, cos: &mut [f32], sin: &mut [f32]) {
    for (i, freq) in rope.freqs.iter().enumerate() {
        let (s, c) = (f64::from(position) * freq).sin_cos();
        cos[i] = c as f32 * rope.scale;
        sin[i] = s as f32 * rope.scale;
    }
}

/// Rotates in place; `positions` holds the position of each line.
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn reference(rope: &Rope, positions: &[u32], head_dim: usize, mut x: LinesMut<'_>) -> Result<()> {
    check_shape(rope, positions.len(), &x, head_dim)?;
    let n = rope.freqs.len();
    let (mut cos, mut sin) = (vec![0.0; n], vec![0.0; n]);
    for (r, &position) in positions.iter().enumerate() {
        cos_sin(rope, position, &mut cos, &mut sin);
        for head in x.line(r).chunks_exact_mut(head_dim) {
            for i in 0..n {
                let (a, b) = (head[i], head[i + n]);
                head[i] = a * cos[i] - b * sin[i];
                head[i + n] = a * sin[i] + b * cos[i];
            }
        }
    }
    Ok(())
}

/// [`reference`] from tables of every line's cosines and sines, `[lines, freqs.len()]` each, made by [`cos_sin`].
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn forward(rope: &Rope, cos: &[f32], sin: &[f32], head_dim: usize, mut x: LinesMut<'_>) -> Result<()> {
    let n = rope.freqs.len();
    check_shape(rope, x.n(), &x, head_dim)?;
    check(cos.len() == x.n() * n && sin.len() == cos.len(), "rope", || {
        format!("{} cosines for {} lines of {n}", cos.len(), x.n())
    })?;
    for r in 0..x.n() {
        let (cos, sin) = (&cos[r * n..][..n], &sin[r * n..][..n]);
        for head in x.line(r).chunks_exact_mut(head_dim) {
            let (first, second) = head.split_at_mut(n);
            // Plain loops over slices of one length: the compiler makes vectors of them.
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
    Ok(())
}
