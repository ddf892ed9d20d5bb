//! WebAssembly `simd128`, and what every form in WebAssembly shares.

use std::arch::wasm32::*;
use std::hint::black_box;

#[cfg(not(feature = "relaxed-simd"))]
use super::{Piece, Quant, Simd};

/// Constants of the innermost loops. V8 makes a constant anew at each of its uses, in three instructions, and keeps in a
/// register what comes from memory: so the compiler is not to know them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Sign, exponent and mantissa of an f16 at their places in an f32, whose exponent counts from 112 lower.
    pub(super) half_bits: v128,
    /// 2¹¹².
    pub(super) half_power: v128,
    pub(super) low_nibbles: v128,
    /// Bits 4 and 5 of each byte.
    pub(super) bits_4_5: v128,
    /// Of 16 bits.
    #[cfg_attr(
        not(feature = "relaxed-simd"),
        expect(dead_code, reason = "that form multiplies 16 bits only")
    )]
    pub(super) ones: v128,
}

impl Held {
    #[inline(always)]
    pub(super) fn new() -> Self {
        black_box(Self {
            half_bits: u32x4_splat(0x8fff_e000),
            half_power: f32x4_splat(f32::from_bits((127 + 112) << 23)),
            low_nibbles: u8x16_splat(0x0f),
            bits_4_5: u8x16_splat(0x30),
            ones: i16x8_splat(1),
        })
    }

    #[inline(always)]
    pub(super) fn mask(self, mask: u8) -> v128 {
        match mask {
            0x0f => self.low_nibbles,
            0x30 => self.bits_4_5,
            _ => u8x16_splat(mask),
        }
    }
}

