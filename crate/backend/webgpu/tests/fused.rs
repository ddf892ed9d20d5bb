//! Whole models in fused steps, against the plain references and against the bounds on what a token may cost.

use std::sync::Arc;

use super::support::{ALL, Held, Oracle, Random, even_blocks, limits, load, open, relative_l2};
use crate::backend::webgpu::{Matvec, WebGpuBackend, WebGpuOptions};
use crate::backend::{Backend, RunLimits, RunStats};
use crate::model::{Model, Outline};
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, Plan, Row, WeightKind};
use crate::quant::GgmlType;

const VOCAB: u32 = 90;

fn outline(architecture: &str, layers: u32) -> Outline {
    Outline {
        architecture: architecture.into(),
        layers,
        hidden_size: 256,
        intermediate_size: 512,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        vocab: VOCAB,
        context_length: 4096,
        tied: true,
        quantization: "Q4_K_M".into(),
    }
}

/// A model's plan with a format for each weight, and weights of a size that keeps values near one.
fn model(outline: &Outline, format: impl Fn(&str) -> GgmlType) -> (Arc<Plan>, Vec<Vec<u8>>) {
    let mut plan = Model::from_outline(outline).unwrap().plan;
    let random = &mut Random::new(u64::from(outline.layers) + 11);
    let mut bytes = Vec::new();
    for w in &mut plan.weights {
        let n = (w.rows * w.cols) as usize;
        bytes.push(match w.kind {
            WeightKind::Vector => {
                w.ty = GgmlType::F32;
                let about = if w.name.ends_with("bias") { 0.0 } else { 1.0 };
                (0..n).flat_map(|_| (about + 0.2 * random.unit()).to_le_bytes()).collect()
            }
            WeightKind::Matrix => {
                w.ty = format(&w.name);
                even_blocks(random, w.ty, n, 1.0 / (w.cols as f32).sqrt())
            }
        });
    }
    (Arc::new(plan), bytes)
}

/// As a user's run has it: buffers share memory.
fn user(max_rows: usize, n_pages: usize) -> RunLimits {
    RunLimits { keep_buffers: false, ..limits(max_rows, n_pages) }
}

fn row(sequence: u32, position: u32, output: bool) -> Row {
    Row { token: (position * 7 + sequence) % VOCAB, sequence, position, output }
}

fn logits(backend: &mut WebGpuBackend, batch: &Batch<'_>) -> Vec<f32> {
    backend.run(batch).unwrap();
    let mut out = Vec::new();
    pollster::block_on(backend.read_logits(&mut out)).unwrap();
    out
}

/// A prompt, tokens one by one, several tokens of a sequence at once, a token of each of two sequences.
fn agrees(what: &str, backend: &mut WebGpuBackend, plan: &Arc<Plan>, bytes: &[Vec<u8>]) {
    load(backend, plan, bytes, user(32, 4));
    let mut oracle = Oracle::new(plan, bytes, 4);
    oracle.rounded = backend.rounds().any();
    let (mut unrounded, mut flips) = (Oracle::new(plan, bytes, 4), 0);
    let tables: &[&[PageId]] = &[&[PageId(3), PageId(0)], &[PageId(1), PageId(2)]];
    let rows = |sequence, positions: std::ops::Range<u32>| -> Vec<Row> {
        let last = positions.end - 1;
        positions.map(|p| row(sequence, p, p == last)).collect()
    };
    let both = [rows(0, 68..69), rows(1, 29..30)].concat();
    let runs = [
        rows(0, 0..30),
        rows(0, 30..61),
        rows(0, 61..62),
        rows(0, 62..63),
        rows(0, 63..64),
        rows(0, 64..65),
        rows(0, 65..68),
        rows(1, 0..29),
        both,
    ];
    for (i, rows) in runs.iter().enumerate() {
        let batch = Batch { rows, tables };
        let got = logits(backend, &batch);
        let held = Held::read(backend, &batch);
        oracle.run(&batch, &held);
        let error = relative_l2(&got, oracle.buffer(plan.logits));
        // A value that is rounded the other way, because its last bits differ, is off by a whole step, and so is what is
        // rounded behind it: that is rare, and no more than what rounding does at all.
        let mut most = 3e-5;
        if oracle.rounded {
            unrounded.run(&batch, &held.lenient());
        }
        if oracle.rounded && error >= most {
            flips += 1;
            most = 2.0 * relative_l2(oracle.buffer(plan.logits), unrounded.buffer(plan.logits));
        }
        assert!(error < most, "{what}, run {i}: relative error {error}");
    }
    assert!(flips <= runs.len() / 3, "{what}: {flips} runs differ");
}

#[test]
fn models_of_every_format_agree_with_the_references() {
    for architecture in ["qwen2", "qwen3"] {
        for ty in ALL {
            for rounded in [false, true] {
                let Some(mut backend) = open(WebGpuOptions { rounded, ..Default::default() }) else { return };
                let (plan, bytes) = model(&outline(architecture, 2), |_| ty);
                let what = format!("{architecture} {}, rounded {rounded}", ty.name());
                agrees(&what, &mut backend, &plan, &bytes);
            }
        }
    }
}

