//! A weight matrix in the CPU's layout, and products with it.

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::Activations;
use super::float::Float;
use super::quantized::Quantized;
use crate::error::{Code, Error, Result};
use crate::kernels::simd::{Simd, dispatch};
use crate::kernels::{Lines, LinesMut, SharedLines, check};
use crate::quant::tile::{self, FloatTile, Layout, TILE_ROWS, Tile};
use crate::quant::{self, GgmlType};
use crate::threads::Pool;

/// How the CPU keeps and multiplies a format: one entry a row of [`quant::FORMATS`].
#[derive(Debug)]
pub(crate) struct Cpu {
    interleave: fn(usize, &[u8], &mut [u8]),
    extract: fn(usize, &[u8], &mut [u8]),
    multiply: Multiply,
}

#[derive(Debug)]
enum Multiply {
    Quantized(fn(Product<'_>, &Activations)),
    Float(fn(Product<'_>, Lines<'_>)),
}

impl Cpu {
    pub(crate) const fn quantized<T: Tile>() -> Self {
        fn multiply<T: Tile>(product: Product<'_>, x: &Activations) {
            dispatch(Quantized::<T> { product, x, format: PhantomData });
        }
        Self {
            interleave: tile::interleave::<T>,
            extract: tile::extract::<T>,
            multiply: Multiply::Quantized(multiply::<T>),
        }
    }

    pub(crate) const fn float<T: FloatTile>() -> Self {
        fn multiply<T: FloatTile>(product: Product<'_>, x: Lines<'_>) {
            dispatch(Float::<T> { product, x, format: PhantomData });
        }
        Self {
            interleave: tile::interleave::<T>,
            extract: tile::extract::<T>,
            multiply: Multiply::Float(multiply::<T>),
        }
    }
}

/// `[rows, cols]`, four rows interleaved; rows are filled up to a multiple of four with zeros.
///
/// Memory is reserved at once and grows row by row: to clear all of it beforehand takes as long as to read it from storage.
#[derive(Debug)]
pub struct Matrix {
    ty: GgmlType,
    rows: usize,
    cols: usize,
    /// Bytes of a row, in the file and here.
    row_bytes: usize,
    data: Vec<u8>,
}

impl Matrix {
    /// A matrix whose rows are yet to come.
    ///
    /// # Errors
    /// `internal` where a row is not whole blocks, `out-of-memory`.
    pub fn new(ty: GgmlType, rows: usize, cols: usize) -> Result<Self> {
        let row_bytes = usize::try_from(Self::bytes_of_row(ty, cols)?).unwrap_or(usize::MAX);
        let no_memory = || {
            Error::new(
                Code::OutOfMemory,
                format!("no memory for {rows} rows of {row_bytes} bytes; choose a smaller model"),
            )
        };
        let bytes = usize::try_from(Self::bytes_of(ty, rows, cols)?).map_err(|_| no_memory())?;
        let mut data = Vec::new();
        data.try_reserve_exact(bytes).map_err(|e| no_memory().with_cause(e))?;
        Ok(Self { ty, rows, cols, row_bytes, data })
    }

    /// Bytes that [`Matrix::new`] takes.
    ///
    /// # Errors
    /// `internal` where a row is not whole blocks.
    pub fn bytes_of(ty: GgmlType, rows: usize, cols: usize) -> Result<u64> {
        let rows = (rows as u64).next_multiple_of(TILE_ROWS as u64);
        Ok(rows.saturating_mul(Self::bytes_of_row(ty, cols)?))
    }

    fn bytes_of_row(ty: GgmlType, cols: usize) -> Result<u64> {
        let bytes = ty.row_bytes(cols as u64).filter(|&b| b > 0);
        bytes.ok_or_else(|| Error::internal(format!("rows of {cols} elements of {}", ty.name())))
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that all rows take.
    pub fn bytes(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS) * TILE_ROWS * self.row_bytes
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Whether products take [`Activations`] rather than f32.
    pub fn takes_quantized(&self) -> bool {
        matches!(self.ty.format().cpu.multiply, Multiply::Quantized(_))
    }

    /// Takes whole rows in the file's layout.
    ///
    /// # Errors
    /// `internal` where they are not whole rows of this matrix.
    pub fn write_rows(&mut self, first: usize, bytes: &[u8]) -> Result<()> {
        let n = bytes.len() / self.row_bytes;
        check(bytes.len() == n * self.row_bytes && first + n <= self.rows, "write_rows", || {
            format!("{} bytes at row {first} of {}, {} bytes each", bytes.len(), self.rows, self.row_bytes)
        })?;
        let stripe = TILE_ROWS * self.row_bytes;
        for (row, bytes) in (first..).zip(bytes.chunks_exact(self.row_bytes)) {
            let start = row / TILE_ROWS * stripe;
            if self.data.len() < start + stripe {
                // Within what `new` reserved.
                self.data.resize(start + stripe, 0);
            }
            let tiles = &mut self.data[start..start + stripe];
            (self.ty.format().cpu.interleave)(row % TILE_ROWS, bytes, tiles);
        }
        Ok(())
    }

    /// Whether every row has come.
    fn check_complete(&self, what: &str) -> Result<()> {
        check(self.data.len() == self.bytes(), what, || {
            format!("{} of {} bytes of the weight have come", self.data.len(), self.bytes())
        })
    }

    /// Row `i` in f32.
    ///
    /// # Errors
    /// `internal` where there is no such row or `out` is not as long as it, or rows are missing.
    pub fn decode_row(&self, i: usize, out: &mut [f32]) -> Result<()> {
        self.check_complete("embed")?;
        check(i < self.rows && out.len() == self.cols, "embed", || {
            format!("row {i} of {} into {} of {} values", self.rows, out.len(), self.cols)
        })?;
        let format = self.ty.format();
        let mut block = [0; 256];
        let block = &mut block[..format.block_bytes];
        let stripe = TILE_ROWS * self.row_bytes;
        let tiles =
            self.data[i / TILE_ROWS * stripe..][..stripe].chunks_exact(TILE_ROWS * format.block_bytes);
        for (tile, out) in tiles.zip(out.chunks_exact_mut(format.block_elems)) {
            (format.cpu.extract)(i % TILE_ROWS, tile, block);
            quant::decode(self.ty, block, out)?;
        }
        Ok(())
    }

    /// [`reference`](super::reference) with this weight, as fast as this machine can; see [`multiply`].
    ///
    /// # Errors
    /// `internal` where shapes do not fit.
    pub fn multiply(
        &self,
        x: Lines<'_>,
        quantized: &Activations,
        bias: Option<&[f32]>,
        accumulate: bool,
        mut out: LinesMut<'_>,
        pool: &Pool,
    ) -> Result<()> {
        let whole = Projection { matrix: self, bias, offset: 0 };
        check(out.width() == self.rows, "matmul", || format!("{} rows for {}", self.rows, out.width()))?;
        multiply(&[whole], x, quantized, accumulate, &mut out, pool)
    }

    fn check(&self, x: Lines<'_>, quantized: &Activations, bias: Option<&[f32]>, lines: usize) -> Result<()> {
        check(
            x.n() == lines && x.width() == self.cols && bias.is_none_or(|b| b.len() == self.rows),
            "matmul",
            || format!("[{}, {}] by [{}, {}]", x.n(), x.width(), self.rows, self.cols),
        )?;
        let fits = quantized.n() == x.n() && quantized.width() * 32 == x.width();
        check(fits || !self.takes_quantized(), "matmul", || {
            "the quantized activations are not the input's".to_owned()
        })?;
        self.check_complete("matmul")
    }

    fn n_stripes(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }
}

/// A product with a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Projection<'a> {
    pub matrix: &'a Matrix,
    pub bias: Option<&'a [f32]>,
    /// Column of the output where the matrix's first row comes.
    pub offset: usize,
}

/// Products of one input, added to what the output holds where `accumulate`: one loop for all, for threads that meet
/// after each product wait for each other each time. `quantized` holds `x` in eight bits where one of the matrices
/// [takes that](Matrix::takes_quantized). The result is the same whatever the number of threads.
///
/// # Errors
/// `internal` where shapes do not fit.
pub fn multiply(
    products: &[Projection<'_>],
    x: Lines<'_>,
    quantized: &Activations,
    accumulate: bool,
    out: &mut LinesMut<'_>,
    pool: &Pool,
) -> Result<()> {
    let out = SharedLines::new(out);
    let mut end = 0;
    for p in products {
        p.matrix.check(x, quantized, p.bias, out.n())?;
        let apart = p.offset >= end;
        end = p.offset + p.matrix.rows;
        check(apart && end <= out.width(), "matmul", || {
            format!("columns {} .. {end} of {}, behind others", p.offset, out.width())
        })?;
    }
    let n_stripes = products.iter().map(|p| p.matrix.n_stripes()).sum();
    pool.split(n_stripes, LEAST_STRIPES, |part| {
        let mut first = 0;
        for &Projection { matrix, bias, offset } in products {
            let all = first..first + matrix.n_stripes();
            let stripes = part.start.max(all.start)..part.end.min(all.end);
            first = all.end;
            if stripes.is_empty() {
                continue;
            }
            let product = Product {
                tiles: &matrix.data,
                cols: matrix.cols,
                bias,
                accumulate,
                out: out.part(offset, matrix.rows),
                stripes: stripes.start - all.start..stripes.end - all.start,
            };
            match matrix.ty.format().cpu.multiply {
                Multiply::Float(multiply) => multiply(product, x),
                Multiply::Quantized(multiply) => multiply(product, quantized),
            }
        }
    });
    Ok(())
}

/// Stripes that are worth another thread's attention: some microseconds of work.
const LEAST_STRIPES: usize = 8;

/// What every product has. Stripe `t` is rows `4 t ..` of the weight, columns `4 t ..` of the output.
pub(crate) struct Product<'a> {
    tiles: &'a [u8],
    cols: usize,
    bias: Option<&'a [f32]>,
    accumulate: bool,
    out: SharedLines<'a>,
    /// Those to compute; nobody else computes them.
    stripes: Range<usize>,
}

impl<'a> Product<'a> {
    pub(super) fn stripes(&self) -> Range<usize> {
        self.stripes.clone()
    }

    pub(super) fn lines(&self) -> usize {
        self.out.n()
    }

    /// The tiles of a stripe.
    #[inline(always)]
    pub(super) fn tiles<T: Layout>(&self, t: usize) -> &'a [u8] {
        let bytes = self.cols / T::ELEMS * TILE_ROWS * T::BYTES;
        &self.tiles[t * bytes..(t + 1) * bytes]
    }

    /// Where the sums of a line and a stripe start: bias, what the output holds, or zero.
    #[inline(always)]
    pub(super) fn initial<S: Simd>(&mut self, s: S, line: usize, t: usize) -> S::F {
        let bias = self.bias.map_or(s.splat(0.0), |b| s.load(&padded(&b[TILE_ROWS * t..])));
        if self.accumulate { s.add(self.load(s, line, t), bias) } else { bias }
    }

    #[inline(always)]
    pub(super) fn load<S: Simd>(&mut self, s: S, line: usize, t: usize) -> S::F {
        s.load(&padded(self.out(line, t)))
    }

    #[inline(always)]
    pub(super) fn store<S: Simd>(&mut self, s: S, line: usize, t: usize, v: S::F) {
        let mut lanes = [0.0; 4];
        s.store(v, &mut lanes);
        let out = self.out(line, t);
        match out.first_chunk_mut::<4>() {
            Some(out) => *out = lanes,
            None => out.copy_from_slice(&lanes[..out.len()]),
        }
    }

    #[inline(always)]
    fn out(&mut self, line: usize, t: usize) -> &mut [f32] {
        debug_assert!(self.stripes.contains(&t));
        let start = TILE_ROWS * t;
        let end = self.out.width().min(start + TILE_ROWS);
        // SAFETY: the stripe is this product's alone, which is borrowed as long as the result is.
        unsafe { self.out.columns(line, start..end) }
    }
}

/// The first four values, zeros where there are fewer.
#[inline(always)]
fn padded(values: &[f32]) -> [f32; 4] {
    match values.first_chunk::<4>() {
        Some(four) => *four,
        None => std::array::from_fn(|i| values.get(i).copied().unwrap_or(0.0)),
    }
}
