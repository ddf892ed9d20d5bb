//! Q4K as the CPU keeps and reads it, see [`tile`](crate::quant::tile).

use super::scale_min;
use crate::kernels::simd::Simd;
use crate::quant::tile::{Layout, Tile, byte, half, pack_six_bits, six_bits, unpack_six_bits, word};

#[derive(Debug)]
pub(crate) struct Q4K;

impl Layout for Q4K {
    const ELEMS: usize = 256;
    const BYTES: usize = 144;
    const HALVES: usize = 2;

    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
        pack_scales(&mut packed[4..16]);
    }

    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
        unpack_scales(&mut block[4..16]);
    }
}

impl Tile for Q4K {
    const SIGNED: bool = false;
    const MAX: i32 = 15;
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
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B {
        s.shr_b(s.load_b(word::<Self>(tile, 3 + 8 * turn + 4 * HALF + i)), 4 * PHASE as u32, 15)
    }

    #[inline(always)]
    fn scale_shift<S: Simd>(s: S, _: &[u8], head: Self::Head<S>, group: usize, _: usize) -> (S::F, S::F) {
        head.scale_shift(s, group)
    }
}

/// What the groups of a Q4_K or Q5_K tile share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<S: Simd> {
    d: S::F,
    minus_dmin: S::F,
    /// Eight scales, then eight minima.
    scales: [S::I; 4],
}

impl<S: Simd> Head<S> {
    /// From a tile whose first words are d and dmin, then [`pack_scales`]' bytes.
    #[inline(always)]
    pub(crate) fn read<T: Layout>(s: S, tile: &[u8]) -> Self {
        let minus_dmin = s.sub(s.splat(0.0), s.scales(half(tile, 1)));
        Self { d: s.scales(half(tile, 0)), minus_dmin, scales: six_bits::<S, T>(s, tile, 0) }
    }

    /// Scale and shift of group `g`.
    #[inline(always)]
    pub(crate) fn scale_shift(&self, s: S, g: usize) -> (S::F, S::F) {
        (s.mul(self.d, byte(s, &self.scales, g)), s.mul(self.minus_dmin, byte(s, &self.scales, 8 + g)))
    }
}

/// Scales and minima from ggml's order of bits to [`pack_six_bits`]'.
pub(crate) fn pack_scales(bytes: &mut [u8]) {
    if let Some(bytes) = bytes.first_chunk_mut::<12>() {
        let (scale, min) = scale_min(bytes);
        *bytes = pack_six_bits(std::array::from_fn(|i| if i < 8 { scale[i] } else { min[i - 8] }));
    }
}

/// Undoes [`pack_scales`].
pub(crate) fn unpack_scales(bytes: &mut [u8]) {
    if let Some(bytes) = bytes.first_chunk_mut::<12>() {
        let v = unpack_six_bits(*bytes);
        for j in 0..4 {
            bytes[j] = v[j] | v[j + 4] >> 4 << 6;
            bytes[j + 4] = v[j + 8] | v[j + 12] >> 4 << 6;
            bytes[j + 8] = v[j + 4] & 15 | v[j + 12] << 4;
        }
    }
}
