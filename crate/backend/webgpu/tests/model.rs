//! A small model's plan, run by run, against the plain references; pages; what a run costs.

use std::sync::Arc;

use super::support::{Builder, Held, Oracle, Random, limits, load, open, random_blocks, read, relative_l2};
use crate::backend::webgpu::{WebGpuBackend, WebGpuOptions, footprint};
use crate::backend::{Backend, RunLimits};
use crate::error::Code;
use crate::plan::state::{PAGE_TOKENS, PageCopy, PageId};
use crate::plan::{Batch, LayerState, Op, Plan, Row, RowSet, Slice, WeightKind};
use crate::quant::GgmlType;

const VOCAB: usize = 80;

/// Two layers with every operation: norms of the line and of heads, biases, a slice shared by keys and values.
fn model(n_heads: usize, n_kv_heads: usize, head_dim: usize, pairs: usize) -> (Arc<Plan>, Vec<Vec<u8>>) {
    let random = &mut Random::new((head_dim * 100 + n_heads) as u64);
    let (hidden, ff) = (64, 96);
    let mut p = Builder {
        freqs: (0..pairs).map(|i| 1e4f64.powf(-(i as f64) / pairs as f64)).collect(),
        ..Default::default()
    };
    let matrix = |p: &mut Builder, random: &mut Random, ty, rows: usize, cols: usize| {
        let bytes = random_blocks(random, ty, rows * cols, false);
        p.weight(ty, WeightKind::Matrix, rows, cols, bytes)
    };
    let near_one =
        |random: &mut Random, n| random.floats(n).iter().map(|v| 1.0 + 0.1 * v).collect::<Vec<_>>();
    let mut x = p.input("embd", random, VOCAB, hidden);
    let (q_width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
    for layer in 0..2u32 {
        p.layers.push(LayerState::Attention { n_kv_heads: n_kv_heads as u32, head_dim: head_dim as u32 });
        let name = |s: &str| format!("blk.{layer}.{s}");
        let normed = p.buffer(&name("attn_norm"), hidden, RowSet::All);
        let weight = p.vector(&near_one(random, hidden));
        p.ops.push(Op::RmsNorm { x, weight, eps: 1e-6, out: normed });
        let q = p.buffer(&name("q"), q_width, RowSet::All);
        let kv = p.buffer(&name("kv"), 2 * kv_width, RowSet::All);
        let k = Slice { width: kv_width as u32, ..kv };
        let v = Slice { offset: kv_width as u32, ..k };
        for (out, width) in [(q, q_width), (k, kv_width), (v, kv_width)] {
            let weight = matrix(&mut p, random, GgmlType::Q8_0, width, hidden);
            let bias = Some(p.vector(&random.floats(width)));
            p.ops.push(Op::MatMul { x: normed, weight, bias, out, accumulate: false });
        }
        let qn = p.buffer(&name("q_norm"), q_width, RowSet::All);
        let kn = p.buffer(&name("k_norm"), kv_width, RowSet::All);
        for (x, out) in [(q, qn), (k, kn)] {
            let weight = p.vector(&near_one(random, head_dim));
            p.ops.push(Op::RmsNorm { x, weight, eps: 1e-6, out });
            p.ops.push(Op::Rope { x: out, head_dim: head_dim as u32 });
        }
        p.ops.push(Op::StoreKv { layer, k: kn, v });
        let ctx = p.buffer(&name("attn_ctx"), q_width, RowSet::All);
        let scale = 1.0 / (head_dim as f32).sqrt();
        p.ops.push(Op::Attention { layer, q: qn, out: ctx, n_heads: n_heads as u32, scale });
        let weight = matrix(&mut p, random, GgmlType::Q4_0, hidden, q_width);
        p.ops.push(Op::MatMul { x: ctx, weight, bias: None, out: x, accumulate: true });
        if layer == 1 {
            let last = p.buffer("last", hidden, RowSet::Output);
            p.ops.push(Op::SelectRows { x, out: last });
            x = last;
        }
        let rows = if layer == 1 { RowSet::Output } else { RowSet::All };
        let gate_up = p.buffer(&name("gate_up"), 2 * ff, rows);
        let gate = Slice { width: ff as u32, ..gate_up };
        let up = Slice { offset: ff as u32, ..gate };
        for out in [gate, up] {
            let weight = matrix(&mut p, random, GgmlType::F16, ff, hidden);
            p.ops.push(Op::MatMul { x, weight, bias: None, out, accumulate: false });
        }
        let act = p.buffer(&name("ffn_act"), ff, rows);
        p.ops.push(Op::SiluMul { gate, up, out: act });
        let weight = matrix(&mut p, random, GgmlType::Q5_1, hidden, ff);
        p.ops.push(Op::MatMul { x: act, weight, bias: None, out: x, accumulate: true });
    }
    let logits = p.buffer("logits", VOCAB, RowSet::Output);
    let weight = matrix(&mut p, random, GgmlType::F32, VOCAB, hidden);
    p.ops.push(Op::MatMul { x, weight, bias: None, out: logits, accumulate: false });
    p.finish(logits.buffer)
}

fn sequence(random: &mut Random, sequence: u32, positions: std::ops::Range<usize>) -> Vec<Row> {
    let last = positions.end - 1;
    let row = |p| Row {
        token: random.below(VOCAB) as u32,
        sequence,
        position: p as u32,
        output: p == last || p % 5 == 3,
    };
    positions.map(row).collect()
}

/// Runs on both and compares every buffer that can be read.
fn both(backend: &mut WebGpuBackend, oracle: &mut Oracle, plan: &Plan, batch: &Batch<'_>) {
    backend.run(batch).unwrap();
    oracle.run(batch, &Held::read(backend, batch));
    for (i, buffer) in plan.buffers.iter().enumerate() {
        let id = crate::plan::BufferId(i as u32);
        let Ok(got) = pollster::block_on(backend.read_buffer(id)) else {
            // Only fused steps pass buffers by, and only in the layers' midst.
            assert!(backend.options.fuse && buffer.name.starts_with("blk."), "{}", buffer.name);
            continue;
        };
        let error = relative_l2(&got, oracle.buffer(id));
        assert!(error < 2e-5, "{}: relative error {error}", buffer.name);
    }
    let mut logits = Vec::new();
    pollster::block_on(backend.read_logits(&mut logits)).unwrap();
    assert_eq!(logits, read(backend, plan.logits));
}

const N_PAGES: usize = 24;

fn prepared(shape: (usize, usize, usize, usize), fuse: bool) -> Option<(WebGpuBackend, Oracle, Arc<Plan>)> {
    let mut backend = open(WebGpuOptions { fuse, ..Default::default() })?;
    let (plan, weights) = model(shape.0, shape.1, shape.2, shape.3);
    load(&mut backend, &plan, &weights, limits(200, N_PAGES));
    let oracle = Oracle::new(&plan, &weights, N_PAGES);
    Some((backend, oracle, plan))
}

#[test]
fn a_model_of_any_head_shape_agrees_with_the_references_in_every_buffer() {
    let shapes = [(2, 2, 32, 16), (4, 1, 64, 32), (6, 2, 96, 24), (3, 3, 128, 64), (7, 1, 256, 128)];
    for (shape, fuse) in shapes.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let Some((mut backend, mut oracle, plan)) = prepared(shape, fuse) else { return };
        let random = &mut Random::new(3);
        // Two sequences with pages out of order; their rows mixed in one run, then a row of each.
        let a: Vec<PageId> = [5, 2, 9, 0].map(PageId).to_vec();
        let b: Vec<PageId> = [1, 7].map(PageId).to_vec();
        let tables: &[&[PageId]] = &[&a, &b];
        let mut rows = sequence(random, 0, 0..130);
        rows.extend(sequence(random, 1, 0..37));
        both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables });
        for step in 0..3 {
            let mut rows = sequence(random, 1, 37 + step..38 + step);
            rows.extend(sequence(random, 0, 130 + step..131 + step));
            both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables });
        }
        let rows = sequence(random, 0, 133..134);
        both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables });
    }
}

