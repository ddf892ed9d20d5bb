//! Repacks rows of a file's blocks into the layout that the WebGPU kernels read: two planes, one of quants in 16-byte
//! words and one of scales in 4-byte words, with the rows of a tile interleaved word by word.
//!
//! `kernels::shader::UNPACKS` holds the sizes; the folder of a format holds `gpu.rs`, which fills the words of one unit
//! of a row, and `unpack.wgsl`, which reads them.

use super::{
    FORMATS, GgmlType, float, iq4_nl, iq4_xs, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0,
};
use crate::kernels::shader::{TILE_ROWS, UNPACKS, Unpack};

/// Weights in a group: what a kernel unpacks at a time.
pub const GROUP: usize = 32;

/// The layout of a weight's rows in GPU memory.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    ty: GgmlType,
    /// Units in a row.
    pub units: usize,
    /// Groups in a row.
    pub groups: usize,
}

impl Packing {
    /// The layout for rows of `cols` values, which the caller has checked to be whole groups.
    pub fn new(ty: GgmlType, cols: usize) -> Self {
        let groups = cols / GROUP;
        Self { ty, units: groups.div_ceil(UNPACKS[ty as usize].groups), groups }
    }

    pub fn unpack(&self) -> &'static Unpack {
        &UNPACKS[self.ty as usize]
    }

    /// Words (u32) that a tile of rows takes in the plane of quants.
    pub fn tile_quants(&self) -> usize {
        self.units * self.unpack().quant_words * 4 * TILE_ROWS
    }

    /// Words (u32) that a tile of rows takes in the plane of scales.
    pub fn tile_scales(&self) -> usize {
        self.units * self.unpack().scale_words * TILE_ROWS
    }

    /// Packs up to [`TILE_ROWS`] rows, `bytes` long in all, into a tile's part of both planes; missing rows are zero.
    pub fn pack_tile(&self, bytes: &[u8], row_bytes: usize, quants: &mut [u32], scales: &mut [u32]) {
        quants.fill(0);
        scales.fill(0);
        PACK_ROWS[self.ty as usize](bytes, row_bytes, [quants, scales]);
    }
}

/// Fills a tile's quants and scales from rows of so many bytes each.
type PackRows = fn(bytes: &[u8], row_bytes: usize, to: [&mut [u32]; 2]);

