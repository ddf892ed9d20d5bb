//! F32, F16 and BF16 as the CPU keeps and reads them, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{FloatTile, Layout, half, word};

#[derive(Debug)]
pub(crate) struct F32;

impl Layout for F32 {
    const ELEMS: usize = 1;
    const BYTES: usize = 4;
    const HALVES: usize = 0;
}

impl FloatTile for F32 {
    #[inline(always)]
    fn column<S: Simd>(s: S, tile: &[u8]) -> S::F {
        s.bits(s.load_i(word::<Self>(tile, 0)))
    }
}

#[derive(Debug)]
pub(crate) struct F16;

impl Layout for F16 {
    const ELEMS: usize = 1;
    const BYTES: usize = 2;
    const HALVES: usize = 1;
}

impl FloatTile for F16 {
    #[inline(always)]
    fn column<S: Simd>(s: S, tile: &[u8]) -> S::F {
        s.halves(half(tile, 0))
    }
}

#[derive(Debug)]
pub(crate) struct Bf16;

impl Layout for Bf16 {
    const ELEMS: usize = 1;
    const BYTES: usize = 2;
    const HALVES: usize = 1;
}

impl FloatTile for Bf16 {
    #[inline(always)]
    fn column<S: Simd>(s: S, tile: &[u8]) -> S::F {
        s.bits(s.shl_i(s.load_u16(half(tile, 0)), 16))
    }
}
