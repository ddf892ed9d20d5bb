//! Iq4Nl as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use super::LEVELS;
use crate::kernels::simd::Simd;
use crate::quant::tile::{Group, Layout, Tile, half, nibbles};

#[derive(Debug)]
pub(crate) struct Iq4Nl;

impl Layout for Iq4Nl {
    const ELEMS: usize = 32;
    const BYTES: usize = 18;
    const HALVES: usize = 1;
}

impl Tile for Iq4Nl {
    const SIGNED: bool = true;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = false;
    const SHIFTED: bool = false;

    type Head<S: Simd> = S::F;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        s.halves(half(tile, 0))
    }

    #[inline(always)]
    fn group<S: Simd, const G: usize>(s: S, tile: &[u8], head: Self::Head<S>) -> Group<S> {
        let q = nibbles::<S, Self>(s, tile, 0).map(|i| s.lookup(&LEVELS, i));
        Group { q, scale: [head; 2], shift: [s.splat(0.0); 2] }
    }
}
