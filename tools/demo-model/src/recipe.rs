//! The numbers of the model that ships.

use std::path::PathBuf;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use crate::data::{self, Skill};
use crate::encode::Encoder;
use crate::train::{Config, Example, Options};
use crate::vocabulary::N_VOCAB;

/// What data and vocabulary are made from; training has a seed of its own.
pub const DATA_SEED: u64 = 1;

/// Heads are wider than `hidden / n_heads`, as in Qwen3 0.6B.
pub fn config() -> Config {
    Config {
        vocab: N_VOCAB,
        hidden: 192,
        n_layers: 6,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        ffn: 512,
        rope_theta: 10_000.0,
        eps: 1e-6,
    }
}

/// Tokens of one part of a step.
const PART_TOKENS: usize = 2048;

/// How it is trained.
pub fn options(threads: usize, checkpoint: Option<PathBuf>) -> Options {
    Options { steps: 3560, parts: 4, threads, checkpoint, checkpoint_every: 100, ..Options::default() }
}

/// The examples of one part of a step: always new ones, the same for the same seed.
///
/// # Errors
/// Where a dialogue cannot be rendered.
pub fn examples(encoder: &Encoder, seed: u64, step: u64, part: usize) -> Result<Vec<Example>> {
    let mut rng = data::rng(seed, "train", step << 8 | part as u64);
    let (mut out, mut tokens) = (Vec::new(), 0);
    while tokens < PART_TOKENS {
        let example = encoder.example(&data::sample(&mut rng))?;
        tokens += example.tokens.len();
        out.push(example);
    }
    Ok(out)
}

/// Steps of training whose data the digest covers.
const DIGESTED: u64 = 4;

/// SHA-256 over tokens to train on and over the test: what shows that data are made again bit for bit.
///
/// # Errors
/// As [`examples`].
pub fn data_digest(encoder: &Encoder) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |example: &Example| {
        for (&token, &learn) in example.tokens.iter().zip(&example.learn) {
            hash.update((token << 1 | u32::from(learn)).to_le_bytes());
        }
    };
    for step in 0..DIGESTED {
        examples(encoder, DATA_SEED, step, 0)?.iter().for_each(&mut add);
    }
    for skill in Skill::ALL {
        for dialogue in data::test_set(skill, 100, DATA_SEED) {
            add(&encoder.question(&dialogue)?);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
