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
        move_bits(&block[16..48], &mut packed[16..48], fifth_bit, true);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_scales(&mut block[4..16]);
        move_bits(&packed[16..48], &mut block[16..48], fifth_bit, false);
    }
}

impl Tile for Q5K {
    const SIGNED: bool = false;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 2;
    const SHIFTED: bool = true;

    type Head<S: Simd> = Head<S>;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        Head::read::<Self>(s, tile)
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const I: usize>(s: S, tile: &[u8], turn: usize) -> S::B {
        let low = s.shr_b(s.load_b(word::<Self>(tile, 11 + 8 * turn + I)), 4 * PHASE as u32, 15);
        let high = s.load_b(word::<Self>(tile, 3 + 2 * turn + I / 4));
        s.or_b(low, bit(s, high, (4 * PHASE + I % 4) as u32, 4))
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, group: usize, _: usize) -> (S::F, S::F) {
        head.scale_shift(s, group)
    }
}

/// Where the fifth bit of element `32 g + l` goes: turn `g / 2` has two words, one for either half of the columns, and
/// in them four bits a phase.
fn fifth_bit(g: usize, l: usize) -> (usize, usize) {
    let (turn, phase, i) = (g / 2, g % 2, l / 4);
    (4 * (2 * turn + i / 4) + l % 4, 4 * phase + i % 4)
}
