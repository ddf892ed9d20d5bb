//! Every value on the way from tokens to logits, on both backends, against the plain reference and the golden data.

mod support;

use std::collections::BTreeMap;

use pollster::block_on;
use qwenlet::Code;
use qwenlet::backend::Backend;
use qwenlet::backend::cpu::CpuBackend;
use qwenlet::backend::webgpu::{WebGpuBackend, WebGpuOptions};
use qwenlet::quant::GgmlType;
use support::model::{Mix, Spec};
use support::reference::Reference;
use support::trace::{Trace, trace};
use support::{engine, fixtures, golden, relative_l2};

type NewBackend = fn() -> Box<dyn Backend>;

fn cpu() -> Box<dyn Backend> {
    Box::new(CpuBackend::default())
}

fn webgpu() -> Box<dyn Backend> {
    Box::new(block_on(WebGpuBackend::new(WebGpuOptions::default())).unwrap())
}

/// What makes a backend, for each that this machine has.
fn backends() -> Vec<(&'static str, NewBackend)> {
    let mut backends: Vec<(_, NewBackend)> = vec![("cpu", cpu)];
    match block_on(WebGpuBackend::new(WebGpuOptions::default())) {
        Ok(_) => backends.push(("webgpu", webgpu)),
        Err(e) if e.code() == Code::NoWebgpu && !engine::gpu_required() => {
            println!("skipped: no WebGPU adapter")
        }
        Err(e) => panic!("{e}"),
    }
    backends
}

/// Weights are f32: what differs is the order of f32 additions, and the rounding of exponentials and angles.
const LIMIT: f64 = 2e-5;

/// The CPU computes attention in 14 bits: keys, values, queries and weights are each within 2^-14 of the largest beside
/// them, some 10⁻⁴ of their length, and the two layers after it carry that on.
const ATTENDED: f64 = 1e-3;

/// WebGPU holds keys and values in 16 bits, each within 2^-16 of the largest beside it, and computes with them in f32.
const HELD: f64 = 1.5e-4;

fn limit(backend: &str, value: &str) -> f64 {
    let before_attention = ["attn_norm", "q_", "k_", "v"].map(|name| format!("blk.0.{name}"));
    let exact = value == "embd" || before_attention.iter().any(|name| value.starts_with(name.as_str()));
    match backend {
        _ if exact => LIMIT,
        "cpu" => ATTENDED,
        _ => HELD,
    }
}

fn compare(file: &str, backend: &str, got: &Trace, wanted: &BTreeMap<String, Vec<f64>>) {
    for (name, wanted) in wanted {
        let what = format!("{file} on {backend}: {name}");
        let got = got.get(name).unwrap_or_else(|| panic!("{what} is not among {:?}", got.keys()));
        let deviation = relative_l2(got.iter().map(|&v| v as f64), wanted.iter().copied());
        assert!(deviation <= limit(backend, name), "{what}: {deviation:.1e}");
    }
}

#[test]
fn every_activation_is_the_plain_references() {
    let tokens: Vec<u32> = (0..20).map(|i| (i * 37 + 5) % 400).collect();
    for spec in [Spec::qwen2 as fn(Mix) -> Spec, Spec::qwen3] {
        for spec in [spec(Mix::All(GgmlType::F32)).untied(), spec(Mix::All(GgmlType::F32)).yarn()] {
            let bytes = spec.to_bytes();
            let mut wanted = BTreeMap::new();
            Reference::new(&[&bytes]).traced(&tokens, &mut |name, rows| {
                wanted.insert(name.to_string(), rows.concat());
            });
            // embd, 15 values of each of 2 layers, final_norm, logits.
            assert_eq!(wanted.len(), 1 + 2 * 15 + 2);
            for (name, backend) in backends() {
                compare(&spec.name(), name, &trace(&bytes, &tokens, backend), &wanted);
            }
        }
    }
}

#[test]
fn every_activation_is_the_golden_one() {
    let Some(dir) = fixtures() else { return };
    for golden in golden::activations(&dir) {
        let bytes = golden::read(&dir.join("models").join(&golden.file));
        let wanted: BTreeMap<String, Vec<f64>> = golden
            .values
            .iter()
            .map(|(name, v)| (name.clone(), v.iter().map(|&v| v as f64).collect()))
            .collect();
        for (name, backend) in backends() {
            compare(&golden.file, name, &trace(&bytes, &golden.tokens, backend), &wanted);
        }
    }
}
