use super::*;

fn outline(tied: bool, quantization: &str) -> Outline {
    Outline {
        architecture: "qwen3".into(),
        layers: 28,
        hidden_size: 1024,
        intermediate_size: 3072,
        heads: 16,
        kv_heads: 8,
        head_dim: 128,
        vocab: 151_936,
        context_length: 40_960,
        tied,
        quantization: quantization.into(),
    }
}

fn small() -> Candidate {
    let shape = Outline { layers: 2, hidden_size: 256, intermediate_size: 512, ..outline(true, "Q8_0") };
    Candidate { id: "small".into(), outline: shape }
}

fn gpu(binding: u64) -> Option<GpuLimits> {
    Some(GpuLimits {
        adapter: "test".into(),
        software: false,
        max_buffer_size: 2 * binding,
        max_storage_buffer_binding_size: binding,
    })
}

fn judge(options: FitOptions, machine: &Machine) -> Fit {
    let model = Model::from_outline(&outline(true, "Q8_0")).unwrap();
    let subject = Subject {
        plan: &model.plan,
        trained_context: model.config.context_length,
        to_store: Some(outline(true, "Q8_0").file_bytes()),
    };
    fit(subject, options, machine, &[small()]).unwrap()
}

fn cpu(context_length: Option<u32>) -> FitOptions {
    FitOptions { backend: BackendChoice::Cpu, context_length, must_store: false }
}

fn limits(fit: &Fit) -> Vec<Limit> {
    fit.problems.iter().map(|p| p.limit).collect()
}

#[test]
fn what_nothing_limits_fits() {
    let fit = judge(FitOptions::default(), &Machine::default());
    assert!(fit.fits && !fit.guess && fit.suggestions.is_empty(), "{fit:?}");
    assert_eq!((fit.backend, fit.context_length, fit.keeps), (BackendKind::Cpu, 4096, None));
    let Needs { footprint, wasm, gpu, .. } = fit.needs;
    assert_eq!((wasm, gpu), (footprint.total() + RUNTIME_BYTES, 0));
    assert!(fit.why.contains("GB on the CPU (weights 633 MB"), "{}", fit.why);
}

#[test]
fn keys_and_values_grow_with_the_context() {
    let kv = |n| judge(cpu(Some(n)), &Machine::default()).needs.footprint.kv;
    // A page more than the context needs: the copy of a shared tail.
    assert_eq!(kv(4096) - kv(2048), kv(6144) - kv(4096));
    assert!(kv(4096) > kv(64));
}

#[test]
fn webassembly_memory_is_a_limit_and_a_shorter_context_a_way_out() {
    let machine = Machine { wasm: Some(WASM_BYTES), ..Machine::default() };
    assert!(judge(cpu(Some(4096)), &machine).fits);
    let tight = Machine { wasm: Some(judge(cpu(Some(8192)), &machine).needs.wasm), ..machine };
    let fit = judge(cpu(Some(40_960)), &tight);
    assert_eq!((fit.fits, fit.guess, limits(&fit)), (false, false, vec![Limit::WasmMemory]));
    assert_eq!(fit.suggestions[0], Suggestion::Context { context_length: 8192 });
    assert!(fit.suggestions.contains(&Suggestion::Model { id: "small".into() }), "{:?}", fit.suggestions);
    assert!(fit.why.contains("use a context of 8192 tokens"), "{}", fit.why);
}

#[test]
fn a_context_beyond_training_is_named() {
    let fit = judge(cpu(Some(1_000_000)), &Machine::default());
    assert_eq!(limits(&fit), [Limit::Context]);
    assert_eq!(fit.suggestions[0], Suggestion::Context { context_length: 40_960 });
}

#[test]
fn the_gpus_limits_count_and_the_cpu_is_a_way_out() {
    let webgpu = FitOptions { backend: BackendChoice::WebGpu, ..cpu(Some(40_960)) };
    let none = judge(webgpu, &Machine::default());
    assert_eq!(limits(&none), [Limit::Webgpu]);
    assert!(none.suggestions.contains(&Suggestion::Backend { backend: BackendKind::Cpu }));

    // Keys of a layer: 40,960 times 2 KiB.
    let machine = Machine { gpu: gpu(64 << 20), ..Machine::default() };
    let fit = judge(webgpu, &machine);
    assert_eq!((limits(&fit), fit.guess), (vec![Limit::GpuBuffer], false));
    assert_eq!(fit.suggestions[0], Suggestion::Context { context_length: 16_384 });
    let auto = judge(FitOptions { backend: BackendChoice::Auto, ..webgpu }, &machine);
    assert_eq!((auto.fits, auto.backend), (true, BackendKind::Cpu));
    assert!(judge(FitOptions { context_length: None, ..webgpu }, &machine).fits);
}

#[test]
fn a_software_gpu_is_passed_over() {
    let software = gpu(1 << 30).map(|gpu| GpuLimits { software: true, ..gpu });
    let machine = Machine { gpu: software, ..Machine::default() };
    assert_eq!(judge(FitOptions::default(), &machine).backend, BackendKind::Cpu);
}

#[test]
fn a_phones_limit_is_a_guess_and_refuses_no_load() {
    let machine = Machine { phone: Some(Phone::Ios), ..Machine::default() };
    let fit = judge(cpu(Some(8192)), &machine);
    assert_eq!((fit.fits, fit.guess, limits(&fit)), (false, true, vec![Limit::TabMemory]));
    assert!(fit.why.contains("may not fit") && fit.why.contains("iOS"), "{}", fit.why);
    let model = Model::from_outline(&outline(true, "Q8_0")).unwrap();
    let subject = Subject { plan: &model.plan, trained_context: 40_960, to_store: None };
    check(subject, BackendKind::Cpu, 8192, &machine, &[]).unwrap();

    let weak = Machine { device_memory: Some(2 << 30), ..Machine::default() };
    assert_eq!(limits(&judge(cpu(Some(8192)), &weak)), [Limit::TabMemory]);
    let capped = Machine { device_memory: Some(8 << 30), ..Machine::default() };
    assert!(judge(cpu(Some(40_960)), &capped).fits);
}

#[test]
fn short_storage_hinders_only_who_has_to_keep_the_model() {
    let machine = Machine { storage: Some(100_000_000), ..Machine::default() };
    let fit = judge(cpu(None), &machine);
    assert_eq!((fit.fits, fit.keeps), (true, Some(false)));
    assert!(fit.why.contains("without being kept"), "{}", fit.why);
    let must = judge(FitOptions { must_store: true, ..cpu(None) }, &machine);
    assert_eq!((must.fits, limits(&must)), (false, vec![Limit::Storage]));
    let short = outline(true, "Q8_0").file_bytes() - 100_000_000;
    // The small model fits into 100 MB. A shorter context would not help.
    let ways = [Suggestion::Storage { bytes: short }, Suggestion::Model { id: "small".into() }];
    assert_eq!(must.suggestions, ways);
}

#[test]
fn a_load_is_refused_in_the_same_words() {
    let model = Model::from_outline(&outline(true, "Q8_0")).unwrap();
    let subject = Subject { plan: &model.plan, trained_context: 40_960, to_store: None };
    let machine = Machine { wasm: Some(1_000_000_000), ..Machine::default() };
    let error = check(subject, BackendKind::Cpu, 40_960, &machine, &[small()]).unwrap_err();
    assert_eq!(error.code(), Code::OutOfMemory);
    let fit = fit(subject, cpu(Some(40_960)), &machine, &[small()]).unwrap();
    assert_eq!(error.message(), fit.why);
}
