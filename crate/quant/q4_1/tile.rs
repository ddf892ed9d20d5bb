//! Q4_1 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, half, nibble};

#[derive(Debug)]
pub(crate) struct Q4_1;

impl Layout for Q4_1 {
    const ELEMS: usize = 32;
    const BYTES: usize = 20;
    const HALVES: usize = 2;
}

impl Tile for Q4_1 {
    const SIGNED: bool = false;
    const MAX: i32 = 15;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 1;
    const SHIFTED: bool = true;

    type Head<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.scales(half(tile, 0)), s.scales(half(tile, 1)))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], _: usize, i: usize) -> S::B {
        nibble::<S, Self, HALF>(s, tile, i)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(_: S, _: &[u8], head: Self::Head<S>, _: usize, _: usize) -> (S::F, S::F) {
        head
    }
}
