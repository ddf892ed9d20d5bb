use super::*;
use crate::kernels::simd::with_scalar;
use crate::quant::FORMATS;
use crate::testing::{Rng, random_blocks};
use crate::threads::Pool;

const ROWS: usize = 10;

struct Case {
    ty: GgmlType,
    cols: usize,
    file: Vec<u8>,
    matrix: Matrix,
}

/// A matrix of random blocks, hostile ones among them, uploaded in uneven parts.
fn case(rng: &mut Rng, ty: GgmlType, cols: usize) -> Case {
    let file = random_blocks(rng, ty, ROWS * cols / ty.format().block_elems);
    let mut matrix = Matrix::new(ty, ROWS, cols).unwrap();
    let split = 3 * matrix.row_bytes();
    matrix.write_rows(0, &file[..split]).unwrap();
    matrix.write_rows(3, &file[split..]).unwrap();
    Case { ty, cols, file, matrix }
}

fn cases() -> impl Iterator<Item = Case> {
    let mut rng = Rng::new(3);
    // A row within one panel, and rows of several panels that end within one.
    FORMATS
        .iter()
        .flat_map(|f| [f.ty; 3].into_iter().zip([256, 1280, 2304]))
        .map(move |(ty, cols)| case(&mut rng, ty, cols))
}

/// Lines of values of very different size, one of them zero.
fn input(rng: &mut Rng, n: usize, cols: usize) -> Vec<f32> {
    let mut x = Vec::new();
    for line in 0..n {
        let size = [1.0, 1e-3, 1e4, 0.0][line % 4];
        x.extend((0..cols).map(|i| rng.value() * if i % 97 == 0 { 30.0 * size } else { size }));
    }
    x
}

fn multiply(case: &Case, x: &[f32], bias: Option<&[f32]>, accumulate: bool, out: &mut [f32]) {
    let x = Lines::packed(x, case.cols).unwrap();
    let mut activations = Activations::new(x.n(), x.width()).unwrap();
    if case.matrix.takes_quantized() {
        activations.quantize(x, &Pool::alone()).unwrap();
    }
    let out = LinesMut::packed(out, ROWS).unwrap();
    case.matrix.multiply(x, &activations, bias, accumulate, out, &Pool::alone()).unwrap();
}

#[cfg_attr(test, test)]
pub(crate) fn rows_come_back_as_they_were_written() {
    for case in cases() {
        let mut want = vec![0.0; case.cols];
        let mut got = vec![1.0; case.cols];
        for i in 0..ROWS {
            quant::decode(case.ty, row(case.ty, &case.file, i, case.cols).unwrap(), &mut want).unwrap();
            case.matrix.decode_row(i, &mut got).unwrap();
            assert_eq!(got, want, "{} row {i}", case.ty.name());
        }
        assert!(case.matrix.decode_row(ROWS, &mut got).is_err());
    }
}

