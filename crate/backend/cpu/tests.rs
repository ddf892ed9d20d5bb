use std::sync::Arc;

use super::*;
use crate::check::interpreter::Interpreter;
use crate::kernels::simd::with_scalar;
use crate::plan::Row;
use crate::plan::state::{PAGE_TOKENS, PagePool, PageTable};
use crate::quant::{FORMATS, GgmlType};
use crate::testing::{Rng, TestModel, relative_l2};

const LIMITS: RunLimits =
    RunLimits { max_rows: 80, max_outputs: 4, max_sequences: 3, n_pages: 8, keep_buffers: false };

/// What comes of attention in 14 bits after two layers: keys, values, queries and weights are each within 2^-14 of the
/// largest beside them, some 10⁻⁴ of their length, and every norm after a product of random signs adds as much again.
const ATTENDED: f64 = 1e-3;

fn backend(model: &TestModel, limits: RunLimits) -> CpuBackend {
    let mut backend = CpuBackend::default();
    let plan = Arc::new(model.plan.clone());
    pollster::block_on(backend.prepare(plan, limits)).unwrap();
    for (i, (w, bytes)) in model.plan.weights.iter().zip(&model.weights).enumerate() {
        // In parts of a few rows, as a stream gives them.
        let row_bytes = bytes.len() / w.rows as usize;
        for (part, bytes) in bytes.chunks(5 * row_bytes).enumerate() {
            backend.upload(WeightId(i as u32), 5 * part as u32, bytes).unwrap();
        }
    }
    pollster::block_on(backend.finish_upload()).unwrap();
    backend
}

fn logits(backend: &mut CpuBackend) -> Vec<f32> {
    let mut out = Vec::new();
    pollster::block_on(backend.read_logits(&mut out)).unwrap();
    out
}

/// Rows of one sequence; logits for the last.
fn rows(rng: &mut Rng, sequence: u32, first: usize, n: usize) -> Vec<Row> {
    (0..n)
        .map(|i| Row {
            token: rng.below(102) as u32,
            sequence,
            position: (first + i) as u32,
            output: i + 1 == n,
        })
        .collect()
}

/// Two sequences: a prefill of one, a prefill of the other, then both at once.
fn steps(rng: &mut Rng) -> Vec<Vec<Row>> {
    let a = rows(rng, 0, 0, PAGE_TOKENS + 3);
    let b = rows(rng, 1, 0, 9);
    let mut both = rows(rng, 1, 9, 1);
    both.extend(rows(rng, 0, PAGE_TOKENS + 3, 4));
    both.extend(rows(rng, 1, 10, 1));
    vec![a, b, both, rows(rng, 0, PAGE_TOKENS + 7, 1)]
}

const TABLES: [&[PageId]; 2] = [&[PageId(5), PageId(0)], &[PageId(2)]];

#[test]
fn logits_match_the_references() {
    for f in &FORMATS {
        let model = TestModel::new(f.ty, 21);
        let mut cpu = backend(&model, LIMITS);
        let mut oracle = Interpreter::new(&model.plan, &model.weights, LIMITS.n_pages);
        let mut rng = Rng::new(22);
        for (i, rows) in steps(&mut rng).iter().enumerate() {
            let batch = Batch { rows, tables: &TABLES };
            cpu.run(&batch).unwrap();
            oracle.run(&batch).unwrap();
            let want = &oracle.buffers[model.plan.logits.0 as usize];
            let error = relative_l2(&logits(&mut cpu), want);
            // Eight bits an activation: a step is 1/127 of a block's largest; float weights take them as they are, and
            // only attention is rounded.
            let float = matches!(f.ty, GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16);
            let limit = if float { ATTENDED } else { 4e-2 };
            assert!(error <= limit, "{} step {i}: {error}", f.name);
        }
    }
}