#[test]
fn a_context_longer_than_one_chunk_of_keys() {
    for fuse in [false, true] {
        let Some((mut backend, mut oracle, plan)) = prepared((4, 2, 64, 32), fuse) else { return };
        let random = &mut Random::new(4);
        let table: Vec<PageId> = (0..N_PAGES as u32).rev().map(PageId).collect();
        let tables: &[&[PageId]] = &[&table];
        for first in (0..1400).step_by(200) {
            let rows = sequence(random, 0, first..first + 200);
            both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables });
        }
        // One row, then several of the sequence at once.
        for positions in [1400..1401, 1401..1404] {
            let rows = sequence(random, 0, positions);
            both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables });
        }
    }
}

#[test]
fn pages_are_copied_and_come_back_as_they_were_written() {
    let Some((mut backend, mut oracle, plan)) = prepared((4, 2, 32, 16), false) else { return };
    let random = &mut Random::new(5);
    let rows = sequence(random, 0, 0..PAGE_TOKENS + 9);
    both(&mut backend, &mut oracle, &plan, &Batch { rows: &rows, tables: &[&[PageId(3), PageId(4)]] });
    let page = pollster::block_on(backend.read_page(PageId(4))).unwrap();
    assert!(page.iter().any(|&b| b != 0));
    backend.copy_page(PageCopy { from: PageId(4), to: PageId(8) }).unwrap();
    assert_eq!(pollster::block_on(backend.read_page(PageId(8))).unwrap(), page);
    backend.write_page(PageId(11), &page).unwrap();
    assert_eq!(pollster::block_on(backend.read_page(PageId(11))).unwrap(), page);

    // The sequence goes on with either copy in place of the page, as on the original.
    let next = sequence(random, 0, PAGE_TOKENS + 9..PAGE_TOKENS + 10);
    let logits = [8, 11, 4].map(|tail| {
        backend.run(&Batch { rows: &next, tables: &[&[PageId(3), PageId(tail)]] }).unwrap();
        let mut out = Vec::new();
        pollster::block_on(backend.read_logits(&mut out)).unwrap();
        out
    });
    assert_eq!(logits[0], logits[1]);
    assert_eq!(logits[0], logits[2]);

    assert_eq!(backend.write_page(PageId(0), &page[1..]).unwrap_err().code(), Code::InvalidArgument);
    assert!(backend.copy_page(PageCopy { from: PageId(0), to: PageId(N_PAGES as u32) }).is_err());
}

