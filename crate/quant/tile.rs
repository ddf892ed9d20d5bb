//! How the CPU keeps a matrix: four rows interleaved, in as many bytes as the file has.
//!
//! A tile is one block of each of four rows, interleaved word by word: first the blocks' f16 fields, two bytes of each
//! row in turn, then everything else, four bytes of each row in turn. So sixteen bytes hold four columns of four rows
//! and the lanes of a product are rows. A format may rearrange a block before ([`Layout::pack`]) where that saves work
//! in the kernels.

use crate::kernels::simd::Simd;

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 4;

/// Bytes of the largest block.
const MAX_BLOCK: usize = 256;

/// What a block is to a tile.
pub(crate) trait Layout {
    /// Elements of a block.
    const ELEMS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Two-byte words at the start of a packed block; the rest are four-byte words.
    const HALVES: usize;

    /// Rearranges the `BYTES` of a block.
    fn pack(block: &[u8], packed: &mut [u8]) {
        packed.copy_from_slice(block);
    }

    /// Undoes [`Layout::pack`].
    fn unpack(packed: &[u8], block: &mut [u8]) {
        block.copy_from_slice(packed);
    }
}

/// Quantized weights as kernels see them: `weight = scale * (q - OFFSET) + shift`.
pub(crate) trait Tile: Layout {
    /// Whether `q` is any i8; else it is in `0..=127`.
    const SIGNED: bool;
    /// The largest magnitude of `q`.
    const MAX: i32;
    const OFFSET: i32;
    /// Whether columns `0..16` and `16..32` of a group have scales of their own.
    const HALF_GROUPS: bool;
    /// Whether `shift` may be other than zero.
    const SHIFTED: bool;

    /// Groups of 32 columns whose quants come from the same bytes by constant shifts. A tile is a number of turns, each
    /// with this many groups after each other.
    const PHASES: usize;

    /// What the groups of a tile share.
    type Head<S: Simd>: Copy;

    fn head<S: Simd>(s: S, tile: &[u8]) -> Self::Head<S>;

    /// `q` of columns `16 HALF + 4 i ..` of group `PHASES * turn + PHASE`, `i` in `0..4`.
    fn q<S: Simd, const PHASE: usize, const HALF: usize>(s: S, tile: &[u8], turn: usize, i: usize) -> S::B;

    /// Scale and shift of a half of a group, by row; both halves have the same without [`Tile::HALF_GROUPS`].
    fn scale_shift<S: Simd>(
        s: S,
        tile: &[u8],
        head: Self::Head<S>,
        group: usize,
        half: usize,
    ) -> (S::F, S::F);
}

/// Weights that are f32, f16 or bf16.
pub(crate) trait FloatTile: Layout {
    /// One column of four rows.
    fn column<S: Simd>(s: S, tile: &[u8]) -> S::F;
}

/// Four-byte word `i` of four rows.
#[inline(always)]
pub(crate) fn word<T: Layout>(tile: &[u8], i: usize) -> &[u8; 16] {
    let at = 8 * T::HALVES + 16 * i;
    as_array(&tile[at..at + 16])
}

/// Two-byte word `i` of four rows.
#[inline(always)]
pub(crate) fn half(tile: &[u8], i: usize) -> &[u8; 8] {
    as_array(&tile[8 * i..8 * i + 8])
}

#[inline(always)]
fn as_array<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.first_chunk().expect("sliced to this length")
}

/// The low nibbles (`HIGH` 0) or the high ones (1) of a word.
#[inline(always)]
pub(crate) fn nibble<S: Simd, T: Layout, const HIGH: usize>(s: S, tile: &[u8], i: usize) -> S::B {
    s.shr_b(s.load_b(word::<T>(tile, i)), 4 * HIGH as u32, 15)
}

/// Bit `from` of each byte moved to bit `to`, all others cleared.
#[inline(always)]
pub(crate) fn bit<S: Simd>(s: S, v: S::B, from: u32, to: u32) -> S::B {
    if from >= to { s.shr_b(v, from - to, 1 << to) } else { s.shl_b(v, to - from, 1 << to) }
}

