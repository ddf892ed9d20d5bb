//! The operations that read weights, in every format.

use super::support::{ALL, Builder, Random, limits, load, open, random_blocks, read};
use crate::backend::Backend;
use crate::backend::webgpu::arrange::{Room, cut};
use crate::backend::webgpu::{Matvec, WebGpuOptions};
use crate::kernels::matmul::round_to_bytes;
use crate::kernels::shader::UNPACKS;
use crate::plan::state::PageId;
use crate::plan::{Batch, Op, Row, RowSet, Weight, WeightKind};
use crate::quant::{self, GgmlType};

const TOKENS: usize = 75;

fn rows(tokens: impl Iterator<Item = usize>) -> Vec<Row> {
    (0..)
        .zip(tokens)
        .map(|(position, t)| Row { token: t as u32, sequence: 0, position, output: false })
        .collect()
}

fn batch(rows: &[Row]) -> Batch<'_> {
    Batch { rows, tables: &[&[PageId(0), PageId(1)]] }
}

#[test]
fn embeddings_of_every_format_are_the_decoded_rows() {
    // Parts of 16 rows where the format's rows are long enough: the table is split.
    for max_weight_binding in [None, Some(9000)] {
        let Some(mut backend) = open(WebGpuOptions { max_weight_binding, ..Default::default() }) else {
            return;
        };
        for (seed, ty) in (1..).zip(ALL) {
            for hostile in [false, true] {
                let random = &mut Random::new(seed);
                // An odd number of groups where blocks allow it.
                let cols = if ty.format().block_elems == 256 { 512 } else { 96 };
                let bytes = random_blocks(random, ty, TOKENS * cols, hostile);
                let mut plan = Builder::default();
                let table = plan.weight(ty, WeightKind::Matrix, TOKENS, cols, bytes.clone());
                let out = plan.buffer("out", cols, RowSet::All);
                plan.ops.push(Op::Embed { table, out });
                let (plan, weights) = plan.finish(out.buffer);
                load(&mut backend, &plan, &weights, limits(TOKENS, 2));

                let rows = rows((0..TOKENS).rev());
                backend.run(&batch(&rows)).unwrap();
                let got = read(&mut backend, out.buffer);
                let mut want = vec![0.0; TOKENS * cols];
                quant::decode(ty, &bytes, &mut want).unwrap();
                for (row, got) in rows.iter().zip(got.chunks_exact(cols)) {
                    let want = &want[row.token as usize * cols..][..cols];
                    for (got, want) in got.chunks_exact(32).zip(want.chunks_exact(32)) {
                        let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                        for (g, w) in got.iter().zip(want) {
                            // K-quants with a minimum subtract two products: what they round is as large as those.
                            let room = 1e-6 * largest.max(if hostile { minimum_size(ty) } else { 0.0 });
                            assert!((g - w).abs() <= room, "{} token {}: {g} for {w}", ty.name(), row.token);
                        }
                    }
                }
            }
        }
    }
}

/// The largest product that a hostile scale makes and a difference may cancel.
fn minimum_size(ty: GgmlType) -> f32 {
    match ty {
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q2K => 65504.0 * 31.0,
        GgmlType::Q4K | GgmlType::Q5K => 65504.0 * 63.0 * 31.0,
        _ => 0.0,
    }
}

/// What rounding makes of a line, and how far a value may be off whose two neighbours are about as near.
fn rounded(x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut out = x.to_vec();
    round_to_bytes(&mut out);
    let doubt = x.chunks(32).flat_map(|group| {
        let step = group.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
        let is_near = move |v: &f32| ((v / step).abs().fract() - 0.5).abs() < 1e-4;
        group.iter().map(move |v| if is_near(v) { step } else { 0.0 })
    });
    (out, doubt.collect())
}