#[cfg_attr(test, test)]
pub(crate) fn quantized_activations_are_within_half_a_step() {
    let mut rng = Rng::new(5);
    let mut x = input(&mut rng, 8, 320);
    x[0] = f32::MAX;
    x[330] = f32::MIN_POSITIVE / 8.0;
    let mut activations = Activations::new(8, 320).unwrap();
    activations.quantize(Lines::packed(&x, 320).unwrap(), &Pool::alone()).unwrap();
    for (l, x) in x.chunks(320).enumerate() {
        for (block, x) in activations.blocks(l).iter().zip(x.chunks(32)) {
            let (quants, [d]) = (block.q.as_flattened().as_flattened(), block.d);
            for (&q, &x) in quants.iter().zip(x) {
                assert!(i32::from(q).abs() <= 127);
                let error = (f64::from(d) * f64::from(q) - f64::from(x)).abs();
                assert!(error <= 0.5001 * f64::from(d), "{q} of {d} for {x}");
            }
            let sums = [0, 16].map(|at| quants[at..at + 16].iter().map(|&q| i32::from(q)).sum::<i32>());
            assert_eq!(block.less, sums.map(|sum| [-sum]));
            assert_eq!(block.less_all, [-sums[0] - sums[1]]);
            assert_eq!(block.sum, [d * (sums[0] + sums[1]) as f32]);
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn unusual_activations_show_in_the_result() {
    for unusual in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 64];
        x[40] = unusual;
        let mut activations = Activations::new(1, 64).unwrap();
        activations.quantize(Lines::packed(&x, 64).unwrap(), &Pool::alone()).unwrap();
        let blocks = activations.blocks(0);
        assert!(!blocks[0].d[0].is_nan());
        assert!(blocks[1].d[0].is_nan(), "{unusual}");
    }
}

/// Against the plain reference over the activations as they were quantized: what remains is f32 rounding.
#[cfg_attr(test, test)]
pub(crate) fn products_match_the_reference() {
    let mut rng = Rng::new(11);
    for case in cases() {
        for (n, with_bias, accumulate) in
            [(1, true, false), (1, false, true), (2, false, false), (7, true, true), (131, true, false)]
        {
            let mut x = input(&mut rng, n, case.cols);
            let bias = rng.values(ROWS);
            let bias = with_bias.then_some(bias.as_slice());
            let before = rng.values(n * ROWS);
            let mut got = before.clone();
            multiply(&case, &x, bias, accumulate, &mut got);

            if case.matrix.takes_quantized() {
                let mut activations = Activations::new(n, case.cols).unwrap();
                activations.quantize(Lines::packed(&x, case.cols).unwrap(), &Pool::alone()).unwrap();
                for (l, x) in x.chunks_mut(case.cols).enumerate() {
                    for (block, x) in activations.blocks(l).iter().zip(x.chunks_mut(32)) {
                        for (x, &q) in x.iter_mut().zip(block.q.as_flattened().as_flattened()) {
                            *x = block.d[0] * f32::from(q);
                        }
                    }
                }
            }
            let mut want = before.clone();
            let lines = LinesMut::packed(&mut want, ROWS).unwrap();
            let x = Lines::packed(&x, case.cols).unwrap();
            reference(x, case.ty, &case.file, bias, accumulate, lines).unwrap();

            let mut w = vec![0.0; case.cols];
            let elems = case.ty.format().block_elems;
            for o in 0..ROWS {
                quant::decode(case.ty, row(case.ty, &case.file, o, case.cols).unwrap(), &mut w).unwrap();
                for (l, x) in x.iter().enumerate() {
                    // What the sum's parts may be as large as: every product with its block's largest weight.
                    let size: f64 = x
                        .chunks(elems)
                        .zip(w.chunks(elems))
                        .map(|(x, w)| {
                            let largest = w.iter().fold(0.0f32, |a, w| a.max(w.abs()));
                            x.iter().map(|x| f64::from(x.abs()) * f64::from(largest)).sum::<f64>()
                        })
                        .sum();
                    let (got, want) = (got[l * ROWS + o], want[l * ROWS + o]);
                    let error = f64::from((got - want).abs());
                    assert!(
                        error <= 2e-6 * (size + 2.0),
                        "{} {n} lines of {}: row {o}, line {l}: {got}, not {want} (size {size})",
                        case.ty.name(),
                        case.cols
                    );
                }
            }
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn every_instruction_set_and_number_of_lines_gives_the_same_bits() {
    let mut rng = Rng::new(13);
    for case in cases() {
        let x = input(&mut rng, 7, case.cols);
        let bias = rng.values(ROWS);
        let before = rng.values(7 * ROWS);
        let mut all = before.clone();
        multiply(&case, &x, Some(&bias), true, &mut all);
        let mut scalar = before.clone();
        with_scalar(|| multiply(&case, &x, Some(&bias), true, &mut scalar));
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&all), bits(&scalar), "{}", case.ty.name());
        let mut single = before.clone();
        for (x, out) in x.chunks(case.cols).zip(single.chunks_mut(ROWS)) {
            multiply(&case, x, Some(&bias), true, out);
        }
        assert_eq!(bits(&all), bits(&single), "{}", case.ty.name());
    }
}

#[cfg_attr(test, test)]
pub(crate) fn shapes_that_do_not_fit_are_refused() {
    assert!(Matrix::new(GgmlType::Q4_0, 4, 33).is_err());
    assert!(Matrix::new(GgmlType::Q4_0, 4, 0).is_err());
    assert_eq!(
        Matrix::new(GgmlType::F32, usize::MAX / 8, 4).unwrap_err().code(),
        crate::error::Code::OutOfMemory
    );
    let mut matrix = Matrix::new(GgmlType::Q8_0, 4, 64).unwrap();
    assert!(matrix.write_rows(0, &[0; 67]).is_err());
    assert!(matrix.write_rows(4, &[0; 68]).is_err());
    let x = [0.0; 64];
    let mut out = [0.0; 4];
    let x = Lines::packed(&x, 64).unwrap();
    let stale = Activations::new(1, 64).unwrap();
    assert!(
        matrix
            .multiply(x, &stale, None, false, LinesMut::packed(&mut out, 4).unwrap(), &Pool::alone())
            .is_err()
    );
}

#[cfg(test)]
#[test]
fn threads_change_no_bit() {
    const MANY_ROWS: usize = 101;
    let mut rng = Rng::new(17);
    let pool = Pool::new(3).unwrap();
    for format in &FORMATS {
        let blocks = random_blocks(&mut rng, format.ty, MANY_ROWS * 512 / format.block_elems);
        let mut matrix = Matrix::new(format.ty, MANY_ROWS, 512).unwrap();
        matrix.write_rows(0, &blocks).unwrap();
        for n in [1, 35] {
            let x = input(&mut rng, n, 512);
            let run = |pool: &Pool| {
                let x = Lines::packed(&x, 512).unwrap();
                let mut activations = Activations::new(n, 512).unwrap();
                if matrix.takes_quantized() {
                    activations.quantize(x, pool).unwrap();
                }
                let mut out = vec![0.0f32; n * MANY_ROWS];
                let lines = LinesMut::packed(&mut out, MANY_ROWS).unwrap();
                matrix.multiply(x, &activations, None, false, lines, pool).unwrap();
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(run(&pool), run(&Pool::alone()), "{} of {n} lines", format.name);
        }
    }
}

#[cfg(test)]
#[test]
fn products_of_one_input_are_those_of_each_alone() {
    const COLS: usize = 512;
    const WIDTH: usize = 132;
    let mut rng = Rng::new(23);
    let pool = Pool::new(3).unwrap();
    for (i, format) in FORMATS.iter().enumerate() {
        // Others beside it, so that what takes rounded activations is beside what does not.
        let formats = [format, &FORMATS[(i + 1) % FORMATS.len()], &FORMATS[(i + 5) % FORMATS.len()]];
        let places = [(0, 101), (104, 12), (120, 7)];
        let matrices = [0, 1, 2].map(|k| {
            let rows = places[k].1;
            let blocks = random_blocks(&mut rng, formats[k].ty, rows * COLS / formats[k].block_elems);
            let mut matrix = Matrix::new(formats[k].ty, rows, COLS).unwrap();
            matrix.write_rows(0, &blocks).unwrap();
            (matrix, (0..rows).map(|_| rng.value()).collect::<Vec<f32>>())
        });
        for n in [1, 9] {
            let x = input(&mut rng, n, COLS);
            let x = Lines::packed(&x, COLS).unwrap();
            let mut activations = Activations::new(n, COLS).unwrap();
            activations.quantize(x, &pool).unwrap();
            let products = |offsets: [usize; 3]| {
                [0, 1, 2].map(|k| {
                    let (matrix, bias) = &matrices[k];
                    Projection { matrix, bias: Some(bias), offset: offsets[k] }
                })
            };
            let mut out = vec![7.0; n * WIDTH];
            let mut together = LinesMut::packed(&mut out, WIDTH).unwrap();
            let all = products(places.map(|(offset, _)| offset));
            super::multiply(&all, x, &activations, false, &mut together, &pool).unwrap();
            let mut want = vec![7.0; n * WIDTH];
            for Projection { matrix, bias, offset } in all {
                let lines = LinesMut::new(&mut want, WIDTH, offset, matrix.rows()).unwrap();
                matrix.multiply(x, &activations, bias, false, lines, &Pool::alone()).unwrap();
            }
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&out), bits(&want), "{} of {n} lines", format.name);

            for offsets in [[0, 100, 120], [0, 104, 126], [104, 0, 120]] {
                let mut lines = LinesMut::packed(&mut out, WIDTH).unwrap();
                let refused = super::multiply(&products(offsets), x, &activations, false, &mut lines, &pool);
                assert!(refused.is_err(), "{offsets:?}");
            }
        }
    }
}
