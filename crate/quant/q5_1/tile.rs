//! Q5_1 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::q5_0::tile::{five_bits, pack_fifth, unpack_fifth};
use crate::quant::tile::{Group, Layout, Tile, half};

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
        Group { q: five_bits::<S, Self>(s, tile, 0), scale: [head.0; 2], shift: [head.1; 2] }
    }
}
