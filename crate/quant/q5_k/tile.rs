//! Q5K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::q4_k::tile::{Head, pack_scales, unpack_scales};
use crate::quant::tile::{Layout, Tile, bit, move_bits, word};

#[derive(Debug)]
pub(crate) struct Q5K;

impl Layout for Q5K {
    const ELEMS: usize = 256;
    const BYTES: usize = 176;
    const HALVES: usize = 2;

    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        pack_scales(&mut packed[4..16]);
        move_bits(&block[16..48], &mut packed[16..48]);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_scales(&mut block[4..16]);
        move_bits(&packed[16..48], &mut block[16..48]);
    }
}

impl Tile for Q5K {
    const SIGNED: bool = false;
    const MAX: i32 = 31;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 4;
    const SHIFTED: bool = true;

    type Head<S: Simd> = Head<S>;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        Head::read::<Self>(s, tile)
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        let low = s.load_b(word::<Self>(tile, 11 + 16 * turn + 8 * (PHASE / 2) + 4 * HALF + i));
        let high = s.load_b(word::<Self>(tile, 3 + 4 * turn + i));
        s.or_b(s.shr_b(low, 4 * (PHASE as u32 % 2), 15), bit(s, high, (PHASE + 4 * HALF) as u32, 4))
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, group: usize, _: usize) -> (S::F, S::F) {
        head.scale_shift(s, group)
    }
}
