//! Functions built from a [`Simd`]'s operations.

use super::Simd;

/// `e^x`, within 2 units in the last place for `x` in `-87 ..= 88`; beyond, as at the nearer end.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, whose remainder there is below
/// 2^-27; `2^n` by its exponent bits.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    /// ln 2 in two parts; the first has so few bits that its product with `n` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = s.max(x, s.splat(-87.0));
    // min(x, 88) = -max(-x, -88)
    let zero = s.splat(0.0);
    let x = s.sub(zero, s.max(s.sub(zero, x), s.splat(-88.0)));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let nf = s.to_f(n);
    let r = s.sub(s.sub(x, s.mul(nf, s.splat(LN2_HIGH))), s.mul(nf, s.splat(LN2_LOW)));
    let mut p = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.add(s.mul(p, r), s.splat(c));
    }
    s.mul(p, s.bits(s.shl_i(s.add_i(n, s.splat_i(127)), 23)))
}

/// `Σ a[i] * b[i]` of equally long slices.
#[inline(always)]
pub(crate) fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a4, a), (b4, b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [s.splat(0.0); 2];
    for (a, b) in a4.iter().zip(b4) {
        let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
        sums[0] = s.add(sums[0], s.mul(s.load(&a[0]), s.load(&b[0])));
        sums[1] = s.add(sums[1], s.mul(s.load(&a[1]), s.load(&b[1])));
    }
    let rest: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    s.sum(s.add(sums[0], sums[1])) + rest
}
