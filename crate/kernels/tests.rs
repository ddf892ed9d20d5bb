//! The references against numbers worked out by hand.

use super::*;
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Rope, Row};
use crate::quant::GgmlType;
use crate::threads::Pool as Threads;
use store_kv::Pool;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn row(sequence: u32, position: u32) -> Row {
    Row { token: 0, sequence, position, output: false }
}

#[cfg_attr(test, test)]
pub(crate) fn embed_takes_the_tokens_rows() {
    let table = bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut out = [0.0; 4];
    embed::reference(GgmlType::F32, &table, &[2, 0], LinesMut::packed(&mut out, 2).unwrap()).unwrap();
    assert_eq!(out, [5.0, 6.0, 1.0, 2.0]);
    let beyond = embed::reference(GgmlType::F32, &table, &[3], LinesMut::packed(&mut out[..2], 2).unwrap());
    assert!(beyond.is_err());
}

#[cfg_attr(test, test)]
pub(crate) fn matmul_adds_bias_and_what_was_there() {
    let weight = bytes(&[1.0, 2.0, -1.0, 0.5, 0.0, 3.0]);
    let x = [1.0, 10.0, 2.0, 0.0];
    let mut out = [100.0; 6];
    let x = Lines::packed(&x, 2).unwrap();
    let bias = [0.25, 0.0, -0.25];
    let lines = LinesMut::packed(&mut out, 3).unwrap();
    matmul::reference(x, GgmlType::F32, &weight, Some(&bias), true, lines).unwrap();
    assert_eq!(out, [121.25, 104.0, 129.75, 102.25, 98.0, 99.75]);
}

