//! How fast training is at the demo model's size, on tokens drawn at random: `speed [threads] [tokens a thread] [run tokens]`.

use anyhow::{Context, Result};
use demo_model::recipe;
use demo_model::train::{Example, Model, Options, train};
use demo_model::vocabulary::N_VOCAB;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::ControlFlow;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<usize>().context(a));
    let threads = numbers.next().transpose()?.unwrap_or(1);
    let thread_tokens = numbers.next().transpose()?.unwrap_or(4096);
    let run_tokens = numbers.next().transpose()?.unwrap_or(Options::default().run_tokens);
    let mut model = Model::new(recipe::config(), 0);
    println!("{} weights, {threads} threads, {thread_tokens} tokens a thread and step", model.len());
    let options = Options { steps: 12, parts: 2 * threads, threads, run_tokens, ..Options::default() };
    let (mut tokens, mut seconds) = (0, 0.0);
    let source = |step, part| examples(step * 1000 + part as u64, thread_tokens / 2);
    train(&mut model, &options, source, |report| {
        // The first steps grow the buffers.
        if report.step > 2 {
            tokens += report.tokens;
            seconds += report.elapsed.as_secs_f64();
        }
        println!(
            "step {:2}: loss {:.3}, {:.0} tokens/s, optimizer {:.1} %, products {:.1} % of the network's time",
            report.step,
            report.loss,
            report.tokens_per_second(),
            100.0 * report.optimizer.as_secs_f64() / report.elapsed.as_secs_f64(),
            100.0 * report.matmul_share,
        );
        ControlFlow::Continue(())
    })?;
    let rate = tokens as f64 / seconds;
    println!("{rate:.0} tokens/s, {:.0} a thread", rate / threads as f64);
    Ok(())
}

/// Dialogues of 30 to 150 tokens, of which the last third is learned.
fn examples(seed: u64, tokens: usize) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut left = tokens;
    let mut examples = Vec::new();
    while left > 0 {
        let len = rng.random_range(30..=150).min(left);
        left -= len;
        let tokens = (0..len).map(|_| rng.random_range(0..N_VOCAB as u32)).collect();
        examples.push(Example { tokens, learn: (0..len).map(|i| 3 * i >= 2 * len).collect() });
    }
    examples
}
