//! Logits to a token.
//!
//! The order of operations is llama.cpp's: logit bias, repetition, frequency and presence penalties, top-k, top-p,
//! min-p, temperature, draw. What is left after min-p is drawn from by the exponential-race form of the categorical
//! draw ([`noise`]), so the same seed gives the same token whatever order a backend looks at the candidates in. A GPU
//! can do the same (`kernels/sample`): what it decides on given logits is what this module decides.

mod candidates;
mod noise;
mod params;
mod recommended;
pub(crate) mod settings;
pub(crate) mod tables;

pub use params::Params;
pub use recommended::recommended;
pub(crate) use settings::Settings;

use crate::engine::TokenLogprob;
use crate::error::{Error, Result};
use candidates::{Candidate, Candidates, STRETCH, largest};

/// Chooses tokens. One sampler serves one answer: it remembers what was said (for the penalties) and how many tokens
/// were drawn (for the stream of random numbers).
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    settings: Settings,
    /// What is added to logits, once an id.
    bias: Vec<(u32, f32)>,
    n_vocab: usize,
    /// Draws so far.
    step: u32,
    /// How often each token was accepted, by id; empty while no penalty needs it.
    counts: Vec<u32>,
    /// Distinct ids of prompt and answer, for the penalties.
    seen: Vec<u32>,
    in_seen: Vec<bool>,
    /// The logits with bias and penalties.
    scores: Vec<f32>,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler of a model with `n_vocab` logits.
    ///
    /// # Errors
    /// `invalid-argument` for a parameter that is out of range, naming it.
    pub fn new(params: Params, n_vocab: usize) -> Result<Self> {
        params.validate(n_vocab)?;
        let remembers = params.has_penalties();
        Ok(Self {
            settings: Settings::new(&params),
            bias: merged(&params.logit_bias),
            counts: if remembers { vec![0; n_vocab] } else { Vec::new() },
            in_seen: if remembers { vec![false; n_vocab] } else { Vec::new() },
            seen: Vec::new(),
            scores: Vec::new(),
            candidates: Candidates::default(),
            params,
            n_vocab,
            step: 0,
        })
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Tells of the prompt's tokens: the repetition penalty counts them, presence and frequency do not.
    pub fn observe_prompt(&mut self, ids: &[u32]) {
        for &id in ids {
            self.remember(id);
        }
    }

    /// Tells of a token of the answer: every penalty counts it.
    pub fn accept(&mut self, id: u32) {
        self.remember(id);
        if let Some(count) = self.counts.get_mut(id as usize) {
            *count += 1;
        }
    }

    fn remember(&mut self, id: u32) {
        if let Some(known) = self.in_seen.get_mut(id as usize)
            && !std::mem::replace(known, true)
        {
            self.seen.push(id);
        }
    }

    /// Chooses the next token from a row of logits. Call [`Sampler::accept`] with what is really used.
    ///
    /// # Errors
    /// `internal` where the logits are not numbers, or none of them is finite: weights or a kernel are broken.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let step = self.step;
        self.step = self.step.wrapping_add(1);
        let best = self.adjust(logits)?;
        if self.settings.greedy {
            return Ok(best.id);
        }
        self.filter();
        let chosen = noise::race(self.candidates.kept(), best.score, &self.settings, step);
        chosen.ok_or_else(|| Error::internal("the sampler was left without a candidate"))
    }

    /// The distribution that [`Sampler::sample`] draws from: ids with their probabilities, in no order.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(&mut self, logits: &[f32]) -> Result<Vec<(u32, f64)>> {
        let best = self.adjust(logits)?;
        if self.params.temperature == 0.0 {
            return Ok(vec![(best.id, 1.0)]);
        }
        self.filter();
        let temperature = f64::from(self.params.temperature);
        let weight = |c: &Candidate| ((f64::from(c.score) - f64::from(best.score)) / temperature).exp();
        let kept = self.candidates.kept();
        let sum: f64 = kept.iter().map(weight).sum();
        Ok(kept.iter().map(|c| (c.id, weight(c) / sum)).collect())
    }

    /// Log-probabilities, natural, of a token and of the `top` best ones, from logits as the model gave them: no
    /// penalty, no temperature.
    ///
    /// # Errors
    /// As [`Sampler::sample`]; `invalid-argument` where `id` has no logit.
    pub fn logprobs(&mut self, logits: &[f32], id: u32, top: usize) -> Result<TokenLogprob> {
        let best = finite_best(logits)?;
        let Some(&chosen) = logits.get(id as usize) else {
            return Err(Error::invalid_argument(format!(
                "token {id} has no logit; there are {}",
                logits.len()
            )));
        };
        let max = f64::from(best.score);
        let sum: f64 = logits.iter().map(|&l| (f64::from(l) - max).exp()).sum();
        let log_sum = max + sum.ln();
        let logprob = |score: f32| (f64::from(score) - log_sum) as f32;
        self.candidates.take_best(logits, top);
        self.candidates.sort();
        Ok(TokenLogprob {
            logprob: logprob(chosen),
            top: self.candidates.kept().iter().map(|c| (c.id, logprob(c.score))).collect(),
        })
    }

    /// Logits with bias and penalties into `scores`; the best of them.
    fn adjust(&mut self, logits: &[f32]) -> Result<Candidate> {
        if logits.len() != self.n_vocab {
            return Err(Error::internal(format!(
                "{} logits for a vocabulary of {}",
                logits.len(),
                self.n_vocab
            )));
        }
        self.scores.clear();
        self.scores.extend_from_slice(logits);
        for &(id, bias) in &self.bias {
            self.scores[id as usize] += bias;
        }
        for &id in &self.seen {
            let score = &mut self.scores[id as usize];
            *score = self.settings.penalized(*score, self.counts[id as usize]);
        }
        let mut best = Best::default();
        for stretch in self.scores.chunks_mut(STRETCH) {
            // A GPU may take numbers next to 0 for 0, and has one zero.
            for score in &mut *stretch {
                *score = if score.abs() < f32::MIN_POSITIVE { 0.0 } else { *score };
            }
            best.look_at(stretch)?;
        }
        best.found()
    }

    /// Top-k, top-p and min-p of `scores` into `candidates`.
    fn filter(&mut self) {
        match self.params.top_k as usize {
            0 => self.candidates.take_all(&self.scores),
            k => self.candidates.take_best(&self.scores, k),
        }
        if self.settings.top_p > 0 {
            self.candidates.keep_top_p(self.settings.top_p);
        }
        if self.params.min_p > 0.0 {
            self.candidates.keep_within(self.settings.min_p_distance);
        }
    }

    /// What a backend needs to choose in this sampler's place.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What there is to know of each token beside its logit, as `[bias, count]`: the bits of what is added to the logit,
    /// and how often the answer has it, with [`SEEN`] where the prompt or the answer has. `None` where nothing is.
    pub(crate) fn marks(&self) -> Option<Vec<[u32; 2]>> {
        if self.bias.is_empty() && !self.params.has_penalties() {
            return None;
        }
        let mut marks = vec![[0; 2]; self.n_vocab];
        for &(id, bias) in &self.bias {
            marks[id as usize][0] = bias.to_bits();
        }
        for &id in &self.seen {
            marks[id as usize][1] = self.counts[id as usize] | SEEN;
        }
        Some(marks)
    }
}

