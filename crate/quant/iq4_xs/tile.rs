//! Iq4Xs as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::iq4_nl::LEVELS;
use crate::quant::tile::{Group, Layout, Tile, half, nibbles, word};

#[derive(Debug)]
pub(crate) struct Iq4Xs;

impl Layout for Iq4Xs {
    const ELEMS: usize = 256;
    const BYTES: usize = 136;
    const HALVES: usize = 2;
}

impl Tile for Iq4Xs {
    const SIGNED: bool = true;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const SHIFTED: bool = false;

    type Head<S: Simd> = (S::F, S::I, S::I);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.halves(half(tile, 0)), s.load_u16(half(tile, 1)), s.load_i(word::<Self>(tile, 0)))
    }

    #[inline(always)]
    fn group<S: Simd, const G: usize>(s: S, tile: &[u8], head: Self::Head<S>) -> Group<S> {
        let (d, high, low) = head;
        let low = s.and_i(s.shr_i(low, 4 * G as u32), s.splat_i(15));
        let high = s.and_i(s.shr_i(high, 2 * G as u32), s.splat_i(3));
        let scale = s.to_f(s.add_i(s.or_i(low, s.shl_i(high, 4)), s.splat_i(-32)));
        let q = nibbles::<S, Self>(s, tile, 1 + 4 * G).map(|i| s.lookup(&LEVELS, i));
        Group { q, scale: [s.mul(d, scale); 2], shift: [s.splat(0.0); 2] }
    }
}
