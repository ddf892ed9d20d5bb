//! Q2K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, half, word};

#[derive(Debug)]
pub(crate) struct Q2K;

impl Layout for Q2K {
    const ELEMS: usize = 256;
    const BYTES: usize = 84;
    const HALVES: usize = 2;

    /// `d` and `dmin` go to the front.
    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        packed.rotate_right(4);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        block.rotate_left(4);
    }
}

impl Tile for Q2K {
    const SIGNED: bool = false;
    const MAX: i32 = 3;
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = true;
    const PHASES: usize = 4;
    const SHIFTED: bool = true;

    type Head<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.scales(half(tile, 0)), s.sub(s.splat(0.0), s.scales(half(tile, 1))))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        s.shr_b(s.load_b(word::<Self>(tile, 4 + 8 * turn + 4 * HALF + i)), 2 * PHASE as u32, 3)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(
        s: S,
        tile: &[u8],
        head: Self::Head<S>,
        group: usize,
        half: usize,
    ) -> (S::F, S::F) {
        let (d, minus_dmin) = head;
        let scales = s.load_i(word::<Self>(tile, group / 2));
        let at = 16 * (group % 2) as u32 + 8 * half as u32;
        (s.mul(d, s.field(scales, at, 15)), s.mul(minus_dmin, s.field(scales, at + 4, 15)))
    }
}
