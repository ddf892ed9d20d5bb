//! Whether a backend computes what it should on this device: a model in miniature, run by the backend and by the plain
//! references.

pub(crate) mod interpreter;
pub(crate) mod random;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use self::interpreter::Interpreter;
use self::random::{Rng, blocks};
use crate::backend::webgpu::Rounds;
use crate::backend::{Backend, RunLimits};
use crate::error::{Code, Error, Result};
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, Plan, Row, Weight, WeightKind};
use crate::quant::{self, GgmlType};
use crate::sampler::{Params, Sampler};

/// Relative error of the logits up to which a backend is right. Those in use are right to 1e-4; one that is wrong in any value
/// that it computes is off by far more.
const MAX_ERROR: f64 = 2e-3;
/// The same where activations are rounded to bytes: one whose last bits differ may be rounded the other way.
const MAX_ROUNDED_ERROR: f64 = 3e-2;

/// Rows of each run: two that take the form for many; some that take the form for several; a few; two alone.
const RUNS: [usize; 6] = [33, 33, 8, 2, 1, 1];
const ROWS: usize = RUNS[0] + RUNS[1] + RUNS[2] + RUNS[3] + RUNS[4] + RUNS[5];
/// Rows on a page of state, the rest of which stays zero: the last rows attend to more pages than a kernel takes at once.
const ROWS_OF_PAGE: usize = 16;

/// Some runs that attend to several pages share them between workgroups, as those with long contexts do, others do not.
pub(crate) fn splits(last: usize, rows: usize) -> usize {
    if last >= PAGE_TOKENS && (rows == RUNS[2] || (rows == 1 && last.is_multiple_of(2))) { 2 } else { 1 }
}

/// What a backend that computes rightly gave.
#[derive(Debug)]
pub(crate) struct Found {
    /// Of its logits.
    pub(crate) relative_error: f64,
    /// What is wrong with the tokens that it chooses from them.
    pub(crate) wrong_choice: Option<String>,
}

/// Runs `plan` with random weights. The backend is to be prepared anew afterwards. `rounds` tells for which
/// products it rounds activations to bytes: so do the references then.
///
/// # Errors
/// `no-webgpu` where the error is too large, and what the backend reports.
pub(crate) async fn check(backend: &mut dyn Backend, plan: &Arc<Plan>, rounds: Rounds) -> Result<Found> {
    let (relative_error, logits) = error(backend, plan, rounds).await?;
    if relative_error <= if rounds.any() { MAX_ROUNDED_ERROR } else { MAX_ERROR } {
        return Ok(Found { relative_error, wrong_choice: wrong_choice(backend, plan, &logits).await? });
    }
    Err(Error::new(
        Code::NoWebgpu,
        format!(
            "this device computes wrong results: logits of a small model differ by \
             {relative_error:.1e} of their size"
        ),
    ))
}

const N_PAGES: usize = ROWS.div_ceil(ROWS_OF_PAGE);
const PREPARED_PAGES: usize = 16;

fn table() -> Vec<PageId> {
    (0..N_PAGES as u32).map(PageId).collect()
}

fn row(plan: &Plan, i: usize) -> Row {
    let position = i / ROWS_OF_PAGE * PAGE_TOKENS + i % ROWS_OF_PAGE;
    Row { token: i as u32 * 7 % plan.n_vocab, sequence: 0, position: position as u32, output: true }
}

/// A prompt in some runs, then single rows: the relative error of the worst row of logits, and the last one.
async fn error(backend: &mut dyn Backend, plan: &Arc<Plan>, rounds: Rounds) -> Result<(f64, Vec<f32>)> {
    // As for a long context: there is room for what workgroups share.
    let n_pages = PREPARED_PAGES;
    let limits = RunLimits { max_rows: ROWS, max_outputs: 1, max_sequences: 1, n_pages, keep_buffers: false };
    backend.prepare(plan.clone(), limits).await?;
    // The device compiles while the references compute.
    turn().await;
    let mut rng = Rng::new(1);
    let weights = plan.weights.iter().map(|w| random_weight(&mut rng, w)).collect::<Result<Vec<_>>>()?;
    for (i, bytes) in (0..).zip(&weights) {
        backend.upload(crate::plan::WeightId(i), 0, bytes)?;
    }

    let table = table();
    let rows: Vec<Row> = (0..ROWS).map(|i| row(plan, i)).collect();
    let mut rest = rows.as_slice();
    let runs = RUNS.map(|n| {
        let (run, after) = rest.split_at(n);
        rest = after;
        run.iter().enumerate().map(|(i, row)| Row { output: i == n - 1, ..*row }).collect::<Vec<_>>()
    });
    let mut interpreter = Interpreter::new(plan, &weights, n_pages).rounded(rounds);
    let mut wanted = Vec::new();
    for rows in &runs {
        interpreter.run(&Batch { rows, tables: &[&table] })?;
        wanted.push(std::mem::take(&mut interpreter.buffers[plan.logits.0 as usize]));
    }
    backend.finish_upload().await?;
    let (mut worst, mut logits) = (0.0f64, Vec::new());
    for (rows, want) in runs.iter().zip(&wanted) {
        backend.run(&Batch { rows, tables: &[&table] })?;
        backend.read_logits(&mut logits).await?;
        let error = relative_l2(&logits, want);
        worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
    }
    Ok((worst, logits))
}