#[test]
fn a_run_makes_nothing_and_submits_once() {
    let Some(mut backend) = open(WebGpuOptions { default_limits: true, ..Default::default() }) else {
        return;
    };
    let (plan, weights) = model(4, 2, 32, 16);
    // Buffers that share memory, as a user's run has it.
    load(&mut backend, &plan, &weights, RunLimits { keep_buffers: false, ..limits(64, 8) });
    let mut oracle = Oracle::new(&plan, &weights, 8);
    let random = &mut Random::new(6);
    let prefill = sequence(random, 0, 0..64);
    let tables: &[&[PageId]] = &[&[PageId(2), PageId(1)]];
    let mut logits = Vec::new();
    for rows in [prefill, sequence(random, 0, 64..65), sequence(random, 0, 65..66)] {
        backend.take_stats();
        let batch = Batch { rows: &rows, tables };
        backend.run(&batch).unwrap();
        pollster::block_on(backend.read_logits(&mut logits)).unwrap();
        let stats = backend.take_stats();
        assert_eq!((stats.submits, stats.bind_groups_created, stats.buffers_created), (1, 0, 0));
        // With many rows a layer's norms and rotations of heads go with what uses them, with few all that belongs together.
        let dispatches = if rows.len() > 4 { plan.ops.len() - 2 * 4 } else { 15 };
        assert_eq!(stats.dispatches, dispatches as u64);
        assert_eq!(stats.bytes_read_back, logits.len() as u64 * 4);
        oracle.run(&batch, &Held::read(&mut backend, &batch));
        assert!(relative_l2(&logits, oracle.buffer(plan.logits)) < 2e-5);
        let words = 5 + 4 * rows.len() + rows.iter().filter(|r| r.output).count() + 2;
        assert_eq!(stats.bytes_written, words as u64 * 4);
    }
}

