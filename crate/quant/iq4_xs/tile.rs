//! Iq4Xs as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::iq4_nl::LEVELS;
use crate::quant::tile::{Layout, Tile, half, nibble, word};

#[derive(Debug)]
pub(crate) struct Iq4Xs;

impl Layout for Iq4Xs {
    const ELEMS: usize = 256;
    const BYTES: usize = 136;
    const HALVES: usize = 2;
}

impl Tile for Iq4Xs {
    const SIGNED: bool = true;
    const MAX: i32 = 128;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 1;
    const SHIFTED: bool = false;

    type Head<S: Simd> = (S::F, S::I, S::I);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.scales(half(tile, 0)), s.load_u16(half(tile, 1)), s.load_i(word::<Self>(tile, 0)))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        s.lookup(&LEVELS, nibble::<S, Self, HALF>(s, tile, 1 + 4 * turn + i))
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, group: usize, _: usize) -> (S::F, S::F) {
        let (d, high, low) = head;
        let low = s.and_i(s.shr_i(low, 4 * group as u32), s.splat_i(15));
        let high = s.and_i(s.shr_i(high, 2 * group as u32), s.splat_i(3));
        let scale = s.to_f(s.add_i(s.or_i(low, s.shl_i(high, 4)), s.splat_i(-32)));
        (s.mul(d, scale), s.splat(0.0))
    }
}
