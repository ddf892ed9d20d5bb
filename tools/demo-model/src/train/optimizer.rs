//! Muon for the layers' matrices, AdamW for the embedding and the norms, and the running average of the weights.

use super::matmul::{View, ViewMut, matmul};
use super::model::{Entry, Kind, Layout};
use super::ops::simd;
use std::sync::Mutex;

/// The rates of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) muon: f32,
    pub(super) adam: f32,
    pub(super) weight_decay: f32,
    pub(super) momentum: f32,
    pub(super) betas: (f32, f32),
    pub(super) averaging: f32,
    /// The number of this step, from 1.
    pub(super) step: u64,
    /// What the gradients are multiplied by: one over the number of learned tokens …
    pub(super) scale: f32,
    /// … and Adam's also by this, so that their norm stays within bounds.
    pub(super) clip: f32,
}

/// What the optimizer keeps between steps, each laid out as the weights are. Muon leaves `second` at zero.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
    pub(super) average: Vec<f32>,
}

/// One tensor's part of a step.
struct Job<'a> {
    entry: &'a Entry,
    weights: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
}

/// One step of every tensor. `threads` share the tensors, which does not change what comes out.
pub(super) fn step(
    layout: &Layout,
    weights: &mut [f32],
    gradient: &[f32],
    state: &mut State,
    rates: &Rates,
    threads: usize,
) {
    let mut jobs = jobs(layout, weights, gradient, state);
    // The costliest last, where they are taken from: what is left to the end is small.
    jobs.sort_by_key(|job| cost(job.entry));
    let queue = Mutex::new(jobs);
    let next = || queue.lock().ok()?.pop();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| std::iter::from_fn(next).for_each(|job| job.run(rates)));
        }
    });
}

/// The norm of Adam's part of a gradient.
pub(super) fn adam_norm(layout: &Layout, gradient: &[f32]) -> f32 {
    let adam = layout.entries.iter().filter(|e| e.kind != Kind::Matrix);
    let square = |e: &Entry| gradient[e.range.clone()].iter().map(|&g| f64::from(g * g)).sum::<f64>();
    adam.map(square).sum::<f64>().sqrt() as f32
}

/// Roughly the multiplications of a tensor's step.
fn cost(entry: &Entry) -> usize {
    match (entry.kind, entry.shape.as_slice()) {
        (Kind::Matrix, &[rows, cols]) => {
            let small = rows.min(cols);
            NEWTON_SCHULZ.len() * small * (2 * rows * cols + small * small)
        }
        _ => 20 * entry.range.len(),
    }
}

fn jobs<'a>(
    layout: &'a Layout,
    mut weights: &'a mut [f32],
    gradient: &'a [f32],
    state: &'a mut State,
) -> Vec<Job<'a>> {
    let (mut first, mut second) = (state.first.as_mut_slice(), state.second.as_mut_slice());
    let mut average = state.average.as_mut_slice();
    layout
        .entries
        .iter()
        .map(|entry| Job {
            entry,
            weights: cut(&mut weights, entry.range.len()),
            gradient: &gradient[entry.range.clone()],
            first: cut(&mut first, entry.range.len()),
            second: cut(&mut second, entry.range.len()),
            average: cut(&mut average, entry.range.len()),
        })
        .collect()
}

fn cut<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

impl Job<'_> {
    fn run(mut self, rates: &Rates) {
        match (self.entry.kind, self.entry.shape.as_slice()) {
            (Kind::Matrix, &[rows, cols]) => self.muon(rates, rows, cols),
            (Kind::Norm, _) => self.adam(rates, 0.0),
            _ => self.adam(rates, rates.weight_decay),
        }
        let (weights, average, rate) = (&*self.weights, &mut *self.average, 1.0 - rates.averaging);
        simd(
            #[inline(always)]
            || average.iter_mut().zip(weights).for_each(|(a, w)| *a += rate * (w - *a)),
        );
    }

    fn adam(&mut self, rates: &Rates, weight_decay: f32) {
        let (b1, b2) = rates.betas;
        let power = |b: f32| 1.0 - b.powf(rates.step as f32);
        let (rate, root) = (rates.adam / power(b1), power(b2).sqrt().recip());
        let (keep, scale) = (1.0 - rates.adam * weight_decay, rates.scale * rates.clip);
        let (w, g) = (&mut *self.weights, self.gradient);
        let (first, second) = (&mut *self.first, &mut *self.second);
        simd(
            #[inline(always)]
            || {
                for (((w, g), m), v) in w.iter_mut().zip(g).zip(first).zip(second) {
                    let g = g * scale;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *w = *w * keep - rate * *m / (v.sqrt() * root + 1e-8);
                }
            },
        );
    }

    fn muon(&mut self, rates: &Rates, rows: usize, cols: usize) {
        let (momentum, scale) = (rates.momentum, rates.scale);
        let mut update = vec![0.0; rows * cols];
        let (g, first) = (self.gradient, &mut *self.first);
        simd(
            #[inline(always)]
            || {
                for ((u, g), m) in update.iter_mut().zip(g).zip(first) {
                    let g = g * scale;
                    *m = momentum * *m + (1.0 - momentum) * g;
                    *u = momentum * *m + (1.0 - momentum) * g;
                }
            },
        );
        orthogonalize(&mut update, rows, cols);
        let rate = rates.muon * (rows as f32 / cols as f32).max(1.0).sqrt();
        let (keep, w) = (1.0 - rates.muon * rates.weight_decay, &mut *self.weights);
        simd(
            #[inline(always)]
            || w.iter_mut().zip(&update).for_each(|(w, u)| *w = *w * keep - rate * u),
        );
    }
}

/// Muon's quintic, which sends singular values from (0, 1] to about 1 in this many steps.
const NEWTON_SCHULZ: [(f32, f32, f32); 5] = [(3.4445, -4.7750, 2.0315); 5];

/// Replaces a matrix by about the nearest one with orthonormal rows, or columns where these are fewer.
pub(super) fn orthogonalize(matrix: &mut [f32], rows: usize, cols: usize) {
    let norm = matrix.iter().map(|&x| f64::from(x * x)).sum::<f64>().sqrt() as f32;
    matrix.iter_mut().for_each(|x| *x /= norm + 1e-7);
    let small = rows.min(cols);
    let mut square = vec![0.0; small * small];
    let mut factor = vec![0.0; small * small];
    let mut source = matrix.to_vec();
    for (a, b, c) in NEWTON_SCHULZ {
        source.copy_from_slice(matrix);
        let x = View::new(&source, rows, cols);
        let (left, right) = if rows > cols { (x.t(), x) } else { (x, x.t()) };
        matmul(ViewMut::new(&mut square, small, small), 0.0, left, right, 1.0);
        factor.copy_from_slice(&square);
        let s = View::new(&square, small, small);
        matmul(ViewMut::new(&mut factor, small, small), b, s, s, c);
        let f = View::new(&factor, small, small);
        let (left, right) = if rows > cols { (x, f) } else { (f, x) };
        matmul(ViewMut::new(matrix, rows, cols), a, left, right, 1.0);
    }
}
