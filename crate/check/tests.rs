use super::*;
use crate::backend::cpu::CpuBackend;
use crate::backend::webgpu::tests::support::open;
use crate::backend::webgpu::{Damage, WebGpuOptions};
use crate::kernels::shader::KERNELS;
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
        // What the first layer gives other rows than the last shows in the second.
        assert!(small.layers.len() >= 2, "{architecture} {quantization}");
        let n: u64 = small.weights.iter().map(|w| u64::from(w.rows) * u64::from(w.cols)).sum();
        assert!(n < 12_000_000, "{n}");
    }
}

#[test]
fn activations_in_eight_bits_are_told_from_exact_ones() {
    for plan in miniatures() {
        let (error, _) =
            pollster::block_on(error(&mut CpuBackend::new(Pool::alone()), &plan, Rounds::NONE)).unwrap();
        assert!((2e-3..3e-2).contains(&error), "{error}");
    }
}

/// `None` without an adapter.
fn on_gpu(options: WebGpuOptions, plan: &Arc<Plan>) -> Option<Result<Found>> {
    let backend = open(options)?;
    Some(pollster::block_on(check(&mut backend.beside(splits), plan, backend.rounds())))
}

fn hardware() -> WebGpuOptions {
    WebGpuOptions { as_hardware: true, ..Default::default() }
}

#[test]
fn every_kernel_that_a_model_takes_is_checked_before() {
    for (architecture, quantization) in [("qwen2", "Q4_K_M"), ("qwen3", "Q8_0")] {
        let model = Model::from_outline(&outline(architecture, quantization)).unwrap();
        let small = Arc::new(model.miniature().unwrap());
        for rounded in [false, true] {
            let Some(mut backend) = open(WebGpuOptions { rounded, ..hardware() }) else { return };
            let mut beside = backend.beside(splits);
            pollster::block_on(check(&mut beside, &small, backend.rounds())).unwrap();
            assert!(beside.take_stats().pipelines_created > 10);
            let limits = RunLimits {
                max_rows: 128,
                max_outputs: 8,
                max_sequences: 4,
                n_pages: 33,
                keep_buffers: false,
            };
            backend.allocate(&model.plan, limits).unwrap();
            backend.make_kernels().unwrap();
            assert_eq!(backend.take_stats().pipelines_created, 0, "{architecture} {quantization}");
        }
    }
}

#[test]
fn damage_to_kernels_that_only_large_weights_or_long_prompts_take_shows() {
    let plan = &miniatures()[0];
    for (kernel, from, to) in [
        ("normed matvec wide", "+ dot(", "+ 1.25 * dot("),
        ("normed matvec thin", "+ dot(", "+ 1.25 * dot("),
        ("gated matvec narrow", "+ dot(", "+ 1.25 * dot("),
        // What is read of a line the second time.
        ("matvec thin", "x[x_at + first * 8u + i]", "x[x_at + i]"),
        ("matmul 64", "next_w.w0 *", "1.25 * next_w.w0 *"),
        // Pages behind the first, of many rows and of one; turns of them; shares of one.
        ("tiled attention 64", "p++", "p += 2u"),
        ("own attention 4", "p += pages", "p += pages + 1u"),
        ("own attention 4", "page_key += PAGE_TOKENS", "page_key += 2u * PAGE_TOKENS"),
        ("own attention 4", "weight *= shrink", "weight *= sqrt(shrink)"),
        ("merge", "total / weight", "total / (weight + 1.0)"),
    ] {
        let spoil = vec![Damage { kernel, from, to }];
        let Some(found) = on_gpu(WebGpuOptions { spoil, ..hardware() }, plan) else { return };
        let e = found.expect_err(kernel).to_string();
        assert!(e.contains("wrong results"), "{kernel}: {e}");
    }
}

#[test]
fn a_gpu_passes_with_its_kernels_and_with_the_plainest() {
    for plan in miniatures() {
        for (plain, rounded) in [(false, true), (false, false), (true, false)] {
            let options = WebGpuOptions { plain, rounded, ..Default::default() };
            let Some(error) = on_gpu(options, &plan) else { return };
            let found = error.unwrap();
            // Where values are rounded, one that goes the other way is off as far as the check allows.
            assert!(rounded || found.relative_error < 1e-3, "{found:?}");
            assert_eq!(found.wrong_choice, None);
        }
    }
}

/// Which shape a device takes is its own affair.
fn every_shape(start: &'static str, from: &'static str, to: &'static str) -> Vec<Damage> {
    let kernels = KERNELS.iter().map(|k| k.name).filter(|name| name.starts_with(start));
    kernels.map(|kernel| Damage { kernel, from, to }).collect()
}

#[test]
fn a_damaged_kernel_shows_and_the_plain_ones_do_without_it() {
    let plan = &miniatures()[0];
    for kernels in ["gated matvec", "normed matvec"] {
        let mut spoil = every_shape(kernels, "+ dot(", "+ 1.25 * dot(");
        spoil.retain(|d| !d.kernel.ends_with("rounded"));
        let damaged = |plain| WebGpuOptions { plain, spoil: spoil.clone(), ..Default::default() };
        let Some(found) = on_gpu(damaged(false), plan) else { return };
        let e = found.unwrap_err();
        assert!(e.to_string().contains("wrong results"), "{e}");
        assert!(on_gpu(damaged(true), plan).unwrap().is_ok());
    }
}

#[test]
fn a_damaged_rounded_kernel_shows_and_the_exact_ones_do_without_it() {
    let plan = &miniatures()[0];
    for kernels in ["gated matvec", "normed matvec", "matmul"] {
        let mut spoil = every_shape(kernels, "return x.scale", "return 1.05 * x.scale");
        spoil.retain(|d| d.kernel.ends_with("rounded"));
        let damaged = |rounded| WebGpuOptions { rounded, spoil: spoil.clone(), ..Default::default() };
        let Some(found) = on_gpu(damaged(true), plan) else { return };
        let e = found.unwrap_err();
        assert!(e.to_string().contains("wrong results"), "{e}");
        assert!(on_gpu(damaged(false), plan).unwrap().is_ok());
    }
}

#[test]
fn a_device_that_chooses_wrongly_is_found() {
    let plan = &miniatures()[0];
    // Scores that are never best, and other random numbers.
    for (kernel, from, to) in [("score", "key > best", "key < best"), ("choose", "* 1664525u", "* 1664527u")]
    {
        let spoil = vec![Damage { kernel, from, to }];
        let Some(found) = on_gpu(WebGpuOptions { spoil, ..Default::default() }, plan) else { return };
        let wrong = found.unwrap().wrong_choice.expect("a wrong token");
        assert!(wrong.contains("wrong tokens"), "{wrong}");
    }
}

#[test]
fn what_a_race_leaves_rounded_is_right() {
    let model = Model::from_outline(&outline("qwen3", "Q4_K_M")).unwrap();
    let plan = Arc::new(model.miniature().unwrap());
    let layer = Arc::new(model.excerpt(0).unwrap());
    assert_eq!(layer.layers.len(), 1);
    let Some(mut backend) = open(WebGpuOptions { rounded: true, ..Default::default() }) else { return };
    pollster::block_on(backend.race(&layer, &plan)).unwrap();
    let rounds = backend.rounds();
    let features = backend.info().features.clone();
    assert_eq!(rounds.any(), !features.is_empty(), "{features:?}");
    let found = pollster::block_on(check(&mut backend, &plan, rounds)).unwrap();
    assert!(rounds.any() || found.relative_error < 1e-3, "{found:?}");
    assert_eq!(found.wrong_choice, None);
}