/// `weight · x` in f64, and the sum of the magnitudes that bounds its rounding.
fn exact(ty: GgmlType, weight: &[u8], x: &[f32]) -> Vec<(f64, f64)> {
    let cols = x.len();
    let row_bytes = ty.row_bytes(cols as u64).unwrap() as usize;
    let mut w = vec![0.0; cols];
    let mut out = Vec::new();
    for row in weight.chunks_exact(row_bytes) {
        quant::decode(ty, row, &mut w).unwrap();
        let products = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
        out.push(products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs())));
    }
    out
}

fn products_of(ty: GgmlType, seed: u64, options: WebGpuOptions, hostile: bool) {
    let Some(mut backend) = open(options.clone()) else { return };
    let is_rounded = backend.rounds().any() && UNPACKS[ty as usize].packed.is_some();
    let random = &mut Random::new(seed);
    let step = ty.format().block_elems.max(32);
    // The last has more columns than a rounded line in workgroup memory, and than a part of a split weight.
    let mut shapes = vec![(1usize, 1), (16, 2), (17, 3), (70, 2), (130, 9), (20, 143)];
    shapes.truncate(if options.max_weight_binding.is_some() { 5 } else { 6 });
    for (n, groups) in shapes {
        let cols = if step == 256 { 256 * groups.min(3).max(groups / 8) } else { 32 * groups };
        let (has_bias, accumulate) = (n % 2 == 0, n > 16);
        let mut plan = Builder::default();
        let x = plan.input("x", random, TOKENS, cols);
        // The product goes to columns in the middle of a wider line.
        let mut out = plan.input("out", random, TOKENS, n.next_multiple_of(32) + 64);
        out.offset = 5;
        out.width = n as u32;
        let bytes = random_blocks(random, ty, n * cols, hostile);
        let weight = plan.weight(ty, WeightKind::Matrix, n, cols, bytes.clone());
        let bias_values = random.floats(n);
        let bias = has_bias.then(|| plan.vector(&bias_values));
        plan.ops.push(Op::MatMul { x, weight, bias, out, accumulate });
        let (plan, weights) = plan.finish(out.buffer);
        load(&mut backend, &plan, &weights, limits(70, 2));

        let table = |id: usize, width: usize| {
            let mut values = vec![0.0; TOKENS * width];
            quant::decode(GgmlType::F32, &weights[id], &mut values).unwrap();
            values
        };
        let stride = plan.buffer(out.buffer).width as usize;
        let (xs, before) = (table(0, cols), table(1, stride));
        for lines in [1, 4, 5, 33, 70] {
            let rows = rows((0..lines).map(|i| (i * 7) % TOKENS));
            backend.run(&batch(&rows)).unwrap();
            let got = read(&mut backend, out.buffer);
            for (row, got) in rows.iter().zip(got.chunks_exact(stride)) {
                let token = row.token as usize;
                let before = &before[token * stride..][..stride];
                let x = &xs[token * cols..][..cols];
                let (x, doubt) = if is_rounded { rounded(x) } else { (x.to_vec(), vec![0.0; cols]) };
                let want = exact(ty, &bytes, &x);
                let doubts = exact(ty, &bytes, &doubt);
                for (i, &g) in got.iter().enumerate() {
                    let Some(&(sum, size)) = i.checked_sub(5).and_then(|i| want.get(i)) else {
                        assert_eq!(g, before[i], "{}: a value outside of the slice changed", ty.name());
                        continue;
                    };
                    let b = f64::from(if has_bias { bias_values[i - 5] } else { 0.0 });
                    let a = f64::from(if accumulate { before[i] } else { 0.0 });
                    let room = 4e-6 * (size + a.abs() + b.abs()) + doubts[i - 5].1;
                    let want = sum + a + b;
                    assert!(
                        (f64::from(g) - want).abs() <= room,
                        "{} [{n}, {cols}] x {lines}, output {}: {g} for {want}, {room} allowed",
                        ty.name(),
                        i - 5
                    );
                }
            }
        }
    }
}

