//! Whether a backend computes what it should on this device: a model in miniature, run by the backend and by the plain
//! references.

pub(crate) mod interpreter;
pub(crate) mod random;

use std::sync::Arc;

use self::interpreter::Interpreter;
use self::random::{Rng, blocks};
use crate::backend::{Backend, RunLimits};
use crate::error::{Code, Error, Result};
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, Plan, Row, Weight, WeightKind};
use crate::quant::{self, GgmlType};

/// Relative error of the logits up to which a backend is right. Those in use are right to 1e-3 or better; one that is
/// wrong in any value that it computes is off by far more.
const MAX_ERROR: f64 = 1e-2;

/// Rows of the first run, more than the form for few rows takes, and of all runs: the references are slow.
const PROMPT: usize = 8;
const ROWS: usize = PROMPT + 4;

/// Runs `plan` with random weights; returns the relative error of its logits. The backend is to be prepared anew
/// afterwards.
///
/// # Errors
/// `no-webgpu` where the error is too large, and what the backend reports.
pub(crate) async fn check(backend: &mut dyn Backend, plan: &Arc<Plan>) -> Result<f64> {
    let error = error(backend, plan).await?;
    if error <= MAX_ERROR {
        return Ok(error);
    }
    Err(Error::new(
        Code::NoWebgpu,
        format!(
            "this device computes wrong results: logits of a small model differ by {error:.1e} of their size"
        ),
    ))
}

/// A prompt in two runs, then single rows: the relative error of the worst row of logits.
async fn error(backend: &mut dyn Backend, plan: &Arc<Plan>) -> Result<f64> {
    let n_pages = ROWS.div_ceil(PAGE_TOKENS);
    let limits = RunLimits { max_rows: ROWS, max_outputs: 1, max_sequences: 1, n_pages, keep_buffers: false };
    backend.prepare(plan.clone(), limits).await?;
    let mut rng = Rng::new(1);
    let weights = plan.weights.iter().map(|w| random_weight(&mut rng, w)).collect::<Result<Vec<_>>>()?;
    for (i, bytes) in (0..).zip(&weights) {
        backend.upload(crate::plan::WeightId(i), 0, bytes)?;
    }
    backend.finish_upload().await?;

    let table: Vec<_> = (0..n_pages as u32).map(PageId).collect();
    let mut interpreter = Interpreter::new(plan, &weights, n_pages);
    let rows: Vec<Row> = (0..ROWS as u32)
        .map(|position| Row { token: position * 7 % plan.n_vocab, sequence: 0, position, output: true })
        .collect();
    let (mut worst, mut logits) = (0.0f64, Vec::new());
    for run in [0..PROMPT, PROMPT..ROWS - 2, ROWS - 2..ROWS - 1, ROWS - 1..ROWS] {
        let last = run.len() - 1;
        let rows: Vec<Row> =
            rows[run].iter().enumerate().map(|(i, row)| Row { output: i == last, ..*row }).collect();
        let batch = Batch { rows: &rows, tables: &[&table] };
        backend.run(&batch)?;
        backend.read_logits(&mut logits).await?;
        interpreter.run(&batch)?;
        let want = &interpreter.buffers[plan.logits.0 as usize];
        let error = relative_l2(&logits, want);
        worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
    }
    Ok(worst)
}

/// Weights as a file has them: matrices that keep the size of what they multiply, vectors around one.
fn random_weight(rng: &mut Rng, weight: &Weight) -> Result<Vec<u8>> {
    let n = (weight.rows * weight.cols) as usize;
    if weight.kind == WeightKind::Vector {
        let values: Vec<f32> = rng.values(n).iter().map(|v| 1.0 + 0.1 * v).collect();
        return Ok(match weight.ty {
            GgmlType::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            GgmlType::Bf16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
    }
    let format = weight.ty.format();
    let scaled = |rng: &mut Rng, by: f32| {
        blocks(rng, weight.ty, n / format.block_elems, |rng| {
            half::f16::from_f32(by * (1.0 + 0.2 * rng.value())).to_bits().to_le_bytes()
        })
    };
    // How large a format's values are for a scale of 1/16, by trying.
    let mut values = vec![0.0; n];
    quant::decode(weight.ty, &scaled(rng, 0.0625), &mut values)?;
    let size = (values.iter().map(|v| v * v).sum::<f32>() / n as f32).sqrt();
    Ok(scaled(rng, 0.0625 / size / (weight.cols as f32).sqrt()))
}

/// `|got - want| / |want|`; infinite where they are of different length.
pub(crate) fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let square = |v: f64| v * v;
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = want.iter().map(|b| square(f64::from(*b))).sum();
    (difference / size).sqrt()
}

#[cfg(test)]
mod tests;
