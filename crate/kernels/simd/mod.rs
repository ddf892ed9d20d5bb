//! Small vectors that the CPU kernels are written over: one algorithm, a form for each instruction set.
//!
//! Every form does the same operations on the same four lanes, multiplication and addition rounded apart, so that
//! results are equal bit for bit whatever the instruction set: native and in the browser, scalar and SIMD.

mod math;
#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod relaxed;
#[cfg(any(test, feature = "checks", not(target_arch = "wasm32")))]
mod scalar;
#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(any(test, feature = "checks"))]
pub(crate) mod tests;

pub(crate) use math::{dot, exp};
#[cfg(any(test, feature = "checks", not(target_arch = "wasm32")))]
use scalar::Scalar;

/// A quantized activation. `simd128` multiplies 16-bit integers, every other form starts from bytes.
#[cfg(all(target_arch = "wasm32", not(feature = "relaxed-simd")))]
pub(crate) type Quant = i16;
#[cfg(not(all(target_arch = "wasm32", not(feature = "relaxed-simd"))))]
pub(crate) type Quant = i8;

/// An instruction set. A value of the type is the proof that it may be used.
pub(crate) trait Simd: Copy {
    const NAME: &'static str;
    /// Whether there are registers to multiply two stripes at a time: lines are then loaded half as often.
    const PAIRS_OF_STRIPES: bool = false;
    /// Whether sums of two stripes are more than there are registers for.
    const SUMS_IN_MEMORY: bool = false;
    /// The form for products with several lines, where making weights ready may take longer.
    type Lines: Simd;
    /// Four f32.
    type F: Copy;
    /// Four 32-bit integers.
    type I: Copy;
    /// Sixteen bytes; where they are weights, four columns of each of four rows, row after row.
    type B: Copy;
    /// Such weights, ready to be multiplied.
    type W: Copy;
    /// Four rows' sums of products.
    type Sum: Copy;

    fn lines(self) -> Self::Lines;

