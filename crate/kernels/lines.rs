//! Views of activation buffers: the same columns of every line.

use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Error, Result};

/// Columns `offset .. offset + width` of every line of `stride` values.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    data: &'a [f32],
    shape: Shape,
}

/// [`Lines`] to write to.
#[derive(Debug)]
pub struct LinesMut<'a> {
    data: &'a mut [f32],
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    n: usize,
    stride: usize,
    offset: usize,
    width: usize,
}

impl Shape {
    fn new(len: usize, stride: usize, offset: usize, width: usize) -> Result<Self> {
        if width == 0 || offset + width > stride || !len.is_multiple_of(stride) {
            return Err(Error::internal(format!(
                "columns {offset} .. {} of lines of {stride} in {len} values",
                offset + width
            )));
        }
        Ok(Self { n: len / stride, stride, offset, width })
    }

    fn range(&self, line: usize) -> Range<usize> {
        let at = line * self.stride + self.offset;
        at..at + self.width
    }
}

impl<'a> Lines<'a> {
    /// # Errors
    /// `internal` where the columns are not within the stride or `data` is not whole lines.
    pub fn new(data: &'a [f32], stride: usize, offset: usize, width: usize) -> Result<Self> {
        Ok(Self { data, shape: Shape::new(data.len(), stride, offset, width)? })
    }

    /// Whole lines of `width`.
    ///
    /// # Errors
    /// `internal` where `data` is not whole lines.
    pub fn packed(data: &'a [f32], width: usize) -> Result<Self> {
        Self::new(data, width, 0, width)
    }

    /// Lines.
    pub fn n(&self) -> usize {
        self.shape.n
    }

    pub fn width(&self) -> usize {
        self.shape.width
    }

    pub fn line(&self, i: usize) -> &'a [f32] {
        &self.data[self.shape.range(i)]
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let this = *self;
        (0..this.n()).map(move |i| this.line(i))
    }
}

impl<'a> LinesMut<'a> {
    /// # Errors
    /// As [`Lines::new`].
    pub fn new(data: &'a mut [f32], stride: usize, offset: usize, width: usize) -> Result<Self> {
        let shape = Shape::new(data.len(), stride, offset, width)?;
        Ok(Self { data, shape })
    }

    /// # Errors
    /// As [`Lines::packed`].
    pub fn packed(data: &'a mut [f32], width: usize) -> Result<Self> {
        Self::new(data, width, 0, width)
    }

    pub fn n(&self) -> usize {
        self.shape.n
    }

    pub fn width(&self) -> usize {
        self.shape.width
    }

    pub fn line(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[self.shape.range(i)]
    }
}

/// Lines that several threads write to, each to columns of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedLines<'a, T = f32> {
    data: *mut T,
    shape: Shape,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: nothing is read or written through it but by `columns`, whose caller sees to it that no two overlap.
unsafe impl<T: Send> Send for SharedLines<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedLines<'_, T> {}

impl<'a> SharedLines<'a> {
    pub(crate) fn new(lines: &'a mut LinesMut<'_>) -> Self {
        Self { data: lines.data.as_mut_ptr(), shape: lines.shape, borrowed: PhantomData }
    }
}

impl<'a, T> SharedLines<'a, T> {
    /// Columns `offset .. offset + width` of these.
    ///
    /// # Panics
    /// Where there are none such.
    pub(crate) fn part(self, offset: usize, width: usize) -> Self {
        let Shape { n, stride, offset: first, width: all } = self.shape;
        assert!(offset + width <= all);
        Self { shape: Shape { n, stride, offset: first + offset, width }, ..self }
    }

    /// Whole lines of `width`.
    ///
    /// # Errors
    /// `internal` where `data` is not whole lines.
    pub(crate) fn packed(data: &'a mut [T], width: usize) -> Result<Self> {
        let shape = Shape::new(data.len(), width, 0, width)?;
        Ok(Self { data: data.as_mut_ptr(), shape, borrowed: PhantomData })
    }

    pub(crate) fn n(&self) -> usize {
        self.shape.n
    }

    pub(crate) fn width(&self) -> usize {
        self.shape.width
    }

    /// Columns of a line.
    ///
    /// # Safety
    /// While the result is used, nobody else calls this for any of these columns of this line.
    ///
    /// # Panics
    /// Where there is no such line or column.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "what the caller promises")]
    pub(crate) unsafe fn columns(&self, line: usize, columns: Range<usize>) -> &mut [T] {
        assert!(line < self.shape.n && columns.start <= columns.end && columns.end <= self.shape.width);
        let at = line * self.shape.stride + self.shape.offset + columns.start;
        // SAFETY: within the slice that was borrowed, by the assertion; the caller keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(at), columns.len()) }
    }
}
