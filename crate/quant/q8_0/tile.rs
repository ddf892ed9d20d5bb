//! Q8_0 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, half, word};

#[derive(Debug)]
pub(crate) struct Q8_0;

impl Layout for Q8_0 {
    const ELEMS: usize = 32;
    const BYTES: usize = 34;
    const HALVES: usize = 1;
}

impl Tile for Q8_0 {
    const SIGNED: bool = true;
    const MAX: i32 = 128;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 1;
    const SHIFTED: bool = false;

    type Head<S: Simd> = S::F;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        s.scales(half(tile, 0))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], _: usize, i: usize) -> S::B {
        s.load_b(word::<Self>(tile, 4 * HALF + i))
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, _: usize, _: usize) -> (S::F, S::F) {
        (head, s.splat(0.0))
    }
}
