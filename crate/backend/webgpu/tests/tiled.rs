//! Attention over tiles of rows, against the plain references.

use std::sync::Arc;

use super::support::{Builder, Held, Oracle, Random, limits, load, open, random_blocks, read, relative_l2};
use crate::backend::webgpu::{Damage, WebGpuBackend, WebGpuOptions};
use crate::backend::{Backend, RunLimits};
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, BufferId, LayerState, Op, Plan, Row, RowSet, WeightKind};
use crate::quant::GgmlType;

const VOCAB: usize = 64;
const N_PAGES: usize = 24;

/// Query heads, key heads, values a head, rotated pairs.
#[derive(Debug, Clone, Copy)]
struct Heads(usize, usize, usize, usize);

/// A layer's attention as a model has it, with norms of heads where `normed`.
fn model(heads: Heads, normed: bool) -> (Arc<Plan>, Vec<Vec<u8>>, BufferId) {
    let Heads(n_heads, n_kv_heads, dim, pairs) = heads;
    let random = &mut Random::new((dim * 100 + n_heads) as u64);
    let mut p = Builder {
        freqs: (0..pairs).map(|i| 1e4f64.powf(-(i as f64) / pairs as f64)).collect(),
        ..Default::default()
    };
    p.layers.push(LayerState::Attention { n_kv_heads: n_kv_heads as u32, head_dim: dim as u32 });
    let x = p.input("embd", random, VOCAB, 64);
    let projected = [("q", n_heads), ("k", n_kv_heads), ("v", n_kv_heads)].map(|(name, heads)| {
        let out = p.buffer(name, heads * dim, RowSet::All);
        let bytes = random_blocks(random, GgmlType::Q8_0, heads * dim * 64, false);
        let weight = p.weight(GgmlType::Q8_0, WeightKind::Matrix, heads * dim, 64, bytes);
        p.ops.push(Op::MatMul { x, weight, bias: None, out, accumulate: false });
        out
    });
    let [mut q, mut k, v] = projected;
    for x in [&mut q, &mut k] {
        if normed {
            let out = p.buffer("normed", x.width as usize, RowSet::All);
            let values: Vec<f32> = random.floats(dim).iter().map(|v| 1.0 + 0.5 * v).collect();
            let weight = p.vector(&values);
            p.ops.push(Op::RmsNorm { x: *x, weight, eps: 1e-6, out });
            *x = out;
        }
        p.ops.push(Op::Rope { x: *x, head_dim: dim as u32 });
    }
    p.ops.push(Op::StoreKv { layer: 0, k, v });
    let out = p.buffer("out", n_heads * dim, RowSet::All);
    // Sharper than a model's, so that some keys count for much.
    let scale = 2.0 / (dim as f32).sqrt();
    p.ops.push(Op::Attention { layer: 0, q, out, n_heads: n_heads as u32, scale });
    let (plan, bytes) = p.finish(out.buffer);
    (plan, bytes, out.buffer)
}

struct Pair {
    backend: WebGpuBackend,
    oracle: Oracle,
    out: BufferId,
}

/// `None` without an adapter.
fn pair(heads: Heads, normed: bool, options: WebGpuOptions) -> Option<Pair> {
    let mut backend = open(WebGpuOptions { fuse: true, default_limits: true, ..options })?;
    let (plan, bytes, out) = model(heads, normed);
    load(&mut backend, &plan, &bytes, RunLimits { max_outputs: 1, ..limits(128, N_PAGES) });
    let oracle = Oracle::new(&plan, &bytes, N_PAGES);
    Some(Pair { backend, oracle, out })
}

fn rows(sequence: u32, positions: impl IntoIterator<Item = u32>) -> Vec<Row> {
    positions
        .into_iter()
        .map(|position| Row { token: position * 7 % VOCAB as u32, sequence, position, output: false })
        .collect()
}

impl Pair {
    /// How far the GPU is off, relative.
    fn error(&mut self, rows: &[Row], tables: &[&[PageId]]) -> f64 {
        let batch = Batch { rows, tables };
        self.backend.run(&batch).unwrap();
        self.oracle.run(&batch, &Held::read(&mut self.backend, &batch));
        relative_l2(&read(&mut self.backend, self.out), self.oracle.buffer(self.out))
    }

    #[track_caller]
    fn agrees(&mut self, rows: &[Row], tables: &[&[PageId]]) {
        let error = self.error(rows, tables);
        assert!(error < 3e-5, "{} rows from {}: relative error {error}", rows.len(), rows[0].position);
    }
}

fn pages(ids: impl IntoIterator<Item = u32>) -> Vec<PageId> {
    ids.into_iter().map(PageId).collect()
}