#[test]
fn products_of_every_format_with_one_and_many_rows() {
    for matvec in [Matvec::Thin, Matvec::Narrow, Matvec::Wide, Matvec::Serial] {
        for (seed, ty) in (1..).zip(ALL) {
            for rounded in [false, true] {
                let options = WebGpuOptions { matvec: Some(matvec), rounded, ..Default::default() };
                products_of(ty, seed, options, false);
            }
        }
    }
}

#[test]
fn products_of_split_weights_on_a_device_with_the_default_limits() {
    let options =
        WebGpuOptions { default_limits: true, max_weight_binding: Some(60_000), ..Default::default() };
    for (seed, ty) in (1..).zip(ALL) {
        products_of(ty, seed, options.clone(), false);
    }
}

#[test]
fn products_of_hostile_scales() {
    // Differences of huge products are left to the test of the embeddings, which bounds them.
    for (seed, ty) in (1..).zip(ALL).filter(|(_, ty)| minimum_size(*ty) == 0.0) {
        for rounded in [false, true] {
            products_of(ty, seed, WebGpuOptions { rounded, ..Default::default() }, true);
        }
    }
}

#[test]
fn packed_weights_are_as_large_as_the_file() {
    for ty in ALL {
        let (rows, cols) = (4864, 1024);
        let weight = Weight { name: "w".into(), kind: WeightKind::Matrix, ty, rows, cols, stands_for: rows };
        let room = Room { binding: u64::MAX, buffer: u64::MAX, align: 256 };
        let (packing, cut) = cut(&weight, room).unwrap();
        assert_eq!(cut.rows, rows);
        let packed = (packing.tile_quants() + packing.tile_scales()) * 4 * rows as usize / 16;
        let file = ty.row_bytes(u64::from(cols)).unwrap() as usize * rows as usize;
        let ratio = packed as f64 / file as f64;
        assert!((0.97..=1.03).contains(&ratio), "{}: {ratio}", ty.name());
    }
}

#[test]
fn the_largest_embedding_fits_the_default_limits_in_parts() {
    let limits = wgpu::Limits::default();
    for ty in ALL {
        let cols = 4096;
        let rows = 151_936;
        let name = "token_embd".into();
        let weight = Weight { name, kind: WeightKind::Matrix, ty, rows, cols, stands_for: rows };
        let (packing, cut) = cut(&weight, Room::of(&limits)).unwrap();
        let tiles = (cut.rows as usize).div_ceil(16);
        let (q, s) = (packing.tile_quants() * 4 * tiles, packing.tile_scales() * 4 * tiles);
        assert!(
            cut.rows % 16 == 0 && q.max(s) as u64 <= limits.max_storage_buffer_binding_size,
            "{}",
            ty.name()
        );
        assert!((q + s) as u64 + 256 <= limits.max_buffer_size);
    }
}

#[test]
fn rows_out_of_order_are_refused() {
    let Some(mut backend) = open(WebGpuOptions::default()) else { return };
    let random = &mut Random::new(1);
    let mut plan = Builder::default();
    let x = plan.input("x", random, 20, 32);
    let (plan, weights) = plan.finish(x.buffer);
    pollster::block_on(backend.prepare(plan, limits(4, 1))).unwrap();
    let id = crate::plan::WeightId(0);
    backend.upload(id, 0, &weights[0][..128 * 3]).unwrap();
    assert!(backend.upload(id, 0, &weights[0][..128]).is_err(), "twice");
    assert!(backend.upload(id, 4, &weights[0][..128]).is_err(), "a gap");
    assert!(backend.upload(id, 3, &weights[0][..100]).is_err(), "part of a row");
    assert!(backend.upload(id, 3, &weights[0][..]).is_err(), "too many");
    assert!(pollster::block_on(backend.finish_upload()).is_err(), "incomplete");
    backend.upload(id, 3, &weights[0][128 * 3..]).unwrap();
    pollster::block_on(backend.finish_upload()).unwrap();
}
