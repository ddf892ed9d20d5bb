//! Trains a small `qwen3` decoder on the CPU.

mod attention;
mod batch;
mod checkpoint;
mod matmul;
mod model;
mod network;
mod ops;
mod optimizer;
#[cfg(test)]
mod tests;

pub use batch::Example;
pub use model::{Config, Model};

use anyhow::{Result, bail, ensure};
use network::{Network, Outcome};
use optimizer::{Rates, State};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How to train. The defaults are for some millions of weights and some thousands of tokens a step.
#[derive(Debug, Clone)]
pub struct Options {
    pub steps: u64,
    /// How often a step asks for examples. What is learned depends on the parts, and not on the threads that share them.
    pub parts: usize,
    pub threads: usize,
    pub lr_muon: f32,
    pub lr_adam: f32,
    pub momentum: f32,
    pub betas: (f32, f32),
    pub weight_decay: f32,
    /// The greatest norm of the gradient of what Adam trains.
    pub clip: f32,
    /// Steps over which the rates rise from zero.
    pub warmup: u64,
    /// The last part of the steps, over which the rates fall to zero.
    pub decay_fraction: f64,
    /// How much of the averaged weights a step keeps.
    pub averaging: f32,
    /// How many tokens go through the network at a time.
    pub run_tokens: usize,
    /// Written every so many steps, at the end, and when training is stopped; gone on from where there is one.
    pub checkpoint: Option<PathBuf>,
    pub checkpoint_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            steps: 10_000,
            parts: 4,
            threads: 2,
            lr_muon: 0.02,
            lr_adam: 3e-3,
            momentum: 0.95,
            betas: (0.9, 0.95),
            weight_decay: 0.01,
            clip: 1.0,
            warmup: 100,
            decay_fraction: 0.3,
            averaging: 0.999,
            run_tokens: 1024,
            checkpoint: None,
            checkpoint_every: 500,
        }
    }
}

impl Options {
    /// What the rates of a step are multiplied by.
    fn schedule(&self, step: u64) -> f32 {
        let rise = (step + 1) as f64 / self.warmup.max(1) as f64;
        let falling = self.steps as f64 * self.decay_fraction;
        let fall = (self.steps - step) as f64 / falling.max(1.0);
        rise.min(fall).min(1.0) as f32
    }
}

/// How a step went.
#[derive(Debug)]
pub struct Report<'a> {
    /// Steps taken, this one included.
    pub step: u64,
    /// The mean of −log of the learned tokens' probabilities.
    pub loss: f64,
    /// The share of the learned tokens that were the likeliest.
    pub accuracy: f64,
    pub learned: usize,
    pub tokens: usize,
    pub elapsed: Duration,
    /// Of `elapsed`, what the optimizer took.
    pub optimizer: Duration,
    /// The share of the threads' time in the network that matrix products took.
    pub matmul_share: f64,
    pub model: &'a Model,
    average: &'a [f32],
}

impl Report<'_> {
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.elapsed.as_secs_f64()
    }

    /// The model with the running average of the weights up to here.
    pub fn averaged(&self) -> Model {
        Model { weights: self.average.to_vec(), ..self.model.clone() }
    }
}

