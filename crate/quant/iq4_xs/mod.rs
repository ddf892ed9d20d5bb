//! IQ4_XS: 256 elements in 136 bytes, 4.25 bits each; IQ4_NL's levels with a six-bit scale every 32 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `scales_h`, u16: the two high bits of scale `s` at bit `2 s` |
//! | 4..8 | `scales_l`: the four low bits of scale `s` in byte `s / 2`, nibble `s % 2` |
//! | 8..136 | `qs`: bytes `16 s ..` hold elements `32 s ..` as in IQ4_NL |
//!
//! `w = d * (scale - 32) * LEVELS[q]`. candle-core has no such block type; this decoder is our own.

pub(super) mod gpu;
pub(crate) mod tile;

use half::f16;

use super::iq4_nl::decode_nibbles;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.as_chunks::<136>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let high = u16::from_le_bytes([block[2], block[3]]);
        for (s, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = (block[4 + s / 2] >> (4 * (s % 2))) & 15;
            let scale = i32::from(low) + (i32::from(high >> (2 * s)) & 3) * 16 - 32;
            decode_nibbles(d * scale as f32, &block[8 + 16 * s..][..16], out);
        }
    }
}
