//! IQ4_NL: 32 elements in 18 bytes, 4.5 bits each; the nibbles index a table of 16 unevenly spaced levels.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `qs`: byte `j` holds element `j` in its low nibble and element `j + 16` in its high one |
//!
//! `w = d * LEVELS[q]`. candle-core has no such block type; this decoder is our own.

pub(super) mod gpu;
pub(crate) mod tile;

use half::f16;

/// The sixteen levels of IQ4_NL and IQ4_XS, finer near zero.
pub const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<18>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        decode_nibbles(d, &block[2..], out);
    }
}

/// 32 elements of scale `d` from 16 bytes of nibbles.
pub(super) fn decode_nibbles(d: f32, qs: &[u8], out: &mut [f32]) {
    let (low, high) = out.split_at_mut(16);
    for ((q, low), high) in qs.iter().zip(low).zip(high) {
        *low = d * f32::from(LEVELS[usize::from(q & 15)]);
        *high = d * f32::from(LEVELS[usize::from(q >> 4)]);
    }
}