#[cfg_attr(test, test)]
pub(crate) fn rms_norm_works_on_each_head() {
    let x = [3.0, 4.0, 0.0, 2.0];
    let mut out = [0.0; 4];
    let lines = LinesMut::packed(&mut out, 4).unwrap();
    rms_norm::reference(Lines::packed(&x, 4).unwrap(), &[1.0, 2.0], 0.0, lines).unwrap();
    let want = [3.0 / 12.5f32.sqrt(), 8.0 / 12.5f32.sqrt(), 0.0, 4.0 / 2f32.sqrt()];
    for (got, want) in out.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got}, not {want}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn rope_turns_half_split_pairs_and_leaves_the_rest() {
    let rope = Rope { freqs: vec![std::f64::consts::FRAC_PI_2, 0.0], scale: 2.0 };
    let mut x = [1.0, 2.0, 3.0, 4.0, 5.0];
    rope::reference(&rope, &[1], 5, LinesMut::packed(&mut x, 5).unwrap()).unwrap();
    for (got, want) in x.iter().zip([-6.0, 4.0, 2.0, 8.0, 5.0]) {
        assert!((got - want).abs() < 1e-6, "{x:?}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn silu_mul_and_select_rows() {
    let mut out = [0.0; 2];
    let gate = [0.0, 1.0];
    let gate = Lines::packed(&gate, 2).unwrap();
    let up = [7.0, 2.0];
    silu_mul::reference(gate, Lines::packed(&up, 2).unwrap(), LinesMut::packed(&mut out, 2).unwrap())
        .unwrap();
    assert_eq!(out[0], 0.0);
    assert!((out[1] - 2.0 / (1.0 + (-1.0f32).exp())).abs() < 1e-6);

    let x = [1.0, 2.0, 3.0];
    let mut chosen = [0.0; 2];
    let rows = [row(0, 0), Row { output: true, ..row(0, 1) }, Row { output: true, ..row(0, 2) }];
    let lines = LinesMut::packed(&mut chosen, 1).unwrap();
    select_rows::reference(&rows, Lines::packed(&x, 1).unwrap(), lines).unwrap();
    assert_eq!(chosen, [2.0, 3.0]);
}

#[cfg_attr(test, test)]
pub(crate) fn attention_weighs_the_positions_of_its_own_sequence() {
    // Two sequences whose pages lie in reverse; one key/value head of 1 for two query heads.
    let (mut keys, mut values) = (Pool::new(3, 1, 1), Pool::new(3, 1, 1));
    let tables: [&[PageId]; 2] = [&[PageId(2), PageId(0)], &[PageId(1)]];
    let last = PAGE_TOKENS as u32;
    let mut rows: Vec<Row> = (0..=last).map(|p| row(0, p)).collect();
    rows.push(row(1, 0));
    // Keys of sequence 0 are 0 but at its last position, so that a query of ln 3 there weighs three to one.
    let mut k = vec![0.0; rows.len()];
    let mut v = vec![4.0; rows.len()];
    (k[PAGE_TOKENS], v[PAGE_TOKENS]) = (1.0, 10.0);
    v[PAGE_TOKENS + 1] = -5.0;
    let (k, v) = (Lines::packed(&k, 1).unwrap(), Lines::packed(&v, 1).unwrap());
    store_kv::reference(&rows, &tables, k, v, &mut keys, &mut values).unwrap();
    assert_eq!((values.data[0], values.data[PAGE_TOKENS], values.data[2 * PAGE_TOKENS]), (10.0, -5.0, 4.0));

    let rows = [row(0, 1), row(0, last), row(1, 0)];
    let q = [0.0, 9.0, 0.0, 3f32.ln() * 2.0, 1.0, 1.0];
    let mut out = [0.0; 6];
    let lines = LinesMut::packed(&mut out, 2).unwrap();
    let q = Lines::packed(&q, 2).unwrap();
    attention::reference(&rows, &tables, &keys, &values, 2, 0.5, q, lines).unwrap();
    let n = PAGE_TOKENS as f32;
    let want = [4.0, 4.0, (4.0 * n + 10.0) / (n + 1.0), (4.0 * n + 30.0) / (n + 3.0), -5.0, -5.0];
    for (got, want) in out.iter().zip(want) {
        assert!((got - want).abs() < 1e-5, "{out:?}, not {want}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn silu_and_norm_keep_up_with_the_references_over_their_range() {
    // Seven values a line, so that the last three go through the padded end.
    let gate = [-1e4, -100.0, -20.0, -0.5, 1e-6, 30.0, 1e4];
    let up = [1.0, -2.0, 3.0, 1e3, -1e3, 0.5, 1e-3];
    let (gate, up) = (Lines::packed(&gate, 7).unwrap(), Lines::packed(&up, 7).unwrap());
    let (mut got, mut want) = ([9.0; 7], [0.0; 7]);
    silu_mul::forward(gate, up, LinesMut::packed(&mut got, 7).unwrap(), &Threads::alone()).unwrap();
    silu_mul::reference(gate, up, LinesMut::packed(&mut want, 7).unwrap()).unwrap();
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-6 * want.abs() + 1e-30, "{got}, not {want}");
    }
    let weight = [1.0, -1.0, 2.0, 0.5, 1.0, 1.0, 1.0];
    rms_norm::forward(gate, &weight, 1e-6, LinesMut::packed(&mut got, 7).unwrap()).unwrap();
    rms_norm::reference(gate, &weight, 1e-6, LinesMut::packed(&mut want, 7).unwrap()).unwrap();
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-6 * want.abs(), "{got}, not {want}");
    }
}

#[cfg(test)]
#[test]
fn silu_is_the_same_on_any_number_of_threads() {
    let pool = Threads::new(3).unwrap();
    let mut rng = crate::testing::Rng::new(23);
    for (n, width) in [(1, 4864), (1, 1), (5, 1027), (40, 97)] {
        let (gate, up) = (rng.values(n * width), rng.values(n * width));
        let run = |pool: &Threads| {
            let mut out = vec![f32::NAN; n * width];
            let (gate, up) = (Lines::packed(&gate, width).unwrap(), Lines::packed(&up, width).unwrap());
            silu_mul::forward(gate, up, LinesMut::packed(&mut out, width).unwrap(), pool).unwrap();
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let alone = run(&Threads::alone());
        assert!(alone.iter().all(|bits| !f32::from_bits(*bits).is_nan()));
        assert_eq!(run(&pool), alone, "{n} lines of {width}");
    }
}
