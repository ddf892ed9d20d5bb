//! The parameters as the arithmetic of a draw takes them, the same for every backend.

use super::Params;
use crate::kernels::shader::draw::{ONE, REACH, WEIGHT_BITS};

/// Derived once from [`Params`]; additions and products of f32 are all that is done with it, each rounded by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settings {
    /// Takes the best token.
    pub(crate) greedy: bool,
    /// 0 is no limit.
    pub(crate) top_k: u32,
    /// In 2⁻³²; 0 keeps everything.
    pub(crate) top_p: u32,
    /// How far a score may be below the best, by min-p.
    pub(crate) min_p_distance: f32,
    /// A difference of scores in the units of `draw::ONE` and powers of two, over the temperature.
    pub(crate) factor: f32,
    /// Factors of positive and of other logits of tokens that were seen.
    pub(crate) repetition: [f32; 2],
    pub(crate) frequency: f32,
    pub(crate) presence: f32,
    pub(crate) seed: u64,
}

/// A difference of scores, in nats, in the units of `draw::ONE` and powers of two.
pub(crate) const UNIT: f32 = std::f32::consts::LOG2_E * (1u32 << ONE) as f32;

impl Settings {
    pub(super) fn new(p: &Params) -> Self {
        let factor = f64::from(UNIT) / f64::from(p.temperature);
        Self {
            greedy: p.temperature == 0.0,
            top_k: p.top_k,
            top_p: if p.top_p < 1.0 { ((f64::from(p.top_p) * 2f64.powi(32)) as u32).max(1) } else { 0 },
            min_p_distance: if p.min_p > 0.0 { -libm::log(f64::from(p.min_p)) as f32 } else { f32::MAX },
            // A temperature next to 0 must not make an infinity of it: no number is the product of that and 0.
            factor: factor.min(1e30) as f32,
            repetition: [1.0 / p.repetition_penalty, p.repetition_penalty],
            frequency: p.frequency_penalty,
            presence: p.presence_penalty,
            seed: p.seed,
        }
    }

    /// A logit with the penalties of a token that was seen, `count` times of them in the answer.
    pub(super) fn penalized(&self, score: f32, count: u32) -> f32 {
        let score = score * self.repetition[usize::from(score <= 0.0)];
        let score = score - count as f32 * self.frequency;
        if count > 0 { score - self.presence } else { score }
    }

    /// How far a score is behind the best in the race, at most about [`REACH`].
    pub(super) fn behind(&self, best: f32, score: f32) -> f32 {
        ((best - score) * self.factor).min(REACH as f32)
    }
}

/// The share of a score beside the best one's, before the temperature, in 2⁻³⁰.
pub(super) fn weight(best: f32, score: f32) -> u32 {
    let x = (best - score) * UNIT;
    if x >= ((WEIGHT_BITS + 1) << ONE) as f32 { 0 } else { super::tables::weight(x as u32) }
}

/// Where a sum of weights has reached the share `top_p`.
pub(super) fn goal(sum: u64, top_p: u32) -> u64 {
    ((u128::from(sum) * u128::from(top_p)) >> 32).max(1) as u64
}