/// Operations that are the same whatever multiplies the integers.
macro_rules! simd128_operations {
    () => {
        type F = v128;
        type I = v128;
        type B = v128;

        #[inline(always)]
        fn splat(self, v: f32) -> v128 {
            f32x4_splat(v)
        }

        #[inline(always)]
        fn load(self, from: &[f32; 4]) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            unsafe { v128_load(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store(self, v: v128, to: &mut [f32; 4]) {
            // SAFETY: the reference is to as many bytes as are written; wasm stores need no alignment.
            unsafe { v128_store(to.as_mut_ptr().cast(), v) }
        }

        #[inline(always)]
        fn add(self, a: v128, b: v128) -> v128 {
            f32x4_add(a, b)
        }

        #[inline(always)]
        fn sub(self, a: v128, b: v128) -> v128 {
            f32x4_sub(a, b)
        }

        #[inline(always)]
        fn mul(self, a: v128, b: v128) -> v128 {
            f32x4_mul(a, b)
        }

        #[inline(always)]
        fn div(self, a: v128, b: v128) -> v128 {
            f32x4_div(a, b)
        }

        #[inline(always)]
        fn max(self, a: v128, b: v128) -> v128 {
            // Not f32x4_pmax: with relaxed SIMD at hand the compiler makes a relaxed_max of it, which loses a NaN.
            v128_bitselect(b, a, f32x4_lt(a, b))
        }

        #[inline(always)]
        fn abs(self, v: v128) -> v128 {
            f32x4_abs(v)
        }

        #[inline(always)]
        fn round(self, v: v128) -> v128 {
            // Beside 1.5 * 2²³ an f32 has no room for a fraction: its lowest bits are the integer.
            let shift = f32x4_splat(12_582_912.0);
            i32x4_sub(f32x4_add(v, shift), shift)
        }

        #[inline(always)]
        fn halves(self, from: &[u8; 8]) -> v128 {
            let h = self.load_u16(from);
            // Exponent and mantissa moved to their place in an f32, whose exponent counts from 112 lower; exact for
            // subnormals too. Infinities and NaNs then get the f32's exponent of ones.
            let magnitude = i32x4_shl(v128_and(h, u32x4_splat(0x7fff)), 13);
            let special = v128_and(i32x4_gt(magnitude, i32x4_splat(0x7bff << 13)), u32x4_splat(0x7f80_0000));
            let value = f32x4_mul(magnitude, f32x4_splat(f32::from_bits((127 + 112) << 23)));
            let sign = i32x4_shl(v128_and(h, u32x4_splat(0x8000)), 16);
            v128_or(v128_or(value, special), sign)
        }

        #[inline(always)]
        fn scales(self, from: &[u8; 8]) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            let h = unsafe { i32x4_load_extend_i16x4(from.as_ptr().cast()) };
            let scale = v128_and(i32x4_shl(h, 13), self.held.half_bits);
            let scale = f32x4_mul(scale, self.held.half_power);
            // Infinite where the f16 is infinite or NaN, and its difference from itself NaN, else zero.
            let beyond = f32x4_mul(scale, self.held.half_power);
            v128_or(scale, f32x4_sub(beyond, beyond))
        }

        #[inline(always)]
        fn splat_i(self, v: i32) -> v128 {
            i32x4_splat(v)
        }

        #[inline(always)]
        fn load_i(self, from: &[u8; 16]) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            unsafe { v128_load(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn load_u16(self, from: &[u8; 8]) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            unsafe { u32x4_load_extend_u16x4(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store_i(self, v: v128, to: &mut [i32; 4]) {
            // SAFETY: the reference is to as many bytes as are written; wasm stores need no alignment.
            unsafe { v128_store(to.as_mut_ptr().cast(), v) }
        }

        #[inline(always)]
        fn store_i16(self, v: v128, to: &mut [i16; 4]) {
            // SAFETY: the reference is to the eight bytes that are written; wasm stores need no alignment.
            unsafe { v128_store64_lane::<0>(i16x8_narrow_i32x4(v, v), to.as_mut_ptr().cast()) }
        }

        #[inline(always)]
        fn add_i(self, a: v128, b: v128) -> v128 {
            i32x4_add(a, b)
        }

        #[inline(always)]
        fn and_i(self, a: v128, b: v128) -> v128 {
            v128_and(a, b)
        }

        #[inline(always)]
        fn or_i(self, a: v128, b: v128) -> v128 {
            v128_or(a, b)
        }

        #[inline(always)]
        fn shl_i(self, v: v128, n: u32) -> v128 {
            i32x4_shl(v, n)
        }

        #[inline(always)]
        fn shr_i(self, v: v128, n: u32) -> v128 {
            u32x4_shr(v, n)
        }

        #[inline(always)]
        fn sar_i(self, v: v128, n: u32) -> v128 {
            i32x4_shr(v, n)
        }

        #[inline(always)]
        fn to_f(self, v: v128) -> v128 {
            f32x4_convert_i32x4(v)
        }

        #[inline(always)]
        fn dot_pairs(self, sum: v128, a: v128, b: v128) -> v128 {
            i32x4_add(sum, i32x4_dot_i16x8(a, b))
        }

        #[inline(always)]
        fn bits(self, v: v128) -> v128 {
            v
        }

        #[inline(always)]
        fn load_b(self, from: &[u8; 16]) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            unsafe { v128_load(from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn shr_b(self, v: v128, n: u32, mask: u8) -> v128 {
            v128_and(u16x8_shr(v, n), self.held.mask(mask))
        }

        #[inline(always)]
        fn shl_b(self, v: v128, n: u32, mask: u8) -> v128 {
            v128_and(i16x8_shl(v, n), self.held.mask(mask))
        }

        #[inline(always)]
        fn or_b(self, a: v128, b: v128) -> v128 {
            v128_or(a, b)
        }

        #[inline(always)]
        fn lanes(self, v: v128) -> v128 {
            v
        }

        #[inline(always)]
        fn lookup(self, table: &[i8; 16], i: v128) -> v128 {
            // SAFETY: the reference is to as many bytes as are read; wasm loads need no alignment.
            unsafe { i8x16_swizzle(v128_load(table.as_ptr().cast()), i) }
        }
    };
}

/// What a form has that multiplies several lines as it does one.
macro_rules! multiplies_lines {
    () => {
        type Lines = Self;

        #[inline(always)]
        fn lines(self) -> Self {
            self
        }
    };
}

/// What a form has whose sums are four rows' sums in one register, signed or not.
macro_rules! sums_in_one_register {
    () => {
        type Sum = v128;

        #[inline(always)]
        fn start_unsigned(self, v: v128) -> v128 {
            v
        }

        #[inline(always)]
        fn dot_signed(self, sum: v128, w: Self::W, x: &[Quant; 4]) -> v128 {
            self.dot_unsigned(sum, w, x)
        }

        #[inline(always)]
        fn rows_unsigned(self, sum: v128) -> v128 {
            sum
        }

        #[inline(always)]
        fn rows_signed(self, sum: v128) -> v128 {
            sum
        }
    };
}
#[cfg(feature = "relaxed-simd")]
pub(super) use {multiplies_lines, simd128_operations, sums_in_one_register};

/// One sum a row of sums for pairs of columns: rows 0 and 1, rows 2 and 3.
#[inline(always)]
pub(super) fn sum_pairs(sums: (v128, v128)) -> v128 {
    let (even, odd) = columns(sums);
    i32x4_add(even, odd)
}

/// Products of 16-bit integers.
#[cfg(not(feature = "relaxed-simd"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simd128 {
    held: Held,
}

#[cfg(not(feature = "relaxed-simd"))]
impl Simd128 {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { held: Held::new() }
    }
}

#[cfg(not(feature = "relaxed-simd"))]
impl Simd for Simd128 {
    const NAME: &'static str = "wasm simd128";
    /// 16-bit: rows 0 and 1, rows 2 and 3.
    type W = (v128, v128);
    /// Pairs of columns apart: rows 0 and 1, rows 2 and 3.
    type Sum = (v128, v128);
    type Lines = Simd128Lines;

    simd128_operations!();

    #[inline(always)]
    fn lines(self) -> Simd128Lines {
        Simd128Lines { held: self.held }
    }

    #[inline(always)]
    fn unsigned(self, v: v128) -> (v128, v128) {
        (u16x8_extend_low_u8x16(v), u16x8_extend_high_u8x16(v))
    }

    #[inline(always)]
    fn signed(self, v: v128) -> (v128, v128) {
        (i16x8_extend_low_i8x16(v), i16x8_extend_high_i8x16(v))
    }

    #[inline(always)]
    fn start_unsigned(self, v: v128) -> (v128, v128) {
        // Even columns only.
        let v = v128_and(v, i32x4(-1, 0, -1, 0));
        (v, v)
    }

    #[inline(always)]
    fn start_signed(self, _: v128) -> (v128, v128) {
        (i32x4_splat(0), i32x4_splat(0))
    }

    #[inline(always)]
    fn store_quants(self, v: [v128; 4], to: [&mut [Quant; 4]; 4]) {
        for (v, to) in v.into_iter().zip(to) {
            self.store_i16(v, to);
        }
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: (v128, v128), w: (v128, v128), x: &[Quant; 4]) -> (v128, v128) {
        // SAFETY: the reference is to the eight bytes that are read; wasm loads need no alignment.
        let x = unsafe { v128_load64_splat(x.as_ptr().cast()) };
        (i32x4_add(sum.0, i32x4_dot_i16x8(w.0, x)), i32x4_add(sum.1, i32x4_dot_i16x8(w.1, x)))
    }

    #[inline(always)]
    fn dot_signed(self, sum: (v128, v128), w: (v128, v128), x: &[Quant; 4]) -> (v128, v128) {
        self.dot_unsigned(sum, w, x)
    }

    #[inline(always)]
    fn rows_unsigned(self, sum: (v128, v128)) -> v128 {
        sum_pairs(sum)
    }

    #[inline(always)]
    fn rows_signed(self, sum: (v128, v128)) -> v128 {
        sum_pairs(sum)
    }

    #[inline(never)]
    fn apart<P: Piece<Self>>(self, piece: P) {
        piece.run(self);
    }
}

/// [`Simd128`] for several lines: a sum is one register, so that there are enough for two stripes.
#[cfg(not(feature = "relaxed-simd"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simd128Lines {
    held: Held,
}

#[cfg(not(feature = "relaxed-simd"))]
impl Simd128Lines {
    #[inline(always)]
    fn alone(self) -> Simd128 {
        Simd128 { held: self.held }
    }
}

#[cfg(not(feature = "relaxed-simd"))]
impl Simd for Simd128Lines {
    const NAME: &'static str = Simd128::NAME;
    const PAIRS_OF_STRIPES: bool = true;
    const SUMS_IN_MEMORY: bool = true;
    /// 16-bit: the first two columns of all rows, the other two.
    type W = (v128, v128);

    simd128_operations!();
    multiplies_lines!();
    sums_in_one_register!();

    #[inline(always)]
    fn unsigned(self, v: v128) -> (v128, v128) {
        columns(self.alone().unsigned(v))
    }

    #[inline(always)]
    fn signed(self, v: v128) -> (v128, v128) {
        columns(self.alone().signed(v))
    }

    #[inline(always)]
    fn start_signed(self, _: v128) -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    fn store_quants(self, v: [v128; 4], to: [&mut [Quant; 4]; 4]) {
        self.alone().store_quants(v, to);
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: v128, w: (v128, v128), x: &[Quant; 4]) -> v128 {
        let (first, other) = x.split_at(2);
        // SAFETY: the slices are the four bytes that are read; wasm loads need no alignment.
        let (first, other) =
            unsafe { (v128_load32_splat(first.as_ptr().cast()), v128_load32_splat(other.as_ptr().cast())) };
        i32x4_add(i32x4_add(sum, i32x4_dot_i16x8(w.0, first)), i32x4_dot_i16x8(w.1, other))
    }

    #[inline(never)]
    fn apart<P: Piece<Self>>(self, piece: P) {
        piece.run(self);
    }
}

/// Of pairs of columns, rows 0 and 1 before rows 2 and 3: the first of each row, the second.
#[inline(always)]
fn columns((low, high): (v128, v128)) -> (v128, v128) {
    (i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
}
