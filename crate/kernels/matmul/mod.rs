//! `out[r] = weight · x[r] (+ bias)`, added to what `out` holds where `accumulate`.

mod activations;
mod float;
mod matrix;
mod quantized;

#[cfg(any(test, feature = "checks"))]
pub(crate) mod tests;

/// Values that share a scale where activations are rounded to bytes.
const ROUNDED: usize = 32;

/// Rounds activations as kernels do that multiply bytes: each group of 32 to 127 steps of its largest magnitude each way.
pub(crate) fn round_to_bytes(x: &mut [f32]) {
    for group in x.chunks_mut(ROUNDED) {
        let largest = group.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let (scale, inverse) = if largest < 1e-30 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };
        group.iter_mut().for_each(|v| *v = (*v * inverse).round_ties_even() * scale);
    }
}

pub use activations::Activations;
pub(crate) use matrix::{Cpu, Product};
pub use matrix::{Matrix, Projection, multiply};

use super::{Lines, LinesMut, check};
use crate::error::{Error, Result};
use crate::quant::{self, GgmlType};

/// Row `i` of a matrix in the file's layout, `cols` elements a row.
///
/// # Errors
/// `internal` where there is no such row.
pub(crate) fn row(ty: GgmlType, matrix: &[u8], i: usize, cols: usize) -> Result<&[u8]> {
    let bytes = ty.row_bytes(cols as u64).map(|b| b as usize);
    bytes.and_then(|b| matrix.get(b * i..)?.get(..b)).ok_or_else(|| {
        Error::internal(format!("no row {i} of {cols} elements in {} bytes of {}", matrix.len(), ty.name()))
    })
}

/// Runs of 64 products in eight sums of f32, so that a compiler can make vectors of them, for a load waits for the
/// references; the rest in double precision.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    let run = |(a, b): (&[f32; 64], &[f32; 64])| {
        let mut sums = [0.0f32; 8];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
        }
        sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
    };
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b));
    a.iter().zip(b).map(run).sum::<f64>() + rest.sum::<f64>()
}

/// `weight` holds `out.width()` rows of `x.width()` elements of type `ty`, as in the file.
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn reference(
    x: Lines<'_>,
    ty: GgmlType,
    weight: &[u8],
    bias: Option<&[f32]>,
    accumulate: bool,
    mut out: LinesMut<'_>,
) -> Result<()> {
    check(x.n() == out.n(), "matmul", || format!("{} lines into {}", x.n(), out.n()))?;
    check(bias.is_none_or(|b| b.len() == out.width()), "matmul", || {
        format!("a bias of {} values for {} outputs", bias.map_or(0, <[f32]>::len), out.width())
    })?;
    let mut w = vec![0.0; x.width()];
    for o in 0..out.width() {
        quant::decode(ty, row(ty, weight, o, x.width())?, &mut w)?;
        for (r, x) in x.iter().enumerate() {
            let biased = dot(x, &w) as f32 + bias.map_or(0.0, |b| b[o]);
            let out = &mut out.line(r)[o];
            *out = if accumulate { *out + biased } else { biased };
        }
    }
    Ok(())
}
