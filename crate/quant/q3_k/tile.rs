//! Q3K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{
    Layout, Tile, bit, byte, half, move_bits, pack_six_bits, six_bits, unpack_six_bits, word,
};

#[derive(Debug)]
pub(crate) struct Q3K;

impl Layout for Q3K {
    const ELEMS: usize = 256;
    const BYTES: usize = 110;
    const HALVES: usize = 1;

    /// `d`, then the scales, then the rest.
    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        move_bits(&block[..32], &mut packed[..32]);
        packed[..108].rotate_right(12);
        packed.rotate_right(2);
        if let Some(scales) = packed[2..].first_chunk_mut::<12>() {
            *scales = pack_six_bits(scale_values(scales));
        }
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        if let Some(scales) = block[2..].first_chunk_mut::<12>() {
            *scales = scale_bytes(unpack_six_bits(*scales));
        }
        block.rotate_left(2);
        block[..108].rotate_left(12);
        move_bits(&packed[14..46], &mut block[..32]);
    }
}

impl Tile for Q3K {
    const SIGNED: bool = false;
    const MAX: i32 = 7;
    const OFFSET: i32 = 4;
    const HALF_GROUPS: bool = true;
    const PHASES: usize = 4;
    const SHIFTED: bool = false;

    type Head<S: Simd> = (S::F, [S::I; 4]);

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        (s.scales(half(tile, 0)), six_bits::<S, Self>(s, tile, 0))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        let low = s.shr_b(s.load_b(word::<Self>(tile, 11 + 8 * turn + 4 * HALF + i)), 2 * PHASE as u32, 3);
        let high = s.load_b(word::<Self>(tile, 3 + 4 * turn + i));
        s.or_b(low, bit(s, high, (PHASE + 4 * HALF) as u32, 2))
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, group: usize, half: usize) -> (S::F, S::F) {
        let (d, scales) = head;
        let scale = s.sub(byte(s, &scales, 2 * group + half), s.splat(32.0));
        (s.mul(d, scale), s.splat(0.0))
    }
}

/// The sixteen six-bit numbers of a block's `scales` field.
fn scale_values(bytes: &[u8; 12]) -> [u8; 16] {
    std::array::from_fn(|i| bytes[i % 8] >> (4 * (i / 8)) & 15 | (bytes[8 + i % 4] >> (2 * (i / 4)) & 3) << 4)
}

/// Undoes [`scale_values`].
fn scale_bytes(v: [u8; 16]) -> [u8; 12] {
    std::array::from_fn(|i| match i {
        0..8 => v[i] & 15 | v[i + 8] << 4,
        _ => (0..4).fold(0, |byte, j| byte | v[i - 8 + 4 * j] >> 4 << (2 * j)),
    })
}
