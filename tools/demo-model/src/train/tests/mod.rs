mod autograd;
mod ops;

use super::batch::runs;
use super::network::Network;
use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sizes of which none is a multiple of a vector, so that every loop has a rest.
fn config() -> Config {
    Config {
        vocab: 37,
        hidden: 41,
        n_layers: 3,
        n_heads: 6,
        n_kv_heads: 2,
        head_dim: 10,
        ffn: 53,
        rope_theta: 500.0,
        eps: 1e-5,
    }
}

/// A model with every weight at random, also those that a new one has at zero or one.
fn random_model(config: Config, seed: u64) -> Model {
    let mut model = Model::new(config, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    model.weights.iter_mut().for_each(|w| *w += rng.random_range(-0.3..0.3));
    model
}

fn random_examples(lens: &[usize], vocab: u32, seed: u64) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut example = |&len: &usize| Example {
        tokens: (0..len).map(|_| rng.random_range(0..vocab)).collect(),
        learn: (0..len).map(|_| rng.random_bool(0.4)).collect(),
    };
    lens.iter().map(&mut example).collect()
}

#[test]
fn an_example_does_not_see_its_neighbours() {
    let model = random_model(config(), 3);
    let examples = random_examples(&[5, 31, 12, 3], 37, 4);
    let mut network = Network::new(&config(), 1000);
    let together = network.run(&model, &examples, None);
    let alone: Vec<_> = examples.iter().map(|e| network.run(&model, std::slice::from_ref(e), None)).collect();
    let loss: f64 = alone.iter().map(|o| o.loss).sum();
    assert!((together.loss - loss).abs() < 1e-5 * loss);
    assert_eq!(together.hits, alone.into_iter().flat_map(|o| o.hits).collect::<Vec<_>>());
}

#[test]
fn runs_keep_examples_whole() {
    let lens = |limit| -> Vec<Vec<usize>> {
        let examples = random_examples(&[3, 4, 9, 1, 1, 1], 2, 0);
        runs(&examples, limit).map(|r| r.iter().map(|e| e.tokens.len()).collect()).collect()
    };
    assert_eq!(lens(7), [vec![3, 4], vec![9], vec![1, 1, 1]]);
    assert_eq!(lens(100), [vec![3, 4, 9, 1, 1, 1]]);
    assert_eq!(runs(&[], 7).count(), 0);
}

#[test]
fn orthogonalized_rows_are_about_orthonormal() {
    for (rows, cols) in [(12, 30), (30, 12), (20, 20)] {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut matrix: Vec<f32> = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
        optimizer::orthogonalize(&mut matrix, rows, cols);
        // The sum of the squares of the singular values; each of these is to be between 0.7 and 1.2.
        let small = rows.min(cols) as f32;
        let square: f32 = matrix.iter().map(|x| x * x).sum();
        assert!((0.5 * small..1.44 * small).contains(&square), "{rows} × {cols}: {square}");
    }
}

fn small() -> Config {
    Config {
        vocab: 12,
        hidden: 32,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 16,
        ffn: 64,
        rope_theta: 1000.0,
        eps: 1e-6,
    }
}

/// Six letters, a colon, and the same letters again, which are learned.
fn copying(step: u64, part: usize) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(step * 100 + part as u64);
    let mut example = || {
        let word: Vec<u32> = (0..6).map(|_| rng.random_range(2..12)).collect();
        let tokens = [&[0], word.as_slice(), &[1], word.as_slice()].concat();
        Example { learn: (0..tokens.len()).map(|i| i > 7).collect(), tokens }
    };
    (0..16).map(|_| example()).collect()
}

#[test]
fn learns_to_copy() -> Result<()> {
    let options = Options { steps: 400, warmup: 20, threads: 1, ..Options::default() };
    let mut model = Model::new(small(), 7);
    let averaged = train(&mut model, &options, copying, |_| ControlFlow::Continue(()))?;
    for model in [&model, &averaged] {
        let score = score(model, &copying(1_000_000, 0));
        assert!(score.loss < 0.02, "loss {}", score.loss);
        assert!(score.exact.iter().all(|&exact| exact) && score.exact.len() == 16);
    }
    Ok(())
}

#[test]
fn training_goes_on_as_if_never_stopped() -> Result<()> {
    let path = std::env::temp_dir().join(format!("qwenlet-trainer-{}.safetensors", std::process::id()));
    let options = Options { steps: 30, warmup: 5, threads: 1, ..Options::default() };
    let mut straight = Model::new(small(), 9);
    let average = train(&mut straight, &options, copying, |_| ControlFlow::Continue(()))?;
    let stopping = Options { checkpoint: Some(path.clone()), ..options.clone() };
    train(&mut Model::new(small(), 9), &stopping, copying, |report| {
        if report.step == 13 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    // From another seed, and with another number of threads: the checkpoint and the parts alone decide.
    let mut resumed = Model::new(small(), 10);
    let threads = Options { threads: 2, ..stopping };
    let resumed_average = train(&mut resumed, &threads, copying, |_| ControlFlow::Continue(()))?;
    std::fs::remove_file(&path)?;
    assert!(straight.weights == resumed.weights);
    assert!(average.weights == resumed_average.weights);
    Ok(())
}

#[test]
fn a_saved_model_loads_again() -> Result<()> {
    let path = std::env::temp_dir().join(format!("qwenlet-model-{}.safetensors", std::process::id()));
    let model = random_model(config(), 11);
    model.save(&path)?;
    let loaded = Model::load(&path, config())?;
    let other = Model::load(&path, Config { hidden: 40, ..config() });
    std::fs::remove_file(&path)?;
    assert!(loaded.weights == model.weights);
    assert!(other.is_err());
    Ok(())
}
