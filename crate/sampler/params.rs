//! What a caller can ask of the sampler.

use crate::error::{Error, Result};

/// How to choose tokens. `Default` changes nothing: every token with the model's own probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Divides the logits before the draw; 0 takes the best token.
    pub temperature: f32,
    /// Only this many best tokens; 0 is no limit.
    pub top_k: u32,
    /// Only the best tokens that together reach this probability, in (0, 1].
    pub top_p: f32,
    /// Only tokens with at least this share of the best one's probability, in [0, 1].
    pub min_p: f32,
    /// Divides the logit of a token of prompt or answer where positive, multiplies it where negative; 1 is none.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of a token of the answer.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token for each time the answer has it.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// The same seed, logits and parameters give the same tokens.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Params {
    pub(super) fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }

    /// # Errors
    /// `invalid-argument`, naming the parameter, what it is and what it may be.
    pub fn validate(&self, n_vocab: usize) -> Result<()> {
        let check = |ok: bool, name: &str, value: f32, range: &str| {
            if ok {
                return Ok(());
            }
            Err(Error::invalid_argument(format!("{name} is {value}; it must be {range}")))
        };
        let (t, p, m, r) = (self.temperature, self.top_p, self.min_p, self.repetition_penalty);
        check(t.is_finite() && t >= 0.0, "temperature", t, "a number from 0 on")?;
        check(p > 0.0 && p <= 1.0, "top_p", p, "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&m), "min_p", m, "from 0 to 1")?;
        check(r.is_finite() && r > 0.0, "repetition_penalty", r, "a number above 0")?;
        for (name, value) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            check(value.is_finite(), name, value, "a number")?;
        }
        for &(id, bias) in &self.logit_bias {
            check(bias.is_finite(), &format!("logit_bias of token {id}"), bias, "a number")?;
            if id as usize >= n_vocab {
                return Err(Error::invalid_argument(format!(
                    "logit_bias names token {id}; the vocabulary ends at {}",
                    n_vocab.saturating_sub(1)
                )));
            }
        }
        Ok(())
    }
}
