//! Products of f32, f16 or bf16 weights and f32 activations.

use std::array::from_fn;
use std::marker::PhantomData;

use super::Product;
use crate::kernels::Lines;
use crate::kernels::simd::{Kernel, Simd};
use crate::quant::tile::{FloatTile, TILE_ROWS};

pub(super) struct Float<'a, T> {
    pub(super) product: Product<'a>,
    pub(super) x: Lines<'a>,
    pub(super) format: PhantomData<T>,
}

impl<T: FloatTile> Kernel for Float<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.x.n();
        for t in self.product.stripes() {
            let mut line = 0;
            while line + 4 <= n {
                self.stripe::<S, 4>(s, t, line);
                line += 4;
            }
            while line < n {
                self.stripe::<S, 1>(s, t, line);
                line += 1;
            }
        }
    }
}

impl<T: FloatTile> Float<'_, T> {
    /// Lines `line .. line + R` times four rows. Even and odd columns are summed apart: two chains of additions.
    #[inline(always)]
    fn stripe<S: Simd, const R: usize>(&mut self, s: S, t: usize, line: usize) {
        let x: [&[f32]; R] = from_fn(|r| self.x.line(line + r));
        let mut sums: [[S::F; 2]; R] = from_fn(|r| [self.product.initial(s, line + r, t), s.splat(0.0)]);
        let columns = self.product.tiles::<T>(t).chunks_exact(TILE_ROWS * T::BYTES);
        for (k, column) in columns.enumerate() {
            let w = T::column(s, column);
            for (sum, x) in sums.iter_mut().zip(x) {
                sum[k % 2] = s.add(sum[k % 2], s.mul(w, s.splat(x[k])));
            }
        }
        for (r, [even, odd]) in sums.into_iter().enumerate() {
            self.product.store(s, line + r, t, s.add(even, odd));
        }
    }
}
