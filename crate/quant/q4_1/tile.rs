//! Q4_1 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Group, Layout, Tile, half, nibbles};

#[derive(Debug)]
pub(crate) struct Q4_1;

impl Layout for Q4_1 {
    const ELEMS: usize = 32;
    const BYTES: usize = 20;
    const HALVES: usize = 2;
}

impl Tile for Q4_1 {
    const SIGNED: bool = false;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const SHIFTED: bool = true;

    type Head<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.halves(half(tile, 0)), s.halves(half(tile, 1)))
    }

    #[inline(always)]
    fn group<S: Simd, const G: usize>(s: S, tile: &[u8], head: Self::Head<S>) -> Group<S> {
        Group { q: nibbles::<S, Self>(s, tile, 0), scale: [head.0; 2], shift: [head.1; 2] }
    }
}