/// In the order of [`GgmlType`]. One function a format, with its `pack` in it: the compiler then knows all sizes.
const PACK_ROWS: [PackRows; 15] = [
    |bytes, row_bytes, to| pack_rows::<0>(bytes, row_bytes, to, float::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<1>(bytes, row_bytes, to, float::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<2>(bytes, row_bytes, to, float::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<3>(bytes, row_bytes, to, q4_0::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<4>(bytes, row_bytes, to, q4_1::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<5>(bytes, row_bytes, to, q5_0::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<6>(bytes, row_bytes, to, q5_1::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<7>(bytes, row_bytes, to, q8_0::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<8>(bytes, row_bytes, to, q2_k::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<9>(bytes, row_bytes, to, q3_k::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<10>(bytes, row_bytes, to, q4_k::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<11>(bytes, row_bytes, to, q5_k::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<12>(bytes, row_bytes, to, q6_k::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<13>(bytes, row_bytes, to, iq4_nl::gpu::pack),
    |bytes, row_bytes, to| pack_rows::<14>(bytes, row_bytes, to, iq4_xs::gpu::pack),
];

/// Packs rows of the format at this place of [`UNPACKS`] into a tile that is zero. `pack` fills the words of a unit, which
/// are zero, from its bytes; the last unit of a row may be short.
#[inline(always)]
fn pack_rows<const TY: usize>(
    bytes: &[u8],
    row_bytes: usize,
    [quants, scales]: [&mut [u32]; 2],
    pack: impl Fn(&[u8], &mut [u32], &mut [u32]),
) {
    let Unpack { groups, quant_words, scale_words, .. } = const { &UNPACKS[TY] };
    let (n_quants, n_scales) = (quant_words * 4, *scale_words);
    let format = &FORMATS[TY];
    let unit_bytes = groups * GROUP / format.block_elems * format.block_bytes;
    let mut put = |row: usize, unit: usize, bytes: &[u8]| {
        let mut q = [0u32; 32];
        let mut s = [0u32; 32];
        pack(bytes, &mut q[..n_quants], &mut s[..n_scales]);
        for (i, word) in q[..n_quants].as_chunks::<4>().0.iter().enumerate() {
            let at = ((unit * quant_words + i) * TILE_ROWS + row) * 4;
            quants[at..at + 4].copy_from_slice(word);
        }
        for (i, word) in s[..n_scales].iter().enumerate() {
            scales[(unit * n_scales + i) * TILE_ROWS + row] = *word;
        }
    };
    for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
        // Apart: of a whole unit the compiler knows the length too.
        let units = bytes.chunks_exact(unit_bytes);
        let (n, rest) = (units.len(), units.remainder());
        for (unit, bytes) in units.enumerate() {
            put(row, unit, &bytes[..unit_bytes]);
        }
        if !rest.is_empty() {
            put(row, n, rest);
        }
    }
}

/// The little-endian word at a byte offset.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
pub(super) fn half_word(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// `N` words from a byte offset on, each shifted and masked.
#[inline(always)]
pub(super) fn words<const N: usize>(bytes: &[u8], at: usize, shift: u32, mask: u32) -> [u32; N] {
    // A loop: the closure of `from_fn` is called once a word.
    let mut out = [0; N];
    for (i, out) in out.iter_mut().enumerate() {
        *out = word(bytes, at + 4 * i) >> shift & mask;
    }
    out
}

pub(super) const NIBBLES: u32 = 0x0f0f_0f0f;

/// 32 values below 16, one a byte, into four words: byte `b` of word `c` has value `8c + b` low, `8c + 4 + b` high.
#[inline(always)]
pub(super) fn put_nibbles(values: [u32; 8], out: &mut [u32]) {
    for (o, pair) in out.iter_mut().zip(values.as_chunks::<2>().0) {
        *o = pair[0] | pair[1] << 4;
    }
}

/// The nibbles of 32 bytes: the low ones are a group's values, the high ones another's.
#[inline(always)]
pub(super) fn put_two_groups(bytes: &[u8], at: usize, low: &mut [u32], high: &mut [u32]) {
    let both: [u32; 8] = words(bytes, at, 0, u32::MAX);
    put_nibbles(both.map(|w| w & NIBBLES), low);
    put_nibbles(both.map(|w| w >> 4 & NIBBLES), high);
}

/// The nibbles of 16 bytes in ggml's order for 32-value blocks: low nibbles first, then high.
#[inline(always)]
pub(super) fn put_block_nibbles(bytes: &[u8], at: usize, out: &mut [u32]) {
    let low: [u32; 4] = words(bytes, at, 0, NIBBLES);
    let high: [u32; 4] = words(bytes, at, 4, NIBBLES);
    put_nibbles([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]], out);
}

/// 32 bits, one from each byte: bit `shift` of byte `i` becomes bit `i`.
#[inline(always)]
pub(super) fn gather_bits(bytes: &[u8], at: usize, shift: u32) -> u32 {
    let mut fours: [u32; 8] = words(bytes, at, shift, 0x0101_0101);
    // The four bits meet in the highest byte; below it no sum carries.
    fours.iter_mut().for_each(|x| *x = x.wrapping_mul(1 << 24 | 1 << 17 | 1 << 10 | 1 << 3) >> 24);
    fours.iter().enumerate().fold(0, |all, (i, x)| all | x << (4 * i))
}

/// 32 2-bit fields, one from each byte, into two words: bits `shift ..` of byte `i` become field `i`.
#[inline(always)]
pub(super) fn gather_pairs(bytes: &[u8], at: usize, shift: u32) -> [u32; 2] {
    let mut fours: [u32; 8] = words(bytes, at, shift, 0x0303_0303);
    fours.iter_mut().for_each(|x| *x = x.wrapping_mul(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6) >> 24);
    let four = |i: usize| fours[i] | fours[i + 1] << 8 | fours[i + 2] << 16 | fours[i + 3] << 24;
    [four(0), four(4)]
}

/// Scales and minima of the eight sub-blocks of Q4_K and Q5_K, 6 bits each in 12 bytes, into four words: a byte of scale
/// and a byte of minimum each.
pub(super) fn put_scales_and_mins(bytes: &[u8], out: &mut [u32]) {
    const SIX: u32 = 0x3f3f_3f3f;
    const TWO: u32 = 0x0303_0303;
    let [a, b, c]: [u32; 3] = words(bytes, 0, 0, u32::MAX);
    let low = [a & SIX, b & SIX];
    let high = [c & NIBBLES | (a >> 6 & TWO) << 4, c >> 4 & NIBBLES | (b >> 6 & TWO) << 4];
    for (out, both) in out.as_chunks_mut::<2>().0.iter_mut().zip([low, high]) {
        let [s, m] = both.map(u32::to_le_bytes);
        *out = [[s[0], m[0], s[1], m[1]], [s[2], m[2], s[3], m[3]]].map(u32::from_le_bytes);
    }
}
