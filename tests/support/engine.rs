//! The engine on each backend that this machine has.

use std::ops::ControlFlow;

use futures_util::future::FutureExt;
use pollster::block_on;
use qwenlet::engine::{BackendChoice, Engine, LoadOptions, Precision};
use qwenlet::source::{MemorySource, Source};
use qwenlet::{Code, Error, Result};

/// Loads a model from its parts, as `options` say.
pub fn load(parts: &[Vec<u8>], options: LoadOptions) -> Result<Engine> {
    let mut open = |n: usize| {
        let part = parts.get(n).map(|bytes| Box::new(MemorySource::new(format!("part {n}"), bytes.clone())));
        async move {
            let part = part.ok_or_else(|| Error::invalid_argument(format!("there is no part {n}")))?;
            Ok(part as Box<dyn Source>)
        }
        .boxed_local()
    };
    block_on(Engine::load(&mut open, options, &mut |_| ControlFlow::Continue(())))
}

/// The model on the CPU, and on WebGPU (activations in f32) where there is an adapter. Where there is none, the run
/// says so; with `CI` or `QWENLET_REQUIRE_GPU` set that is a failure.
pub fn on_each_backend(parts: &[Vec<u8>]) -> Vec<Engine> {
    let cpu = on(BackendChoice::Cpu, Precision::Exact, parts);
    cpu.into_iter().chain(on(BackendChoice::WebGpu, Precision::Exact, parts)).collect()
}

/// The same, and on WebGPU with activations rounded to 8 bits.
pub fn on_each_backend_and_rounded(parts: &[Vec<u8>]) -> Vec<Engine> {
    let rounded = on(BackendChoice::WebGpu, Precision::Rounded, parts);
    on_each_backend(parts).into_iter().chain(rounded).collect()
}

fn on(backend: BackendChoice, precision: Precision, parts: &[Vec<u8>]) -> Option<Engine> {
    match load(parts, LoadOptions { backend, precision, ..LoadOptions::default() }) {
        Ok(engine) => Some(engine),
        Err(e) if backend == BackendChoice::WebGpu && e.code() == Code::NoWebgpu && !gpu_required() => {
            println!("skipped: no WebGPU adapter");
            None
        }
        Err(e) => panic!("{backend:?}, {precision:?}: {e}"),
    }
}

pub fn gpu_required() -> bool {
    ["CI", "QWENLET_REQUIRE_GPU"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}

/// Logits after each of `positions`, `[positions][n_vocab]`.
pub fn logits(engine: &mut Engine, tokens: &[u32], positions: &[usize]) -> Vec<Vec<f32>> {
    let n_vocab = engine.info().n_vocab as usize;
    let all = block_on(engine.logits(tokens, positions)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(all.len(), positions.len() * n_vocab);
    all.chunks_exact(n_vocab).map(<[f32]>::to_vec).collect()
}