#[test]
fn models_of_mixed_formats_agree_with_the_references() {
    // Queries, keys and values each of their own; gates and what they gate too.
    let mix = |name: &str| match name {
        n if n.contains("attn_q") => GgmlType::Q5_0,
        n if n.contains("attn_k") => GgmlType::Q8_0,
        n if n.contains("attn_v") => GgmlType::Q6K,
        n if n.contains("gate") => GgmlType::Q4K,
        n if n.contains("up") => GgmlType::F16,
        n if n.contains("down") => GgmlType::Iq4Xs,
        n if n.contains("blk") => GgmlType::Q3K,
        _ => GgmlType::Q8_0,
    };
    for matvec in [None, Some(Matvec::Thin), Some(Matvec::Narrow), Some(Matvec::Wide), Some(Matvec::Serial)] {
        for (architecture, default_limits, rounded) in
            [("qwen2", true, false), ("qwen3", false, false), ("qwen2", true, true), ("qwen3", true, true)]
        {
            let options = WebGpuOptions { matvec, default_limits, rounded, ..Default::default() };
            let Some(mut backend) = open(options) else { return };
            // A step with one weight of floats rounds for none of its weights; the references tell weights apart.
            let mix = |name: &str| if rounded && name.contains("up") { GgmlType::Q5_1 } else { mix(name) };
            let (plan, bytes) = model(&outline(architecture, 2), mix);
            agrees(&format!("{architecture} {matvec:?}, rounded {rounded}"), &mut backend, &plan, &bytes);
        }
    }
}

#[test]
fn models_of_split_weights_agree_with_the_references() {
    // Too little for two weights of a step, then for one.
    for most in [100_000, 20_000] {
        let options =
            WebGpuOptions { default_limits: true, max_weight_binding: Some(most), ..Default::default() };
        let Some(mut backend) = open(options) else { return };
        let (plan, bytes) = model(&outline("qwen3", 2), |_| GgmlType::Q8_0);
        agrees(&format!("{most} bytes a binding"), &mut backend, &plan, &bytes);
    }
}

/// What preparing a plan costs, then a token at this position: dispatches beside the sampler's two.
fn costs(outline: &Outline, position: u32, options: WebGpuOptions) -> Option<(RunStats, RunStats)> {
    let mut backend = open(options)?;
    let (plan, bytes) = model(outline, |name| match name {
        n if n.contains("attn_v") => GgmlType::Q6K,
        n if n.contains("down") => GgmlType::Q5_0,
        n if n.contains("blk") => GgmlType::Q4K,
        _ => GgmlType::Q8_0,
    });
    let n_pages = position as usize / PAGE_TOKENS + 1;
    load(&mut backend, &plan, &bytes, user(16, n_pages));
    let prepared = backend.take_stats();
    let table: Vec<PageId> = (0..n_pages as u32).map(PageId).collect();
    logits(&mut backend, &Batch { rows: &[row(0, position, true)], tables: &[&table] });
    Some((prepared, backend.take_stats()))
}

#[test]
fn a_token_is_five_dispatches_a_layer_and_two() {
    for (architecture, layers) in [("qwen2", 24), ("qwen3", 28)] {
        let outline = outline(architecture, layers);
        for (position, dispatches) in [(0, 5 * layers + 2), (511, 5 * layers + 2), (512, 6 * layers + 2)] {
            let options = WebGpuOptions { default_limits: true, ..Default::default() };
            let Some((prepared, token)) = costs(&outline, position, options) else { return };
            assert_eq!(token.dispatches, u64::from(dispatches), "{architecture} at {position}");
            assert_eq!((token.submits, token.bind_groups_created, token.buffers_created), (1, 0, 0));
            assert_eq!(token.pipelines_created, 0);
            // Four formats, two of them side by side in one dispatch.
            assert!(prepared.pipelines_created <= 25, "{} pipelines", prepared.pipelines_created);
        }
    }
}

#[test]
fn split_weights_cost_a_dispatch_a_part() {
    let mut outline = outline("qwen2", 4);
    (outline.intermediate_size, outline.vocab) = (768, 1000);
    let token = |most| {
        let options =
            WebGpuOptions { default_limits: true, max_weight_binding: Some(most), ..Default::default() };
        costs(&outline, 0, options).map(|(_, token)| token.dispatches)
    };
    // A table of 1000 rows is two parts; everything else fits.
    let Some(dispatches) = token(250_000) else { return };
    assert_eq!(dispatches, 2 + 5 * 4 + 2);
    // Gates and what they gate no longer fit a binding together: norm, two products, their product.
    assert_eq!(token(120_000).unwrap(), 3 + (5 + 3) * 4 + 3);
}