/// Tokens chosen from the logits of the last row, which is run again for each, beside those that the sampler chooses.
async fn wrong_choice(backend: &mut dyn Backend, plan: &Plan, logits: &[f32]) -> Result<Option<String>> {
    let table = table();
    let rows = [row(plan, ROWS - 1)];
    let batch = Batch { rows: &rows, tables: &[&table] };
    let drawn = Params { top_k: 40, top_p: 0.95, min_p: 0.01, presence_penalty: 0.5, ..Params::default() };
    let greedy = Params { temperature: 0.0, repetition_penalty: 1.1, ..Params::default() };
    for params in [greedy, drawn] {
        let mut sampler = Sampler::new(params, plan.n_vocab as usize)?;
        sampler.observe_prompt(&[1, 2, 3]);
        if backend.start_choosing(&sampler)? == 0 {
            return Ok(None);
        }
        for draw in 0..4 {
            backend.run_and_choose(&batch, draw)?;
            let want = sampler.sample(logits)?;
            let got = match backend.choice().await {
                Ok(got) => got.to_string(),
                Err(e) if e.code() == Code::Internal => e.to_string(),
                Err(e) => return Err(e),
            };
            if got != want.to_string() {
                backend.stop_choosing();
                return Ok(Some(format!("this device chooses wrong tokens: {got} where {want} is right")));
            }
            sampler.accept(want);
        }
        backend.stop_choosing();
    }
    Ok(None)
}

/// Ends a turn: a browser's calls reach its GPU only then.
pub(crate) async fn turn() {
    let mut ended = false;
    poll_fn(|context| match std::mem::replace(&mut ended, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Weights as a file has them: matrices that keep the size of what they multiply, vectors around one. What
/// attention gives is larger than that: a mean of many values is small, and one that is missed has to show.
fn random_weight(rng: &mut Rng, weight: &Weight) -> Result<Vec<u8>> {
    let n = (weight.rows * weight.cols) as usize;
    let by = if weight.name.contains("attn_output") { 8.0 } else { 1.0 };
    if weight.kind == WeightKind::Vector {
        let values: Vec<f32> = rng.values(n).iter().map(|v| 1.0 + 0.1 * v).collect();
        return Ok(floats(weight.ty, &values));
    }
    let format = weight.ty.format();
    if format.block_elems == 1 {
        // Random bits would be of all magnitudes: attention would turn on last digits.
        let size = by * (3.0 / weight.cols as f32).sqrt();
        let values: Vec<f32> = rng.values(n).iter().map(|v| size * v).collect();
        return Ok(floats(weight.ty, &values));
    }
    let scaled = |rng: &mut Rng, by: f32| {
        blocks(rng, weight.ty, n / format.block_elems, |rng| {
            half::f16::from_f32(by * (1.0 + 0.2 * rng.value())).to_bits().to_le_bytes()
        })
    };
    // How large a format's values are for a scale of 1/16, by trying.
    let mut values = vec![0.0; n];
    quant::decode(weight.ty, &scaled(rng, 0.0625), &mut values)?;
    let size = (values.iter().map(|v| v * v).sum::<f32>() / n as f32).sqrt();
    Ok(scaled(rng, by * 0.0625 / size / (weight.cols as f32).sqrt()))
}

fn floats(ty: GgmlType, values: &[f32]) -> Vec<u8> {
    match ty {
        GgmlType::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        GgmlType::Bf16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
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
