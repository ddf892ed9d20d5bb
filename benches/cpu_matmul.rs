//! Speed of the CPU's matrix products, one thread: `cargo bench --bench cpu_matmul [-- FORMAT…]`.
//!
//! For each format: GB/s of weights with one line (decode) over more weights than the caches hold, GMAC/s with 128
//! lines (prefill), and a checksum of the results, which is the same on every instruction set.

use qwenlet::kernels::matmul::{Activations, Matrix};
use qwenlet::kernels::{Lines, LinesMut};
use qwenlet::quant::{FORMATS, GgmlType};
use qwenlet::threads::Pool;

const ROWS: usize = 4864;
const COLS: usize = 1024;
const LINES: usize = 128;

/// What one format does.
#[derive(Debug)]
pub struct Measured {
    pub name: &'static str,
    pub gb_per_s: f64,
    pub gmac_per_s: f64,
    pub checksum: u64,
}

/// Xorshift; the weights only have to be finite and not all alike.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn matrix(random: &mut Random, ty: GgmlType) -> qwenlet::Result<Matrix> {
    let mut matrix = Matrix::new(ty, ROWS, COLS)?;
    let mut row = vec![0; matrix.row_bytes()];
    for i in 0..ROWS {
        // Any two of these bytes are a small positive f16, any four a small positive f32.
        row.fill_with(|| 0x20 + (random.next() % 0x1c) as u8);
        matrix.write_rows(i, &row)?;
    }
    Ok(matrix)
}

fn multiply(
    matrix: &Matrix,
    x: &[f32],
    activations: &mut Activations,
    out: &mut [f32],
) -> qwenlet::Result<()> {
    let x = Lines::packed(x, COLS)?;
    if matrix.takes_quantized() {
        activations.quantize(x, &Pool::alone())?;
    }
    matrix.multiply(x, activations, None, false, LinesMut::packed(out, ROWS)?, &Pool::alone())
}

/// Measures a format with a clock in seconds.
///
/// # Errors
/// `out-of-memory`.
pub fn measure(ty: GgmlType, now: &dyn Fn() -> f64) -> qwenlet::Result<Measured> {
    let mut random = Random(1);
    // 80 MB or more, walked in turn.
    let n = 80_000_000usize.div_ceil(Matrix::new(ty, 4, COLS)?.row_bytes() * ROWS);
    let matrices = (0..n).map(|_| matrix(&mut random, ty)).collect::<qwenlet::Result<Vec<_>>>()?;
    let x: Vec<f32> = (0..LINES * COLS).map(|_| (random.next() % 2001) as f32 / 1000.0 - 1.0).collect();
    let mut activations = Activations::new(LINES, COLS)?;
    let mut out = vec![0.0; LINES * ROWS];
    let bytes: usize = matrices.iter().map(Matrix::bytes).sum();

    let best = |work: &mut dyn FnMut() -> qwenlet::Result<()>| -> qwenlet::Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = now();
            work()?;
            best = best.min(now() - start);
        }
        Ok(best)
    };
    let decode = best(&mut || {
        matrices.iter().try_for_each(|m| multiply(m, &x[..COLS], &mut activations, &mut out[..ROWS]))
    })?;
    let prefill = best(&mut || multiply(&matrices[0], &x, &mut activations, &mut out))?;
    let checksum =
        out.iter().fold(0u64, |sum, v| sum.rotate_left(5).wrapping_mul(31) ^ u64::from(v.to_bits()));
    Ok(Measured {
        name: ty.name(),
        gb_per_s: bytes as f64 / decode / 1e9,
        gmac_per_s: (LINES * ROWS * COLS) as f64 / prefill / 1e9,
        checksum,
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> qwenlet::Result<()> {
    let start = std::time::Instant::now();
    let now = || start.elapsed().as_secs_f64();
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!("{}", qwenlet::backend::Backend::info(&qwenlet::backend::cpu::CpuBackend::default()).adapter);
    println!("{:8} {:>8} {:>8}  checksum", "", "GB/s", "GMAC/s");
    for format in &FORMATS {
        if chosen.is_empty() || chosen.iter().any(|c| c == format.name) {
            let m = measure(format.ty, &now)?;
            println!("{:8} {:8.1} {:8.1}  {:016x}", m.name, m.gb_per_s, m.gmac_per_s, m.checksum);
        }
    }
    Ok(())
}
