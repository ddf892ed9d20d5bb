//! Repacks rows of a file's blocks into the layout that the WebGPU kernels read: two planes, one of quants in 16-byte
//! words and one of scales in 4-byte words, with the rows of a tile interleaved word by word.
//!
//! `kernels::shader::UNPACKS` holds the sizes; the folder of a format holds `gpu.rs`, which fills the words of one unit
//! of a row, and `unpack.wgsl`, which reads them.

use super::{
    FORMATS, GgmlType, float, iq4_nl, iq4_xs, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0,
};
use crate::kernels::shader::{TILE_ROWS, UNPACKS, Unpack};

/// Fills the words of a unit from its bytes; the last unit of a row may be short.
type Pack = fn(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]);

/// In the order of [`GgmlType`].
const PACKS: [Pack; 15] = [
    float::gpu::pack,
    float::gpu::pack,
    float::gpu::pack,
    q4_0::gpu::pack,
    q4_1::gpu::pack,
    q5_0::gpu::pack,
    q5_1::gpu::pack,
    q8_0::gpu::pack,
    q2_k::gpu::pack,
    q3_k::gpu::pack,
    q4_k::gpu::pack,
    q5_k::gpu::pack,
    q6_k::gpu::pack,
    iq4_nl::gpu::pack,
    iq4_xs::gpu::pack,
];

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
        PACK_ROWS[self.ty as usize](bytes, row_bytes, quants, scales);
    }
}

/// Fills a tile from rows of so many bytes each.
type PackRows = fn(bytes: &[u8], row_bytes: usize, quants: &mut [u32], scales: &mut [u32]);

/// One function a format, so that the compiler knows its sizes.
const PACK_ROWS: [PackRows; 15] = [
    pack_rows::<0>,
    pack_rows::<1>,
    pack_rows::<2>,
    pack_rows::<3>,
    pack_rows::<4>,
    pack_rows::<5>,
    pack_rows::<6>,
    pack_rows::<7>,
    pack_rows::<8>,
    pack_rows::<9>,
    pack_rows::<10>,
    pack_rows::<11>,
    pack_rows::<12>,
    pack_rows::<13>,
    pack_rows::<14>,
];

/// Packs rows of the format at this place of [`PACKS`] into a tile that is zero.
fn pack_rows<const TY: usize>(bytes: &[u8], row_bytes: usize, quants: &mut [u32], scales: &mut [u32]) {
    let pack = const { PACKS[TY] };
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
    let fours: [u32; 8] = words(bytes, at, shift, 0x0101_0101);
    fours.iter().enumerate().fold(0, |all, (i, x)| all | ((x | x >> 7 | x >> 14 | x >> 21) & 15) << (4 * i))
}

/// 32 2-bit fields, one from each byte, into two words: bits `shift ..` of byte `i` become field `i`.
#[inline(always)]
pub(super) fn gather_pairs(bytes: &[u8], at: usize, shift: u32) -> [u32; 2] {
    let fours: [u32; 8] = words(bytes, at, shift, 0x0303_0303);
    let mut out = [0; 2];
    for (i, x) in fours.iter().enumerate() {
        out[i / 4] |= ((x | x >> 6 | x >> 12 | x >> 18) & 255) << (8 * (i % 4));
    }
    out
}

/// Scale and minimum (6 bits each) of sub-block `j` of Q4_K and Q5_K, from their 12 bytes.
fn scale_and_min(b: &[u8], j: usize) -> (u32, u32) {
    let (s, m) = if j < 4 {
        (b[j] & 63, b[j + 4] & 63)
    } else {
        ((b[j + 4] & 15) | (b[j - 4] >> 6) << 4, (b[j + 4] >> 4) | (b[j] >> 6) << 4)
    };
    (u32::from(s), u32::from(m))
}

/// Those of all eight sub-blocks into four words: a byte of scale and a byte of minimum each.
pub(super) fn put_scales_and_mins(bytes: &[u8], out: &mut [u32]) {
    for j in 0..8 {
        let (s, m) = scale_and_min(bytes, j);
        out[j / 2] |= (s | m << 8) << (16 * (j % 2));
    }
}
