//! `out = gate * sigmoid(gate) * up`.

use super::{Lines, LinesMut, check};
use crate::error::Result;

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
