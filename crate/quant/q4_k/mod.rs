//! Q4_K: 256 elements in 144 bytes, 4.5 bits each; a scale and a minimum every 32 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `dmin`, f16 |
//! | 4..16 | `scales`: eight scales and minima of six bits, see [`scale_min`] |
//! | 16..144 | `qs`: byte `32 t + l` holds element `64 t + l` in its low nibble, `64 t + 32 + l` in its high one |
//!
//! `w = d * scale * q - dmin * min`, `q` in `0..16`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ4K;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ4K>(bytes, out);
}

/// The eight scales and the eight minima of a block's `scales` field. The first four of each lie in the low six bits
/// of bytes 0..4 and 4..8; the others have their low four bits in bytes 8..12 and their high two above the first four.
pub fn scale_min(scales: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scale, mut min) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scale[j] = scales[j] & 63;
        min[j] = scales[j + 4] & 63;
        scale[j + 4] = (scales[j + 8] & 15) | (scales[j] >> 6) << 4;
        min[j + 4] = scales[j + 8] >> 4 | (scales[j + 4] >> 6) << 4;
    }
    (scale, min)
}