#[test]
fn runs_of_any_length_and_group_agree_with_the_references() {
    let shapes = [
        Heads(2, 2, 32, 16),
        Heads(4, 2, 64, 32),
        Heads(4, 1, 96, 24),
        Heads(7, 1, 64, 32),
        Heads(14, 2, 128, 64),
        Heads(8, 1, 256, 128),
        Heads(3, 3, 160, 80),
    ];
    for (i, heads) in shapes.into_iter().enumerate() {
        let Some(mut pair) = pair(heads, i % 2 == 0, WebGpuOptions::default()) else { return };
        let table = pages((0..N_PAGES as u32).map(|p| p * 5 % N_PAGES as u32));
        let mut at = 0;
        // From one page to where several workgroups share them, and tiles that are not full.
        for n in [9, 5, 33, 64, 17, 128, 100, 16, 128, 128, 31, 128] {
            pair.agrees(&rows(0, at..at + n), &[&table]);
            at += n;
        }
        assert!(at as usize > 11 * PAGE_TOKENS);
    }
}

#[test]
fn sequences_that_share_pages_and_rows_in_any_order_agree_with_the_references() {
    for heads in [Heads(7, 1, 64, 32), Heads(4, 2, 128, 64)] {
        let Some(mut pair) = pair(heads, true, WebGpuOptions::default()) else { return };
        let trunk = pages((0..11).rev());
        let fork = [&trunk[..10], &pages([13, 12])].concat();
        let tables: &[&[PageId]] = &[&trunk, &fork];
        for at in (0..640).step_by(128) {
            pair.agrees(&rows(0, at..at + 128), tables);
        }
        pair.agrees(&rows(1, 640..690), tables);
        pair.agrees(&rows(0, 640..653), tables);
        pair.agrees(&rows(1, 690..705), tables);
        // Positions out of order and far apart, and one twice: tiles whose rows see very different pages.
        pair.agrees(&rows(1, [704, 3, 65, 64, 63, 400, 700, 0, 511, 130, 640, 3, 699, 1, 2, 320]), tables);
        // Rows of several sequences are not for tiles; they take turns with them.
        let mixed = [rows(0, 653..660), rows(1, 705..712), rows(0, 660..663)].concat();
        pair.agrees(&mixed, tables);
        pair.agrees(&rows(0, 663..690), tables);
    }
}

#[test]
fn a_key_that_is_no_number_shows_in_the_rows_that_see_it() {
    let Some(mut backend) = open(WebGpuOptions { fuse: true, ..Default::default() }) else { return };
    let (plan, mut bytes, out) = model(Heads(4, 2, 64, 32), false);
    // The embedding of one token.
    let (token, row_bytes) = (50, bytes[0].len() / VOCAB);
    bytes[0][token * row_bytes..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    load(&mut backend, &plan, &bytes, limits(128, 2));
    let mut rows = rows(0, 0..70);
    rows.iter_mut().for_each(|r| r.token %= 50);
    rows[20].token = token as u32;
    backend.run(&Batch { rows: &rows, tables: &[&pages([1, 0])] }).unwrap();
    for (position, line) in read(&mut backend, out).chunks_exact(4 * 64).enumerate() {
        assert_eq!(line.iter().all(|v| v.is_finite()), position < 20, "{position}");
        assert_eq!(line.iter().all(|v| v.is_nan()), position >= 20, "{position}");
    }
}

#[test]
fn what_is_damaged_shows() {
    let damages = [
        // A key's integers, the causal limit, weights and sums under an earlier maximum, shares of pages, the softmax's
        // divisor, which rows a tile has.
        ("let k1 = integers(", "let k1 = 1.5 * integers("),
        ("let n_keys = vec4<u32>(1u)", "let n_keys = vec4<u32>(2u)"),
        ("weight *= shrink[quad];", ""),
        ("sum3 *= shrink0[3];", ""),
        (".split != 0u);", ".split == 0u);"),
        ("total += shares[", "total += 0.9 * shares["),
        ("let low_row = first_row + first / group;", "let low_row = first_row + first;"),
    ];
    for kernel in ["tiled attention 64", "tiled attention 128", "tiled attention 256"] {
        let dim = kernel[16..].parse().unwrap();
        for (from, to) in damages {
            let spoil = vec![Damage { kernel, from, to }];
            let options = WebGpuOptions { spoil, ..Default::default() };
            let Some(mut pair) = pair(Heads(4, 2, dim, 16), false, options) else { return };
            let table = pages(0..N_PAGES as u32);
            let mut worst = 0.0f64;
            for at in (0..640).step_by(128) {
                let error = pair.error(&rows(0, at..at + 128), &[&table]);
                worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
            }
            assert!(worst > 3e-4, "{kernel} without {from}: {worst}");
        }
    }
}