#[test]
fn the_footprint_is_what_is_held_once_every_page_is_in_use() {
    for keep_buffers in [false, true] {
        let model = TestModel::new(GgmlType::Q5K, 37);
        let limits = RunLimits { keep_buffers, ..LIMITS };
        let mut cpu = backend(&model, limits);
        for page in 0..limits.n_pages as u32 {
            pollster::block_on(cpu.read_page(PageId(page))).unwrap();
        }
        let needs = footprint(&model.plan, limits).unwrap();
        assert_eq!(needs.total(), cpu.memory_bytes());
        let files: usize = model.weights.iter().map(Vec::len).sum();
        assert!(needs.weights >= files as u64 && needs.kv > 0, "{needs:?}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_logits() {
    let model = TestModel::new(GgmlType::Q4K, 23);
    let run = || {
        let mut cpu = backend(&model, LIMITS);
        let mut all = Vec::new();
        for rows in steps(&mut Rng::new(24)) {
            cpu.run(&Batch { rows: &rows, tables: &TABLES }).unwrap();
            all.extend(logits(&mut cpu).into_iter().map(f32::to_bits));
        }
        all
    };
    assert_eq!(run(), with_scalar(run));
}

#[test]
fn a_prefill_in_parts_gives_the_same_bits_as_at_once() {
    let model = TestModel::new(GgmlType::Q6K, 25);
    let rows = rows(&mut Rng::new(26), 0, 0, 70);
    let mut cpu = backend(&model, LIMITS);
    cpu.run(&Batch { rows: &rows, tables: &TABLES }).unwrap();
    let want = logits(&mut cpu);
    let mut cpu = backend(&model, LIMITS);
    for part in [&rows[..1], &rows[1..69], &rows[69..]] {
        cpu.run(&Batch { rows: part, tables: &TABLES }).unwrap();
    }
    assert_eq!(logits(&mut cpu), want);
}

#[test]
fn kept_buffers_hold_what_the_references_say() {
    let model = TestModel::new(GgmlType::F32, 27);
    let mut cpu = backend(&model, RunLimits { keep_buffers: true, ..LIMITS });
    let mut oracle = Interpreter::new(&model.plan, &model.weights, LIMITS.n_pages);
    let rows = rows(&mut Rng::new(28), 0, 0, 20);
    let batch = Batch { rows: &rows, tables: &TABLES };
    cpu.run(&batch).unwrap();
    oracle.run(&batch).unwrap();
    let attended = model.plan.buffers.iter().position(|b| b.name == "attended").unwrap();
    for (i, want) in oracle.buffers.iter().enumerate() {
        let got = pollster::block_on(cpu.read_buffer(BufferId(i as u32))).unwrap();
        let error = relative_l2(&got, want);
        // The residual, first of the buffers, is what the last layer left.
        let limit = if i == 0 || i >= attended { ATTENDED } else { 1e-5 };
        assert!(error <= limit, "{}: {error}", model.plan.buffers[i].name);
    }
}

#[test]
fn pages_can_be_shared_copied_written_out_and_read_back() {
    let model = TestModel::new(GgmlType::Q8_0, 29);
    let mut cpu = backend(&model, LIMITS);
    let mut pool = PagePool::new(LIMITS.n_pages);
    let mut rng = Rng::new(30);
    let prefix = rows(&mut rng, 0, 0, 70);
    let mut a = PageTable::default();
    pool.extend(&mut a, 70).unwrap();
    cpu.run(&Batch { rows: &prefix, tables: &[a.pages()] }).unwrap();

    let next = rows(&mut rng, 0, 70, 1);
    let mut b = pool.fork(&a);
    let copy = pool.extend(&mut b, 1).unwrap().unwrap();
    cpu.copy_page(copy).unwrap();
    let saved: Vec<_> = a.pages().iter().map(|p| pollster::block_on(cpu.read_page(*p)).unwrap()).collect();
    cpu.run(&Batch { rows: &next, tables: &[b.pages()] }).unwrap();
    let want = logits(&mut cpu);

    pool.extend(&mut a, 1).unwrap();
    cpu.run(&Batch { rows: &next, tables: &[a.pages()] }).unwrap();
    assert_eq!(logits(&mut cpu), want);

    let mut other = backend(&model, LIMITS);
    let restored = [PageId(7), PageId(1)];
    for (page, bytes) in restored.iter().zip(&saved) {
        other.write_page(*page, bytes).unwrap();
    }
    other.run(&Batch { rows: &next, tables: &[&restored] }).unwrap();
    assert_eq!(logits(&mut other), want);
    assert!(other.write_page(PageId(7), &saved[0][1..]).is_err());
    assert!(other.write_page(PageId(8), &saved[0]).is_err());
}

#[test]
fn memory_is_the_weights_once_and_pages_as_they_are_touched() {
    let model = TestModel::new(GgmlType::Q4_0, 31);
    let weights: usize = model.weights.iter().map(Vec::len).sum();
    let mut cpu = backend(&model, RunLimits { max_rows: 1, max_outputs: 1, ..LIMITS });
    let before = cpu.memory_bytes();
    // The vocabulary's 102 rows are filled up to 104; the scratch of one row is a few lines.
    assert!(before as usize >= weights && (before as usize) < weights + 40_000, "{before} for {weights}");
    // Two layers of two heads: keys and values in 16 bits, with a scale each.
    let page = (2 * 2 * 2 * PAGE_TOKENS * (64 * 2 + 4)) as u64;
    let rows = rows(&mut Rng::new(32), 1, 0, 1);
    for _ in 0..3 {
        cpu.run(&Batch { rows: &rows, tables: &TABLES }).unwrap();
        assert_eq!(cpu.memory_bytes(), before + page);
    }
    assert_eq!(cpu.take_stats().weight_bytes_read % 3, 0);
    assert_eq!(cpu.take_stats(), RunStats::default());
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = TestModel::new(GgmlType::F16, 33);
    let mut unprepared = CpuBackend::default();
    assert!(unprepared.upload(WeightId(0), 0, &[]).is_err());
    let mut cpu = backend(&model, LIMITS);
    assert!(cpu.upload(WeightId(0), 0, &model.weights[0][..512]).is_err(), "rows came already");
    assert!(pollster::block_on(cpu.read_buffer(BufferId(0))).is_err());
    let good = rows(&mut Rng::new(34), 0, 0, 2);
    for (change, what) in [
        (Row { token: 102, ..good[1] }, "token"),
        (Row { sequence: 2, ..good[1] }, "sequence"),
        (Row { position: 2 * PAGE_TOKENS as u32, ..good[1] }, "position"),
    ] {
        let batch = Batch { rows: &[good[0], change], tables: &TABLES };
        assert!(cpu.run(&batch).is_err(), "{what}");
    }
    let beyond: [&[PageId]; 1] = [&[PageId(8)]];
    assert!(cpu.run(&Batch { rows: &good, tables: &beyond }).is_err());
    let many = rows(&mut Rng::new(35), 0, 0, 81);
    assert!(cpu.run(&Batch { rows: &many, tables: &TABLES }).is_err());
    cpu.run(&Batch { rows: &good, tables: &TABLES }).unwrap();

    let mut partial = CpuBackend::default();
    pollster::block_on(partial.prepare(Arc::new(model.plan.clone()), LIMITS)).unwrap();
    partial.upload(WeightId(0), 0, &model.weights[0]).unwrap();
    assert!(pollster::block_on(partial.finish_upload()).is_err());
}
