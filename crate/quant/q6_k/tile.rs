//! Q6K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, half, word};

#[derive(Debug)]
pub(crate) struct Q6K;

impl Layout for Q6K {
    const ELEMS: usize = 256;
    const BYTES: usize = 210;
    const HALVES: usize = 1;

    /// `d` goes to the front.
    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        packed.rotate_right(2);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        block.rotate_left(2);
    }
}

impl Tile for Q6K {
    const SIGNED: bool = false;
    const MAX: i32 = 63;
    const OFFSET: i32 = 32;
    const HALF_GROUPS: bool = true;
    const PHASES: usize = 4;
    const SHIFTED: bool = false;

    type Head<S: Simd> = S::F;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        s.scales(half(tile, 0))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        let low = s.load_b(word::<Self>(tile, 16 * turn + 8 * (PHASE % 2) + 4 * HALF + i));
        let high = s.load_b(word::<Self>(tile, 32 + 8 * turn + 4 * HALF + i));
        let high = match PHASE {
            0 => s.shl_b(high, 4, 0x30),
            1 => s.shl_b(high, 2, 0x30),
            _ => s.shr_b(high, 2 * (PHASE as u32 - 2), 0x30),
        };
        s.or_b(s.shr_b(low, 4 * (PHASE as u32 / 2), 15), high)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(
        s: S,
        tile: &[u8],
        head: Self::Head<S>,
        group: usize,
        half: usize,
    ) -> (S::F, S::F) {
        let scales = s.load_i(word::<Self>(tile, 48 + group / 2));
        // A signed byte: up to the top of its lane, then down with its sign.
        let at = 2 * (group % 2) + half;
        let scale = s.sar_i(s.shl_i(scales, 24 - 8 * at as u32), 24);
        (s.mul(head, s.to_f(scale)), s.splat(0.0))
    }
}
