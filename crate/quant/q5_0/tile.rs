//! Q5_0 as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, bit, half, nibble, word};

#[derive(Debug)]
pub(crate) struct Q5_0;

impl Layout for Q5_0 {
    const ELEMS: usize = 32;
    const BYTES: usize = 22;
    const HALVES: usize = 1;

    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        pack_fifth(&mut packed[2..6]);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_fifth(&mut block[2..6]);
    }
}

impl Tile for Q5_0 {
    const SIGNED: bool = false;
    const MAX: i32 = 31;
    const OFFSET: i32 = 16;
    const HALF_GROUPS: bool = false;
    const PHASES: usize = 1;
    const SHIFTED: bool = false;

    type Head<S: Simd> = S::F;

    #[inline(always)]
    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S> {
        s.halves(half(tile, 0))
    }

    #[inline(always)]
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], _: usize, i: usize) -> S::B {
        five_bits::<S, Self, HALF>(s, tile, 0, i)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, _: usize, _: usize) -> (S::F, S::F) {
        (head, s.splat(0.0))
    }
}

/// Fifth bits: from bit `j` for element `j`, to bit `i` of byte `k` for element `4 i + k`, where the kernel has the
/// columns `4 i ..` of a row in four bytes.
pub(crate) fn pack_fifth(qh: &mut [u8]) {
    let bits = qh.iter().rev().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
    for (k, byte) in qh.iter_mut().enumerate() {
        *byte = (0..8).fold(0, |byte, i| byte | ((bits >> (4 * i + k) & 1) as u8) << i);
    }
}

/// Undoes [`pack_fifth`].
pub(crate) fn unpack_fifth(qh: &mut [u8]) {
    let mut bits = 0u32;
    for (k, &byte) in qh.iter().enumerate() {
        bits = (0..8).fold(bits, |bits, i| bits | u32::from(byte >> i & 1) << (4 * i + k));
    }
    qh.copy_from_slice(&bits.to_le_bytes());
}

/// Columns `16 HALF + 4 i ..` from the fifth bits in word `first` and the nibbles after it.
#[inline(always)]
pub(crate) fn five_bits<S: Simd, T: Layout, const HALF: usize>(
    s: S,
    tile: &[u8],
    first: usize,
    i: usize,
) -> S::B {
    let high = bit(s, s.load_b(word::<T>(tile, first)), (4 * HALF + i) as u32, 4);
    s.or_b(nibble::<S, T, HALF>(s, tile, first + 1 + i), high)
}