#[test]
fn a_long_run_is_submitted_in_parts() {
    let whole = WebGpuOptions::default();
    // A product of the second layer has 96 * 64 multiplications a line.
    let parts = WebGpuOptions { max_submission: Some(100 * 96 * 64), ..Default::default() };
    let (plan, weights) = model(4, 2, 32, 16);
    let random = &mut Random::new(11);
    let (prompt, next) = (sequence(random, 0, 0..128), sequence(random, 0, 128..129));
    let mut all = Vec::new();
    for options in [whole, parts] {
        let Some(mut backend) = open(options) else { return };
        load(&mut backend, &plan, &weights, RunLimits { keep_buffers: false, ..limits(128, 4) });
        let mut logits = vec![Vec::new(); 2];
        let mut submits = Vec::new();
        for (rows, logits) in [&prompt, &next].into_iter().zip(&mut logits) {
            backend.take_stats();
            let table = [0, 2, 1].map(PageId);
            backend.run(&Batch { rows, tables: &[&table] }).unwrap();
            pollster::block_on(backend.read_logits(logits)).unwrap();
            submits.push(backend.take_stats().submits);
        }
        all.push((logits, submits));
    }
    let [(want, one), (got, several)] = all.try_into().unwrap();
    assert_eq!(one, [1, 1]);
    // A token is short whatever the prompt takes.
    assert!((4..40).contains(&several[0]) && several[1] == 1, "{several:?}");
    assert_eq!(got, want);
}

#[test]
fn what_is_out_of_range_is_refused_before_it_is_submitted() {
    let Some((mut backend, _, _)) = prepared((2, 2, 32, 16), false) else { return };
    let good = Row { token: 1, sequence: 0, position: 0, output: true };
    let table: &[PageId] = &[PageId(0)];
    let mut refused = |row: Row, tables: &[&[PageId]]| {
        backend.take_stats();
        let e = backend.run(&Batch { rows: &[row], tables }).unwrap_err();
        assert_eq!(backend.take_stats().submits, 0);
        e.code()
    };
    assert_eq!(refused(Row { token: VOCAB as u32, ..good }, &[table]), Code::InvalidArgument);
    assert_eq!(refused(Row { sequence: 1, ..good }, &[table]), Code::Internal);
    assert_eq!(refused(Row { position: PAGE_TOKENS as u32, ..good }, &[table]), Code::Internal);
    assert_eq!(refused(good, &[&[PageId(N_PAGES as u32)]]), Code::Internal);
    assert_eq!(refused(good, &[table; 5]), Code::Internal);
    backend.run(&Batch { rows: &[good], tables: &[table] }).unwrap();
    let rows = vec![good; 201];
    assert_eq!(backend.run(&Batch { rows: &rows, tables: &[table] }).unwrap_err().code(), Code::Internal);
}

