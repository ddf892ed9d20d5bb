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
        s.scales(half(tile, 0))
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
    change_bits(qh, |bits| evens_first(evens_first(bits)));
}

/// Undoes [`pack_fifth`].
pub(crate) fn unpack_fifth(qh: &mut [u8]) {
    // Five times brings every bit back.
    change_bits(qh, |bits| evens_first(evens_first(evens_first(bits))));
}

fn change_bits(bytes: &mut [u8], change: impl Fn(u32) -> u32) {
    for bytes in bytes.as_chunks_mut::<4>().0 {
        *bytes = change(u32::from_le_bytes(*bytes)).to_le_bytes();
    }
}

/// Bits 0, 2, 4 … in the lower half, the others in the upper one (Warren, "Hacker's Delight", "unshuffle").
fn evens_first(bits: u32) -> u32 {
    let steps = [(1, 0x2222_2222), (2, 0x0c0c_0c0c), (4, 0x00f0_00f0), (8, 0x0000_ff00)];
    steps.into_iter().fold(bits, |bits, (n, mask)| {
        let differ = (bits ^ bits >> n) & mask;
        bits ^ differ ^ differ << n
    })
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