/// Rearranges the 256 bits of a field that has bit `g` of byte `l` for element `32 g + l`, for formats of four phases:
/// word `4 turn + i` gets bit `phase + 4 half` of its four bytes for the columns `16 half + 4 i ..` of group
/// `4 turn + phase`. So the low nibbles of both halves come together, and the high ones; done twice, all is as before.
pub(crate) fn move_bits(from: &[u8], into: &mut [u8]) {
    let (a, b) = from.split_at(16);
    let (low, high) = into.split_at_mut(16);
    for (((a, b), low), high) in a.iter().zip(b).zip(low).zip(high) {
        *low = a & 15 | b << 4;
        *high = a >> 4 | b & 0xf0;
    }
}

/// Sixteen six-bit numbers in twelve bytes: the first twelve in the bytes' low bits, two bits of the others above.
pub(crate) fn pack_six_bits(values: [u8; 16]) -> [u8; 12] {
    std::array::from_fn(|i| values[i] | (values[12 + i % 4] >> (2 * (i / 4)) & 3) << 6)
}

pub(crate) fn unpack_six_bits(packed: [u8; 12]) -> [u8; 16] {
    std::array::from_fn(|i| match packed.get(i) {
        Some(byte) => byte & 63,
        None => (0..3).fold(0, |value, j| value | packed[4 * j + i - 12] >> 6 << (2 * j)),
    })
}

/// The numbers of [`pack_six_bits`], words `first ..`: number `i` of a row in byte `i % 4` of lane `row` of `[i / 4]`.
#[inline(always)]
pub(crate) fn six_bits<S: Simd, T: Layout>(s: S, tile: &[u8], first: usize) -> [S::I; 4] {
    let (a, b, c) = (
        s.load_b(word::<T>(tile, first)),
        s.load_b(word::<T>(tile, first + 1)),
        s.load_b(word::<T>(tile, first + 2)),
    );
    let low = |v| s.lanes(s.shr_b(v, 0, 63));
    let high = s.or_b(s.or_b(s.shr_b(a, 6, 0x03), s.shr_b(b, 4, 0x0c)), s.shr_b(c, 2, 0x30));
    [low(a), low(b), low(c), s.lanes(high)]
}

/// Byte `i` of sixteen bytes a row, as [`six_bits`] has them.
#[inline(always)]
pub(crate) fn byte<S: Simd>(s: S, words: &[S::I; 4], i: usize) -> S::F {
    s.field(words[i / 4], 8 * (i as u32 % 4), 255)
}

/// Puts a row's blocks in their places as row `row` of the tiles.
pub(crate) fn interleave<T: Layout>(row: usize, blocks: &[u8], tiles: &mut [u8]) {
    let mut packed = [0; MAX_BLOCK];
    let packed = &mut packed[..T::BYTES];
    for (block, tile) in blocks.chunks_exact(T::BYTES).zip(tiles.chunks_exact_mut(TILE_ROWS * T::BYTES)) {
        T::pack(block, packed);
        let (halves, words) = packed.split_at(2 * T::HALVES);
        let (tile_halves, tile_words) = tile.split_at_mut(8 * T::HALVES);
        for (half, to) in halves.as_chunks::<2>().0.iter().zip(tile_halves.as_chunks_mut::<8>().0) {
            to[2 * row..2 * row + 2].copy_from_slice(half);
        }
        for (word, to) in words.as_chunks::<4>().0.iter().zip(tile_words.as_chunks_mut::<16>().0) {
            to[4 * row..4 * row + 4].copy_from_slice(word);
        }
    }
}

/// Takes the block of row `row` out of a tile.
pub(crate) fn extract<T: Layout>(row: usize, tile: &[u8], block: &mut [u8]) {
    let mut packed = [0; MAX_BLOCK];
    let packed = &mut packed[..T::BYTES];
    let (halves, words) = packed.split_at_mut(2 * T::HALVES);
    let (tile_halves, tile_words) = tile.split_at(8 * T::HALVES);
    for (half, from) in halves.as_chunks_mut::<2>().0.iter_mut().zip(tile_halves.as_chunks::<8>().0) {
        half.copy_from_slice(&from[2 * row..2 * row + 2]);
    }
    for (word, from) in words.as_chunks_mut::<4>().0.iter_mut().zip(tile_words.as_chunks::<16>().0) {
        word.copy_from_slice(&from[4 * row..4 * row + 4]);
    }
    T::unpack(packed, block);
}
