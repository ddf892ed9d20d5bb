//! Q5K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::q4_k::tile::{Head, pack_scales, unpack_scales};
use crate::quant::tile::{Group, Layout, Tile, bit, columns, word};

#[derive(Debug)]
pub(crate) struct Q5K;

impl Layout for Q5K {
    const ELEMS: usize = 256;
    const BYTES: usize = 176;
    const HALVES: usize = 2;

    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        pack_scales(&mut packed[4..16]);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_scales(&mut block[4..16]);
    }
}

impl Tile for Q5K {
    const SIGNED: bool = false;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const SHIFTED: bool = true;

    type Head<S: Simd> = Head<S>;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        Head::read::<Self>(s, tile)
    }

    #[inline(always)]
    fn group<S: Simd, const G: usize>(s: S, tile: &[u8], head: Self::Head<S>) -> Group<S> {
        let (scale, shift) = head.scale_shift(s, G);
        let q = columns!(I => {
            let low = s.shr_b(s.load_b(word::<Self>(tile, 11 + 8 * (G / 2) + I)), 4 * (G as u32 % 2), 15);
            s.or_b(low, bit(s, s.load_b(word::<Self>(tile, 3 + I)), G as u32, 4))
        });
        Group { q, scale, shift }
    }
}