/// Beside the count of a token that was seen, if only in the prompt.
pub(crate) const SEEN: u32 = 1 << 31;

/// What is added to the logit of each token in all.
fn merged(bias: &[(u32, f32)]) -> Vec<(u32, f32)> {
    let mut merged: Vec<(u32, f32)> = Vec::new();
    let mut sorted = bias.to_vec();
    sorted.sort_by_key(|b| b.0);
    for (id, bias) in sorted {
        match merged.last_mut() {
            Some(last) if last.0 == id => last.1 += bias,
            _ => merged.push((id, bias)),
        }
    }
    merged
}

pub(crate) fn broken_logit(id: u32, score: f32) -> Error {
    Error::internal(format!(
        "the logit of token {id} is {score}: the model's weights are broken, or a kernel of the backend is"
    ))
}

pub(crate) fn no_candidate() -> Error {
    Error::internal("no token has a finite logit")
}

/// The largest value and the first id that has it.
///
/// # Errors
/// `internal` where a value is NaN or +∞, or all are -∞.
fn finite_best(scores: &[f32]) -> Result<Candidate> {
    let mut best = Best::default();
    scores.chunks(STRETCH).try_for_each(|stretch| best.look_at(stretch))?;
    best.found()
}

/// [`finite_best`] of scores that come in stretches.
struct Best {
    best: Candidate,
    /// Scores that were looked at.
    n: u32,
}

impl Default for Best {
    fn default() -> Self {
        Self { best: Candidate { id: 0, score: f32::NEG_INFINITY }, n: 0 }
    }
}

impl Best {
    fn look_at(&mut self, stretch: &[f32]) -> Result<()> {
        let largest = largest(stretch);
        let broken = |score: &f32| score.is_nan() || *score == f32::INFINITY;
        if broken(&largest) {
            let at = stretch.iter().position(broken).unwrap_or(0);
            return Err(broken_logit(self.n + at as u32, stretch[at]));
        }
        if largest > self.best.score {
            let at = stretch.iter().position(|&score| score == largest).unwrap_or(0);
            self.best = Candidate { id: self.n + at as u32, score: largest };
        }
        self.n += stretch.len() as u32;
        Ok(())
    }

    fn found(self) -> Result<Candidate> {
        if self.best.score == f32::NEG_INFINITY { Err(no_candidate()) } else { Ok(self.best) }
    }
}

#[cfg(test)]
mod tests;
