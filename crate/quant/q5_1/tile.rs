//! Q5_1 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::q5_0::tile::{five_bits, pack_fifth, unpack_fifth};
use crate::quant::tile::{Layout, Tile, half};

#[derive(Debug)]
pub(crate) struct Q5_1;

impl Layout for Q5_1 {
    const ELEMS: usize = 32;
    const BYTES: usize = 24;
    const HALVES: usize = 2;

    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        pack_fifth(&mut packed[4..8]);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_fifth(&mut block[4..8]);
    }
}

impl Tile for Q5_1 {
    const SIGNED: bool = false;
    const MAX: i32 = 31;
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
        five_bits::<S, Self, HALF>(s, tile, 0, i)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(_: S, _: &[u8], head: Self::Head<S>, _: usize, _: usize) -> (S::F, S::F) {
        head
    }
}