/// Trains `model` and returns the running average of its weights, which is the one to use. `source(step, part)` gives the
/// examples of one part of a step, always the same ones; `on_step` may end training by breaking.
pub fn train(
    model: &mut Model,
    options: &Options,
    source: impl Fn(u64, usize) -> Vec<Example> + Sync,
    mut on_step: impl FnMut(&Report) -> ControlFlow<()>,
) -> Result<Model> {
    ensure!(options.threads > 0 && options.parts > 0, "training takes a thread and a part at least");
    let resumed = options.checkpoint.as_deref().filter(|path| path.exists());
    let (mut state, first) = match resumed {
        Some(path) => checkpoint::load(path, model)?,
        None => {
            let zeros = vec![0.0; model.len()];
            (State { first: zeros.clone(), second: zeros, average: model.weights.clone() }, 0)
        }
    };
    let mut networks: Vec<_> =
        (0..options.threads).map(|_| Network::new(model.config(), options.run_tokens)).collect();
    let mut gradients = vec![vec![0.0; model.len()]; options.parts];
    for step in first..options.steps {
        let start = Instant::now();
        let (outcome, products) =
            accumulate(model, &mut networks, &mut gradients, |part| source(step, part))?;
        let forwards = start.elapsed();
        ensure!(outcome.loss.is_finite(), "the loss of step {step} is {}", outcome.loss);
        let gradient = sum(&mut gradients);
        let scale = 1.0 / outcome.learned.max(1) as f32;
        let norm = optimizer::adam_norm(&model.layout, gradient) * scale;
        let factor = options.schedule(step);
        let rates = Rates {
            muon: options.lr_muon * factor,
            adam: options.lr_adam * factor,
            weight_decay: options.weight_decay,
            momentum: options.momentum,
            betas: options.betas,
            // The average is young at first, and forgets the weights it began with sooner.
            averaging: options.averaging.min((1 + step) as f32 / (10 + step) as f32),
            step: step + 1,
            scale,
            clip: (options.clip / norm.max(1e-12)).min(1.0),
        };
        optimizer::step(&model.layout, &mut model.weights, gradient, &mut state, &rates, options.threads);
        let elapsed = start.elapsed();
        let report = Report {
            step: step + 1,
            loss: outcome.loss * f64::from(scale),
            accuracy: outcome.hits.iter().filter(|&&hit| hit).count() as f64 * f64::from(scale),
            learned: outcome.learned,
            tokens: outcome.tokens,
            elapsed,
            optimizer: elapsed - forwards,
            matmul_share: products.as_secs_f64() / (forwards.as_secs_f64() * options.threads as f64),
            model,
            average: &state.average,
        };
        let go_on = on_step(&report);
        let last = go_on.is_break() || step + 1 == options.steps;
        if let Some(path) = &options.checkpoint
            && (last || (step + 1) % options.checkpoint_every.max(1) == 0)
        {
            checkpoint::save(path, model, &state, step + 1)?;
        }
        if last {
            break;
        }
    }
    Ok(Model { weights: state.average, ..model.clone() })
}

/// Puts the gradient of each part's loss into its place in `gradients`; gives the outcomes' sum and the time in products.
fn accumulate(
    model: &Model,
    networks: &mut [Network],
    gradients: &mut [Vec<f32>],
    source: impl Fn(usize) -> Vec<Example> + Sync,
) -> Result<(Outcome, Duration)> {
    // Whoever is free takes the next part: a thread that the machine holds up holds up no other.
    let queue = Mutex::new(gradients.iter_mut().enumerate());
    let next = || queue.lock().ok()?.next();
    let work = |network: &mut Network| {
        matmul::take_spent();
        let mut outcomes = Vec::new();
        while let Some((part, gradient)) = next() {
            gradient.fill(0.0);
            outcomes.push((part, network.run(model, &source(part), Some(gradient))));
        }
        (outcomes, matmul::take_spent())
    };
    let (mut outcomes, mut products) = (Vec::new(), Duration::ZERO);
    std::thread::scope(|scope| {
        let workers: Vec<_> = networks.iter_mut().map(|network| scope.spawn(|| work(network))).collect();
        for worker in workers {
            let Ok((outcome, spent)) = worker.join() else { bail!("a training thread panicked") };
            outcomes.extend(outcome);
            products += spent;
        }
        Ok(())
    })?;
    // In the order of the parts, so that the sum does not depend on the threads.
    outcomes.sort_by_key(|(part, _)| *part);
    let mut sum = Outcome::default();
    for (_, outcome) in outcomes {
        sum.loss += outcome.loss;
        sum.learned += outcome.learned;
        sum.tokens += outcome.tokens;
        sum.hits.extend(outcome.hits);
    }
    Ok((sum, products))
}

/// Adds all the gradients to the first.
fn sum(gradients: &mut [Vec<f32>]) -> &[f32] {
    let Some((first, others)) = gradients.split_first_mut() else { return &[] };
    for other in others {
        ops::simd(
            #[inline(always)]
            || first.iter_mut().zip(other).for_each(|(sum, g)| *sum += *g),
        );
    }
    first
}

/// How a model does on examples it has not seen, in the order given.
#[derive(Debug, Clone)]
pub struct Score {
    pub loss: f64,
    /// For each example, whether every learned token was the likeliest: what greedy decoding would then say too.
    pub exact: Vec<bool>,
}

/// Scores examples on this thread.
pub fn score(model: &Model, examples: &[Example]) -> Score {
    let mut network = Network::new(model.config(), Options::default().run_tokens);
    let outcome = network.run(model, examples, None);
    let mut hits = outcome.hits.into_iter();
    let learned = |e: &Example| e.learn.iter().skip(1).filter(|&&l| l).count();
    // All of them are drawn, also after a miss: the next example's follow.
    let exact = |e: &Example| (0..learned(e)).fold(true, |all, _| hits.next().unwrap_or(false) && all);
    let exact = examples.iter().map(exact).collect();
    Score { loss: outcome.loss / outcome.learned.max(1) as f64, exact }
}
