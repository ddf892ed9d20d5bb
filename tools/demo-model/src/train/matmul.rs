//! Single-threaded f32 matrix products over strided views: the safe side of the `gemm` crate. The trainer is parallel over
//! parts of a batch, so that a product itself never is.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time this thread has spent in products since it last asked.
pub(super) fn take_spent() -> Duration {
    SPENT.take()
}

#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// A dense row-major matrix.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows `row_stride` elements apart: some columns of a wider matrix, from the first of them on.
    pub(super) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(within(data.len(), rows, cols, row_stride));
        View { data, rows, cols, row_stride, col_stride: 1 }
    }

    pub(super) fn t(self) -> Self {
        View {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

pub(super) struct ViewMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> ViewMut<'a> {
    pub(super) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    pub(super) fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(within(data.len(), rows, cols, row_stride) && cols <= row_stride);
        ViewMut { data, rows, cols, row_stride }
    }
}

fn within(len: usize, rows: usize, cols: usize, row_stride: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= len
}

/// `dst = keep · dst + scale · a · b`; with `keep` zero, `dst` is not read.
pub(super) fn matmul(dst: ViewMut, keep: f32, a: View, b: View, scale: f32) {
    assert!(dst.rows == a.rows && dst.cols == b.cols && a.cols == b.rows);
    let start = Instant::now();
    // SAFETY: the constructors checked that every element of the three views lies in its slice, `dst` is borrowed mutably
    // and so overlaps neither operand, and its elements are distinct (`cols <= row_stride`).
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.cols,
            a.cols,
            dst.data.as_mut_ptr(),
            1,
            dst.row_stride as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            keep,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    SPENT.set(SPENT.get() + start.elapsed());
}
