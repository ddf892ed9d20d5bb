use super::*;
use crate::backend::cpu::CpuBackend;
use crate::backend::webgpu::WebGpuOptions;
use crate::backend::webgpu::tests::support::open;
use crate::model::{Model, Outline};
use crate::threads::Pool;

fn outline(architecture: &str, quantization: &str) -> Outline {
    Outline {
        architecture: architecture.to_owned(),
        layers: 24,
        hidden_size: 896,
        intermediate_size: 4864,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        vocab: 151_936,
        context_length: 32_768,
        tied: true,
        quantization: quantization.to_owned(),
    }
}

fn miniatures() -> Vec<Arc<Plan>> {
    let outlines = [("qwen2", "Q4_K_M"), ("qwen2", "Q8_0"), ("qwen3", "Q4_K_M")].map(|(a, q)| outline(a, q));
    outlines.iter().map(|o| Arc::new(Model::from_outline(o).unwrap().miniature().unwrap())).collect()
}

fn types(plan: &Plan) -> std::collections::BTreeSet<GgmlType> {
    plan.weights.iter().map(|w| w.ty).collect()
}

#[test]
fn a_miniature_has_every_type_of_the_model_and_few_weights() {
    for (architecture, quantization) in [("qwen2", "Q4_K_M"), ("qwen3", "Q8_0")] {
        let model = Model::from_outline(&outline(architecture, quantization)).unwrap();
        let small = model.miniature().unwrap();
        assert_eq!(types(&small), types(&model.plan));
        let n: u64 = small.weights.iter().map(|w| u64::from(w.rows) * u64::from(w.cols)).sum();
        assert!(n < 6_000_000, "{n}");
    }
}

#[test]
fn activations_in_eight_bits_are_told_from_exact_ones() {
    for plan in miniatures() {
        let error = pollster::block_on(error(&mut CpuBackend::new(Pool::alone()), &plan)).unwrap();
        assert!((2e-3..3e-2).contains(&error), "{error}");
    }
}

/// `None` without an adapter.
fn on_gpu(options: WebGpuOptions, plan: &Arc<Plan>) -> Option<Result<f64>> {
    Some(pollster::block_on(check(&mut open(options)?, plan)))
}

#[test]
fn a_gpu_passes_with_its_kernels_and_with_the_plainest() {
    for plan in miniatures() {
        for plain in [false, true] {
            let Some(error) = on_gpu(WebGpuOptions { plain, ..Default::default() }, &plan) else { return };
            let error = error.unwrap();
            assert!(error < 1e-3, "{error}");
        }
    }
}

#[test]
fn a_damaged_kernel_shows_and_the_plain_ones_do_without_it() {
    let plan = &miniatures()[0];
    // Which shape a device takes is its own affair.
    for kernels in [
        ["gated matvec serial", "gated matvec narrow", "gated matvec wide"],
        ["normed matvec serial", "normed matvec narrow", "normed matvec wide"],
    ] {
        let damaged = |plain| WebGpuOptions { plain, spoil: kernels.to_vec(), ..Default::default() };
        let Some(error) = on_gpu(damaged(false), plan) else { return };
        let e = error.unwrap_err();
        assert!(e.to_string().contains("wrong results"), "{e}");
        assert!(on_gpu(damaged(true), plan).unwrap().is_ok());
    }
}
