//! Plain arrays: what every other form is compared with, and what runs where there is none.

use std::array::from_fn;

use super::{Piece, Quant, Simd};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    const NAME: &'static str = "scalar";
    type F = [f32; 4];
    type I = [i32; 4];
    type B = [u8; 16];
    type W = [i32; 16];
    type Sum = [i32; 4];
    type Lines = Self;

    #[inline(always)]
    fn lines(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, v: f32) -> [f32; 4] {
        [v; 4]
    }

    #[inline(always)]
    fn load(self, from: &[f32; 4]) -> [f32; 4] {
        *from
    }

    #[inline(always)]
    fn store(self, v: [f32; 4], to: &mut [f32; 4]) {
        *to = v;
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn max(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        from_fn(|i| if a[i] < b[i] { b[i] } else { a[i] })
    }

    #[inline(always)]
    fn abs(self, v: [f32; 4]) -> [f32; 4] {
        v.map(f32::abs)
    }

    #[inline(always)]
    fn round(self, v: [f32; 4]) -> [i32; 4] {
        v.map(|v| v.round_ties_even() as i32)
    }

    #[inline(always)]
    fn halves(self, from: &[u8; 8]) -> [f32; 4] {
        from_fn(|i| half::f16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }

    #[inline(always)]
    fn splat_i(self, v: i32) -> [i32; 4] {
        [v; 4]
    }

    #[inline(always)]
    fn load_i(self, from: &[u8; 16]) -> [i32; 4] {
        from_fn(|i| i32::from_le_bytes([from[4 * i], from[4 * i + 1], from[4 * i + 2], from[4 * i + 3]]))
    }

    #[inline(always)]
    fn load_u16(self, from: &[u8; 8]) -> [i32; 4] {
        from_fn(|i| i32::from(u16::from_le_bytes([from[2 * i], from[2 * i + 1]])))
    }

    #[inline(always)]
    fn store_i(self, v: [i32; 4], to: &mut [i32; 4]) {
        *to = v;
    }

    #[inline(always)]
    fn store_i16(self, v: [i32; 4], to: &mut [i16; 4]) {
        *to = v.map(|v| v as i16);
    }

    #[inline(always)]
    fn store_quants(self, v: [[i32; 4]; 4], to: [&mut [Quant; 4]; 4]) {
        for (v, to) in v.into_iter().zip(to) {
            *to = v.map(|v| v as Quant);
        }
    }

    #[inline(always)]
    fn add_i(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn and_i(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or_i(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn shl_i(self, v: [i32; 4], n: u32) -> [i32; 4] {
        v.map(|v| v << n)
    }

    #[inline(always)]
    fn shr_i(self, v: [i32; 4], n: u32) -> [i32; 4] {
        v.map(|v| (v as u32 >> n) as i32)
    }

    #[inline(always)]
    fn sar_i(self, v: [i32; 4], n: u32) -> [i32; 4] {
        v.map(|v| v >> n)
    }

    #[inline(always)]
    fn to_f(self, v: [i32; 4]) -> [f32; 4] {
        v.map(|v| v as f32)
    }

    #[inline(always)]
    fn bits(self, v: [i32; 4]) -> [f32; 4] {
        v.map(|v| f32::from_bits(v as u32))
    }

    #[inline(always)]
    fn load_b(self, from: &[u8; 16]) -> [u8; 16] {
        *from
    }

    #[inline(always)]
    fn shr_b(self, v: [u8; 16], n: u32, mask: u8) -> [u8; 16] {
        v.map(|v| (v >> n) & mask)
    }

    #[inline(always)]
    fn shl_b(self, v: [u8; 16], n: u32, mask: u8) -> [u8; 16] {
        v.map(|v| (v << n) & mask)
    }

    #[inline(always)]
    fn or_b(self, a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn lanes(self, v: [u8; 16]) -> [i32; 4] {
        self.load_i(&v)
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16], i: [u8; 16]) -> [u8; 16] {
        i.map(|i| table[usize::from(i & 15)] as u8)
    }

    #[inline(always)]
    fn unsigned(self, v: [u8; 16]) -> [i32; 16] {
        v.map(i32::from)
    }

    #[inline(always)]
    fn signed(self, v: [u8; 16]) -> [i32; 16] {
        v.map(|v| i32::from(v as i8))
    }

    #[inline(always)]
    fn start_unsigned(self, v: [i32; 4]) -> [i32; 4] {
        v
    }

    #[inline(always)]
    fn start_signed(self, _: [i32; 4]) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn dot_unsigned(self, sum: [i32; 4], w: [i32; 16], x: &[Quant; 4]) -> [i32; 4] {
        from_fn(|row| (0..4).fold(sum[row], |sum, i| sum + w[4 * row + i] * i32::from(x[i])))
    }

    #[inline(always)]
    fn dot_signed(self, sum: [i32; 4], w: [i32; 16], x: &[Quant; 4]) -> [i32; 4] {
        self.dot_unsigned(sum, w, x)
    }

    #[inline(always)]
    fn rows_unsigned(self, sum: [i32; 4]) -> [i32; 4] {
        sum
    }

    #[inline(always)]
    fn rows_signed(self, sum: [i32; 4]) -> [i32; 4] {
        self.rows_unsigned(sum)
    }

    #[inline(never)]
    fn apart<P: Piece<Self>>(self, piece: P) {
        piece.run(self);
    }
}