    fn splat(self, v: f32) -> Self::F;
    fn load(self, from: &[f32; 4]) -> Self::F;
    fn store(self, v: Self::F, to: &mut [f32; 4]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { b } else { a }`, lane by lane.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, v: Self::F) -> Self::F;
    /// To the nearest integer, ties to even; unspecified from 2²² on.
    fn round(self, v: Self::F) -> Self::I;
    /// Four f16.
    fn halves(self, from: &[u8; 8]) -> Self::F;
    /// Four f16 where it does not matter which kind of not finite a number is.
    #[inline(always)]
    fn scales(self, from: &[u8; 8]) -> Self::F {
        self.halves(from)
    }

    fn splat_i(self, v: i32) -> Self::I;
    fn load_i(self, from: &[u8; 16]) -> Self::I;
    /// Four u16.
    fn load_u16(self, from: &[u8; 8]) -> Self::I;
    fn store_i(self, v: Self::I, to: &mut [i32; 4]);
    /// Integers of 16 bits.
    fn store_i16(self, v: Self::I, to: &mut [i16; 4]);
    /// Integers in `-127..=127`.
    fn store_quants(self, v: [Self::I; 4], to: [&mut [Quant; 4]; 4]);
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl_i(self, v: Self::I, n: u32) -> Self::I;
    /// Logical.
    fn shr_i(self, v: Self::I, n: u32) -> Self::I;
    /// Arithmetic.
    fn sar_i(self, v: Self::I, n: u32) -> Self::I;
    fn to_f(self, v: Self::I) -> Self::F;
    /// Adds to each integer the two products of the i16 in `a` and `b`; sums wrap.
    #[inline(always)]
    fn dot_pairs(self, sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let lanes = [sum, a, b].map(|v| {
            let mut lanes = [0; 4];
            self.store_i(v, &mut lanes);
            lanes
        });
        let pair = |v: i32| [v << 16 >> 16, v >> 16];
        let dots: [i32; 4] = std::array::from_fn(|i| {
            let ([a0, a1], [b0, b1]) = (pair(lanes[1][i]), pair(lanes[2][i]));
            lanes[0][i].wrapping_add((a0 * b0).wrapping_add(a1 * b1))
        });
        self.load_i(bytemuck::cast_ref(&dots))
    }
    /// The f32 of these bits.
    fn bits(self, v: Self::I) -> Self::F;

    fn load_b(self, from: &[u8; 16]) -> Self::B;
    /// `(v >> n) & mask` of each byte; the mask keeps no bit that comes from the byte above.
    fn shr_b(self, v: Self::B, n: u32, mask: u8) -> Self::B;
    /// `(v << n) & mask` of each byte; the mask keeps no bit that comes from the byte below.
    fn shl_b(self, v: Self::B, n: u32, mask: u8) -> Self::B;
    fn or_b(self, a: Self::B, b: Self::B) -> Self::B;
    /// Each four bytes as an integer.
    fn lanes(self, v: Self::B) -> Self::I;
    /// `table[i]` for each byte `i` in `0..16`.
    fn lookup(self, table: &[i8; 16], i: Self::B) -> Self::B;

    /// Weights in `0..=127`, for [`Simd::dot_unsigned`].
    fn unsigned(self, v: Self::B) -> Self::W;
    /// Weights that are i8, for [`Simd::dot_signed`].
    fn signed(self, v: Self::B) -> Self::W;
    /// What sums of [`Simd::dot_unsigned`] start with; the same in each lane.
    fn start_unsigned(self, v: Self::I) -> Self::Sum;
    /// What sums of [`Simd::dot_signed`] start with; each lane is minus the sum of all activations to come.
    fn start_signed(self, less: Self::I) -> Self::Sum;
    /// Adds the products of four rows with the same four activations, each in `-127..=127`.
    fn dot_unsigned(self, sum: Self::Sum, w: Self::W, x: &[Quant; 4]) -> Self::Sum;
    /// To be called before sums of [`Simd::dot_unsigned`] over more words than [`words_in_16_bits`] of the weights' largest.
    #[inline(always)]
    fn settle(self, sum: Self::Sum) -> Self::Sum {
        sum
    }

    /// One sum of [`Simd::dot_unsigned`] a row.
    fn rows_unsigned(self, sum: Self::Sum) -> Self::I;

    /// As [`Simd::dot_unsigned`], for weights of either sign.
    fn dot_signed(self, sum: Self::Sum, w: Self::W, x: &[Quant; 4]) -> Self::Sum;
    /// One sum of [`Simd::dot_signed`] a row.
    fn rows_signed(self, sum: Self::Sum) -> Self::I;

    /// Runs a piece of a kernel as a function of its own.
    fn apart<P: Piece<Self>>(self, piece: P);

    /// The sum of the lanes.
    #[inline(always)]
    fn sum(self, v: Self::F) -> f32 {
        let mut lanes = [0.0; 4];
        self.store(v, &mut lanes);
        (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    }

    /// Bits `shift ..` of each lane under `mask`, as numbers.
    #[inline(always)]
    fn field(self, v: Self::I, shift: u32, mask: i32) -> Self::F {
        self.to_f(self.and_i(self.shr_i(v, shift), self.splat_i(mask)))
    }
}

/// Words of four columns whose products with activations, two of them summed, can be added up in 16 bits for weights up
/// to `max`.
pub(crate) const fn words_in_16_bits(max: i32) -> usize {
    (i16::MAX as i32 / (2 * 127 * max)) as usize
}

/// Work that is the same on every instruction set.
pub(crate) trait Kernel {
    type Output;

    /// Implementations are `#[inline(always)]`, so that they are compiled for the caller's instruction set.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An innermost part of a kernel. As a function of its own, see [`Simd::apart`], it has all registers: within a large one
/// WebAssembly's compilers keep in memory what the loop turns over.
pub(crate) trait Piece<S> {
    /// Implementations are `#[inline(always)]`, as those of [`Kernel::run`].
    fn run(self, simd: S);
}

/// Runs a kernel on the best instruction set there is.
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(any(test, feature = "checks"))]
    if SCALAR.get() {
        return kernel.run(Scalar);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = x86::Avx2::detect() {
        return avx2.run(kernel);
    }
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    return relaxed::dispatch(kernel);
    #[cfg(all(target_arch = "wasm32", not(feature = "relaxed-simd")))]
    return kernel.run(wasm::Simd128::new());
    #[cfg(not(target_arch = "wasm32"))]
    kernel.run(Scalar)
}

#[cfg(any(test, feature = "checks"))]
thread_local! {
    static SCALAR: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What `work` gives with the scalar form of every kernel.
#[cfg(any(test, feature = "checks"))]
pub(crate) fn with_scalar<R>(work: impl FnOnce() -> R) -> R {
    SCALAR.set(true);
    let result = work();
    SCALAR.set(false);
    result
}

/// Optional features of WebAssembly that this build needs.
pub(crate) fn features() -> impl Iterator<Item = &'static str> {
    let wasm = cfg!(target_arch = "wasm32");
    let relaxed = cfg!(feature = "relaxed-simd");
    [(wasm, "simd128"), (wasm && relaxed, "relaxed-simd")]
        .into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, name)| name)
}

/// The instruction set in use.
pub(crate) fn name() -> &'static str {
    struct Name;
    impl Kernel for Name {
        type Output = &'static str;

        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> &'static str {
            S::NAME
        }
    }
    dispatch(Name)
}
