//! Q2K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Group, Layout, Tile, columns, half, word};

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
    const OFFSET: i32 = 0;
    const HALF_GROUPS: bool = true;
    const SHIFTED: bool = true;

    type Head<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.halves(half(tile, 0)), s.sub(s.splat(0.0), s.halves(half(tile, 1))))
    }

    #[inline(always)]
    fn group<S: Simd, const G: usize>(s: S, tile: &[u8], head: Self::Head<S>) -> Group<S> {
        let (d, minus_dmin) = head;
        let (h, c) = (G / 4, G as u32 % 4);
        let q = columns!(I => s.shr_b(s.load_b(word::<Self>(tile, 4 + 8 * h + I)), 2 * c, 3));
        let scales = s.load_i(word::<Self>(tile, G / 2));
        let first = 16 * (G as u32 % 2);
        let scale = |at| s.mul(d, s.field(scales, at, 15));
        let shift = |at| s.mul(minus_dmin, s.field(scales, at + 4, 15));
        Group { q, scale: [scale(first), scale(first + 8)], shift: [shift(first), shift(first + 8)] }
    }
}
