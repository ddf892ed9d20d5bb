//! WebAssembly `relaxed-simd`: four products of bytes and their sum in one instruction.
//!
//! What the instruction does with a second operand above 127 is the machine's choice, the same at every call: it takes
//! it for 128 to 255 (x86-64 with VNNI) or for a negative number (ARM), or it sums pairs of products in 16 bits, which
//! overflow (older x86-64). Up to 127 all agree. [`Relaxed`] is for the first two, which a probe tells apart. For the third
//! there is [`Pairs`], for that machine makes three instructions of this one where one is needed.

use std::arch::wasm32::*;
use std::hint::black_box;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed as Unordered};

use super::wasm::{Held, multiplies_lines, simd128_operations, sum_pairs, sums_in_one_register};
use super::{Kernel, Piece, Quant, Simd};

/// What a second operand above 127 means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Above127 {
    Unsigned = 1,
    Negative = 2,
    Overflow = 3,
}

impl Above127 {
    fn probe() -> Self {
        static KNOWN: AtomicU8 = AtomicU8::new(0);
        match KNOWN.load(Unordered) {
            1 => return Self::Unsigned,
            2 => return Self::Negative,
            3 => return Self::Overflow,
            _ => {}
        }
        // Hidden from the compiler, whose own idea of the instruction says nothing of this machine.
        let found =
            match i32x4_extract_lane::<0>(dot(black_box(i8x16_splat(127)), black_box(i8x16_splat(-1)))) {
                129_540 => Self::Unsigned,
                -508 => Self::Negative,
                _ => Self::Overflow,
            };
        KNOWN.store(found as u8, Unordered);
        found
    }
}

#[target_feature(enable = "relaxed-simd")]
fn dot(a: v128, b: v128) -> v128 {
    i32x4_relaxed_dot_i8x16_i7x16_add(a, b, i32x4_splat(0))
}

/// Runs a kernel on the best form for this machine.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "relaxed-simd")]
    fn relaxed<K: Kernel>(flip: v128, excess: v128, kernel: K) -> K::Output {
        kernel.run(Relaxed { flip, excess, held: Held::new() })
    }
    #[target_feature(enable = "relaxed-simd")]
    fn pairs<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Pairs { held: Held::new() })
    }
    match Above127::probe() {
        // Signed weights are moved to 0..=255, and 128 times the activations' sum is taken off again.
        Above127::Unsigned => relaxed(i8x16_splat(-128), i32x4_splat(-1), kernel),
        Above127::Negative => relaxed(i8x16_splat(0), i32x4_splat(0), kernel),
        Above127::Overflow => pairs(kernel),
    }
}

/// What both forms have.
macro_rules! relaxed_operations {
    () => {
        #[inline(always)]
        fn apart<P: Piece<Self>>(self, piece: P) {
            #[target_feature(enable = "relaxed-simd")]
            #[inline(never)]
            fn apart<S, P: Piece<S>>(s: S, piece: P) {
                piece.run(s);
            }
            apart(self, piece);
        }

        #[inline(always)]
        fn store_quants(self, [a, b, c, d]: [v128; 4], [to_a, to_b, to_c, to_d]: [&mut [Quant; 4]; 4]) {
            let all = i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d));
            // SAFETY: each reference is to the four bytes that are written; wasm stores need no alignment.
            unsafe {
                v128_store32_lane::<0>(all, to_a.as_mut_ptr().cast());
                v128_store32_lane::<1>(all, to_b.as_mut_ptr().cast());
                v128_store32_lane::<2>(all, to_c.as_mut_ptr().cast());
                v128_store32_lane::<3>(all, to_d.as_mut_ptr().cast());
            }
        }
    };
}

/// Products of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relaxed {
    /// What makes a signed weight a second operand.
    flip: v128,
    /// All ones where `flip` adds 128, else zero.
    excess: v128,
    held: Held,
}

impl Simd for Relaxed {
    const NAME: &'static str = "wasm relaxed-simd";
    const PAIRS_OF_STRIPES: bool = true;
    type W = v128;

    simd128_operations!();
    multiplies_lines!();
    sums_in_one_register!();
    relaxed_operations!();

    #[inline(always)]
    fn unsigned(self, v: v128) -> v128 {
        v
    }

    #[inline(always)]
    fn signed(self, v: v128) -> v128 {
        v128_xor(v, self.flip)
    }

    #[inline(always)]
    fn start_signed(self, less: v128) -> v128 {
        v128_and(i32x4_shl(less, 7), self.excess)
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: v128, w: v128, x: &[Quant; 4]) -> v128 {
        // SAFETY: the reference is to the four bytes that are read; wasm loads need no alignment.
        let x = unsafe { v128_load32_splat(x.as_ptr().cast()) };
        i32x4_relaxed_dot_i8x16_i7x16_add(x, w, sum)
    }
}

/// Products of bytes, two of them summed in 16 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs {
    held: Held,
}

impl Simd for Pairs {
    const NAME: &'static str = "wasm relaxed-simd in pairs";
    /// Bytes and nothing, or signed ones in 16 bits: rows 0 and 1, rows 2 and 3.
    type W = (v128, v128);
    /// A sum a row and sums in 16 bits for pairs of columns; or signed ones for pairs of columns: rows 0 and 1, rows 2 and 3.
    type Sum = (v128, v128);

    simd128_operations!();
    multiplies_lines!();
    relaxed_operations!();

    #[inline(always)]
    fn unsigned(self, v: v128) -> (v128, v128) {
        (v, i32x4_splat(0))
    }

    #[inline(always)]
    fn signed(self, v: v128) -> (v128, v128) {
        (i16x8_extend_low_i8x16(v), i16x8_extend_high_i8x16(v))
    }

    #[inline(always)]
    fn start_unsigned(self, v: v128) -> (v128, v128) {
        (v, i32x4_splat(0))
    }

    #[inline(always)]
    fn start_signed(self, _: v128) -> (v128, v128) {
        (i32x4_splat(0), i32x4_splat(0))
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: (v128, v128), w: (v128, v128), x: &[Quant; 4]) -> (v128, v128) {
        // SAFETY: the reference is to the four bytes that are read; wasm loads need no alignment.
        let x = unsafe { v128_load32_splat(x.as_ptr().cast()) };
        (sum.0, i16x8_add(sum.1, i16x8_relaxed_dot_i8x16_i7x16(x, w.0)))
    }

    #[inline(always)]
    fn settle(self, sum: (v128, v128)) -> (v128, v128) {
        (self.rows_unsigned(sum), i32x4_splat(0))
    }

    #[inline(always)]
    fn rows_unsigned(self, sum: (v128, v128)) -> v128 {
        i32x4_add(sum.0, i32x4_dot_i16x8(sum.1, self.held.ones))
    }

    #[inline(always)]
    fn dot_signed(self, sum: (v128, v128), w: (v128, v128), x: &[Quant; 4]) -> (v128, v128) {
        // SAFETY: the reference is to the four bytes that are read; wasm loads need no alignment.
        let x = i16x8_extend_low_i8x16(unsafe { v128_load32_splat(x.as_ptr().cast()) });
        (i32x4_add(sum.0, i32x4_dot_i16x8(w.0, x)), i32x4_add(sum.1, i32x4_dot_i16x8(w.1, x)))
    }

    #[inline(always)]
    fn rows_signed(self, sum: (v128, v128)) -> v128 {
        sum_pairs(sum)
    }
}
