//! One folder an operation: parameters and shape check, plain reference, SIMD, WGSL.
//!
//! The `reference` functions are the oracle of every other kernel, CPU or GPU: written for reading, f32 in and out,
//! sums in f64 so that no order of addition is favoured.

pub mod attention;
pub mod embed;
mod lines;
pub mod matmul;
pub mod rms_norm;
pub mod rope;
pub mod select_rows;
pub mod shader;
pub mod silu_mul;
pub(crate) mod simd;
pub mod store_kv;

pub(crate) use lines::SharedLines;
pub use lines::{Lines, LinesMut};

use crate::error::{Code, Error, Result};

/// `internal`, saying which operation was given shapes that do not fit together.
pub(crate) fn check(holds: bool, op: &str, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(format!("{op}: {}", what()))) }
}

/// `n` zeros, or `out-of-memory`.
pub(crate) fn zeros<T: Clone + Default>(n: usize, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| {
        Error::new(
            Code::OutOfMemory,
            format!(
                "no memory for {} ({} bytes); choose a smaller model or context",
                what(),
                (size_of::<T>() * n) as u64
            ),
        )
    })?;
    v.resize(n, T::default());
    Ok(v)
}

#[cfg(any(test, feature = "checks"))]
pub(crate) mod tests;