#[test]
fn the_footprint_is_what_the_device_holds() {
    let (plan, weights) = model(4, 2, 16, 8);
    let Some(mut backend) = open(WebGpuOptions::default()) else { return };
    for keep_buffers in [false, true] {
        let limits = RunLimits { keep_buffers, ..limits(8, 3) };
        load(&mut backend, &plan, &weights, limits);
        let needs = footprint(&plan, limits, backend.room()).unwrap();
        // The kernels' parameters come on top.
        let params = backend.memory_bytes() - needs.total();
        assert!(params < 64 << 10, "{params} bytes more than {needs:?}");
    }
}

#[test]
fn keys_and_values_of_any_size_are_held() {
    let (n_heads, head_dim) = (2, 32);
    let width = n_heads * head_dim;
    // Queries, keys, values; beyond f16 both ways, and scores that one position takes alone.
    for [q, k, v] in
        [[0.0, 0.0, 0.0], [1.0, 7e4, 1e6], [1e-3, 1e4, 3e37], [1e15, 1e15, 1.0], [1e-30, 1e30, 1e-30]]
    {
        let Some(mut backend) = open(WebGpuOptions { fuse: true, ..Default::default() }) else { return };
        let random = &mut Random::new(8);
        let mut p = Builder { freqs: vec![1.0, 0.3, 0.1, 0.03], ..Default::default() };
        p.layers.push(LayerState::Attention { n_kv_heads: n_heads as u32, head_dim: head_dim as u32 });
        let table: Vec<u8> = (0..VOCAB * 3 * width)
            .flat_map(|i| (random.unit() * [q, k, v][i % (3 * width) / width]).to_le_bytes())
            .collect();
        let table = p.weight(GgmlType::F32, WeightKind::Matrix, VOCAB, 3 * width, table);
        let qkv = p.buffer("qkv", 3 * width, RowSet::All);
        p.ops.push(Op::Embed { table, out: qkv });
        let [q, k, v] = [0, 1, 2].map(|i| Slice { offset: (i * width) as u32, width: width as u32, ..qkv });
        let head_dim = head_dim as u32;
        p.ops.extend([
            Op::Rope { x: q, head_dim },
            Op::Rope { x: k, head_dim },
            Op::StoreKv { layer: 0, k, v },
        ]);
        let out = p.buffer("out", width, RowSet::All);
        p.ops.push(Op::Attention { layer: 0, q, out, n_heads: n_heads as u32, scale: 0.25 });
        let (plan, weights) = p.finish(out.buffer);
        load(&mut backend, &plan, &weights, limits(70, 2));
        let mut oracle = Oracle::new(&plan, &weights, 2);
        // Stored before attention, then on its way.
        for positions in [0..70, 70..71, 71..72] {
            let rows = sequence(random, 0, positions);
            let batch = Batch { rows: &rows, tables: &[&[PageId(1), PageId(0)]] };
            backend.run(&batch).unwrap();
            oracle.run(&batch, &Held::read(&mut backend, &batch));
            let (got, want) = (read(&mut backend, out.buffer), oracle.buffer(out.buffer));
            let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() <= 2e-5 * largest, "{got} for {want}");
            }
        }
    }
}

#[test]
fn what_is_no_number_shows_in_rows_that_see_it_alone() {
    for fuse in [false, true] {
        let Some(mut backend) = open(WebGpuOptions { fuse, ..Default::default() }) else { return };
        let (plan, mut weights) = model(4, 2, 32, 16);
        // The last token's embedding.
        let n = weights[0].len();
        weights[0][n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        load(&mut backend, &plan, &weights, limits(8, 1));
        let row = |position, token| Row { token, sequence: 0, position, output: true };
        for (position, token, broken) in [(0, 1, false), (1, VOCAB as u32 - 1, true), (2, 1, true)] {
            backend.run(&Batch { rows: &[row(position, token)], tables: &[&[PageId(0)]] }).unwrap();
            let logits = read(&mut backend, plan.logits);
            assert_eq!(logits.iter().all(|v| v.is_nan()), broken, "{token}");
            assert_eq!(logits.iter().all(|v| v.is_finite()), !broken, "{token}");
        }
    }
}
