//! Attention one page at a time, with a running maximum: no memory for scores beyond a page's.

use crate::kernels::simd::{Kernel, Simd, dispatch, dot, exp};
use crate::plan::state::PAGE_TOKENS;

/// One key/value head of one row: `group` query heads over `n` positions.
pub(crate) struct HeadGroup<'a, P> {
    /// `[group, head_dim]`.
    pub(crate) q: &'a [f32],
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
    /// Positions `0 .. n`.
    pub(crate) n: usize,
    /// Keys and values of page `i` of the sequence, `[slot, head_dim]` each.
    pub(crate) page: P,
    /// `[group, head_dim]`.
    pub(crate) out: &'a mut [f32],
}

/// Runs it on the best instruction set there is.
pub(crate) fn head_group<'p, P: Fn(usize) -> (&'p [f32], &'p [f32])>(work: HeadGroup<'_, P>) {
    dispatch(work);
}

impl<'p, P: Fn(usize) -> (&'p [f32], &'p [f32])> Kernel for HeadGroup<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let dim = self.head_dim;
        for (q, out) in self.q.chunks_exact(dim).zip(self.out.chunks_exact_mut(dim)) {
            out.fill(0.0);
            let (mut largest, mut total) = (f32::NEG_INFINITY, 0.0f32);
            for page in 0..self.n.div_ceil(PAGE_TOKENS) {
                let n = PAGE_TOKENS.min(self.n - page * PAGE_TOKENS);
                let (keys, values) = (self.page)(page);
                let mut weights = [f32::NEG_INFINITY; PAGE_TOKENS];
                for (weight, k) in weights.iter_mut().zip(keys.chunks_exact(dim)).take(n) {
                    *weight = dot(s, q, k) * self.scale;
                }
                let page_largest = weights.iter().fold(largest, |a, &b| if a < b { b } else { a });
                if page_largest > largest {
                    // What was summed so far had a smaller maximum.
                    let correction = (largest - page_largest).exp();
                    total *= correction;
                    out.iter_mut().for_each(|o| *o *= correction);
                    largest = page_largest;
                }
                for weights in weights.as_chunks_mut::<4>().0 {
                    let w = exp(s, s.sub(s.load(weights), s.splat(largest)));
                    s.store(w, weights);
                }
                for (&weight, v) in weights.iter().zip(values.chunks_exact(dim)).take(n) {
                    total += weight;
                    add_scaled(s, out, weight, v);
                }
            }
            out.iter_mut().for_each(|o| *o /= total);
        }
    }
}

/// `out += weight * v`.
#[inline(always)]
fn add_scaled<S: Simd>(s: S, out: &mut [f32], weight: f32, v: &[f32]) {
    let ((out, out_rest), (v, v_rest)) = (out.as_chunks_mut::<4>(), v.as_chunks::<4>());
    for (out, v) in out.iter_mut().zip(v) {
        s.store(s.add(s.load(out), s.mul(s.splat(weight), s.load(v))), out);
    }
    for (out, v) in out_rest.iter_mut().zip(v_rest) {
        *out += weight * v;
    }
}
