//! AVX2, four lanes of it: wide enough for tests and tools on a developer's machine.

use std::arch::x86_64::*;

use super::{Kernel, Piece, Quant, Simd};

/// Exists only where [`Avx2::detect`] found what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")).then_some(Self(()))
    }

    /// Runs a kernel compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,f16c")]
        fn inner<K: Kernel>(avx2: Avx2, kernel: K) -> K::Output {
            kernel.run(avx2)
        }
        // SAFETY: `self` exists, so the features were detected.
        unsafe { inner(self, kernel) }
    }
}

/// Wraps intrinsics of methods of [`Avx2`].
macro_rules! avx2 {
    ($($code:tt)*) => {
        // SAFETY: a value of `Avx2` exists, so its features were detected; loads and stores go through references to
        // arrays of the size that is read or written and need no alignment.
        unsafe { $($code)* }
    };
}

impl Simd for Avx2 {
    const NAME: &'static str = "x86-64 AVX2";
    type F = __m128;
    type I = __m128i;
    type B = __m128i;
    type W = __m128i;
    type Sum = __m128i;
    type Lines = Self;

    #[inline(always)]
    fn lines(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, v: f32) -> __m128 {
        avx2!(_mm_set1_ps(v))
    }

    #[inline(always)]
    fn load(self, from: &[f32; 4]) -> __m128 {
        avx2!(_mm_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn store(self, v: __m128, to: &mut [f32; 4]) {
        avx2!(_mm_storeu_ps(to.as_mut_ptr(), v))
    }

    #[inline(always)]
    fn add(self, a: __m128, b: __m128) -> __m128 {
        avx2!(_mm_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m128, b: __m128) -> __m128 {
        avx2!(_mm_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m128, b: __m128) -> __m128 {
        avx2!(_mm_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m128, b: __m128) -> __m128 {
        avx2!(_mm_div_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m128, b: __m128) -> __m128 {
        // The instruction gives its second operand where the first is not greater.
        avx2!(_mm_max_ps(b, a))
    }

    #[inline(always)]
    fn abs(self, v: __m128) -> __m128 {
        avx2!(_mm_andnot_ps(_mm_set1_ps(-0.0), v))
    }

    #[inline(always)]
    fn round(self, v: __m128) -> __m128i {
        avx2!(_mm_cvtps_epi32(v))
    }

    #[inline(always)]
    fn halves(self, from: &[u8; 8]) -> __m128 {
        avx2!(_mm_cvtph_ps(_mm_loadl_epi64(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn splat_i(self, v: i32) -> __m128i {
        avx2!(_mm_set1_epi32(v))
    }

    #[inline(always)]
    fn load_i(self, from: &[u8; 16]) -> __m128i {
        avx2!(_mm_loadu_si128(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn load_u16(self, from: &[u8; 8]) -> __m128i {
        avx2!(_mm_cvtepu16_epi32(_mm_loadl_epi64(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn store_i(self, v: __m128i, to: &mut [i32; 4]) {
        avx2!(_mm_storeu_si128(to.as_mut_ptr().cast(), v))
    }

    #[inline(always)]
    fn store_i16(self, v: __m128i, to: &mut [i16; 4]) {
        avx2!(_mm_storel_epi64(to.as_mut_ptr().cast(), _mm_packs_epi32(v, v)))
    }

    #[inline(always)]
    fn store_quants(self, [a, b, c, d]: [__m128i; 4], to: [&mut [Quant; 4]; 4]) {
        let mut words = [0; 4];
        self.store_i(avx2!(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d))), &mut words);
        for (word, to) in words.into_iter().zip(to) {
            *to = word.to_ne_bytes().map(|b| b as Quant);
        }
    }

    #[inline(always)]
    fn add_i(self, a: __m128i, b: __m128i) -> __m128i {
        avx2!(_mm_add_epi32(a, b))
    }

    #[inline(always)]
    fn and_i(self, a: __m128i, b: __m128i) -> __m128i {
        avx2!(_mm_and_si128(a, b))
    }

    #[inline(always)]
    fn or_i(self, a: __m128i, b: __m128i) -> __m128i {
        avx2!(_mm_or_si128(a, b))
    }

    #[inline(always)]
    fn shl_i(self, v: __m128i, n: u32) -> __m128i {
        avx2!(_mm_sll_epi32(v, _mm_cvtsi32_si128(n as i32)))
    }

    #[inline(always)]
    fn shr_i(self, v: __m128i, n: u32) -> __m128i {
        avx2!(_mm_srl_epi32(v, _mm_cvtsi32_si128(n as i32)))
    }

    #[inline(always)]
    fn sar_i(self, v: __m128i, n: u32) -> __m128i {
        avx2!(_mm_sra_epi32(v, _mm_cvtsi32_si128(n as i32)))
    }

    #[inline(always)]
    fn to_f(self, v: __m128i) -> __m128 {
        avx2!(_mm_cvtepi32_ps(v))
    }

    #[inline(always)]
    fn dot_pairs(self, sum: __m128i, a: __m128i, b: __m128i) -> __m128i {
        avx2!(_mm_add_epi32(sum, _mm_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn bits(self, v: __m128i) -> __m128 {
        avx2!(_mm_castsi128_ps(v))
    }

    #[inline(always)]
    fn load_b(self, from: &[u8; 16]) -> __m128i {
        avx2!(_mm_loadu_si128(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn shr_b(self, v: __m128i, n: u32, mask: u8) -> __m128i {
        avx2!(_mm_and_si128(_mm_srl_epi16(v, _mm_cvtsi32_si128(n as i32)), _mm_set1_epi8(mask as i8)))
    }

    #[inline(always)]
    fn shl_b(self, v: __m128i, n: u32, mask: u8) -> __m128i {
        avx2!(_mm_and_si128(_mm_sll_epi16(v, _mm_cvtsi32_si128(n as i32)), _mm_set1_epi8(mask as i8)))
    }

    #[inline(always)]
    fn or_b(self, a: __m128i, b: __m128i) -> __m128i {
        avx2!(_mm_or_si128(a, b))
    }

    #[inline(always)]
    fn lanes(self, v: __m128i) -> __m128i {
        v
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16], i: __m128i) -> __m128i {
        avx2!(_mm_shuffle_epi8(_mm_loadu_si128(table.as_ptr().cast()), i))
    }

    #[inline(always)]
    fn unsigned(self, v: __m128i) -> __m128i {
        v
    }

    #[inline(always)]
    fn signed(self, v: __m128i) -> __m128i {
        v
    }

    #[inline(always)]
    fn start_unsigned(self, v: __m128i) -> __m128i {
        v
    }

    #[inline(always)]
    fn start_signed(self, _: __m128i) -> __m128i {
        avx2!(_mm_setzero_si128())
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: __m128i, w: __m128i, x: &[Quant; 4]) -> __m128i {
        // Pair sums are at most 2 * 127 * 127: no saturation in 16 bits.
        avx2!({
            let x = _mm_set1_epi32(i32::from_ne_bytes(x.map(|x| x as u8)));
            _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(w, x), _mm_set1_epi16(1)))
        })
    }

    #[inline(always)]
    fn dot_signed(self, sum: __m128i, w: __m128i, x: &[Quant; 4]) -> __m128i {
        // |w| * (x with w's sign); pair sums are at most 2 * 128 * 127.
        avx2!({
            let x = _mm_set1_epi32(i32::from_ne_bytes(x.map(|x| x as u8)));
            let products = _mm_maddubs_epi16(_mm_abs_epi8(w), _mm_sign_epi8(x, w));
            _mm_add_epi32(sum, _mm_madd_epi16(products, _mm_set1_epi16(1)))
        })
    }

    #[inline(always)]
    fn rows_unsigned(self, sum: __m128i) -> __m128i {
        sum
    }

    #[inline(always)]
    fn rows_signed(self, sum: __m128i) -> __m128i {
        self.rows_unsigned(sum)
    }

    #[inline(always)]
    fn apart<P: Piece<Self>>(self, piece: P) {
        #[target_feature(enable = "avx2,f16c")]
        #[inline(never)]
        fn apart<P: Piece<Avx2>>(avx2: Avx2, piece: P) {
            piece.run(avx2);
        }
        avx2!(apart(self, piece));
    }
}
