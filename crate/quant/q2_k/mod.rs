//! Q2_K: 256 elements in 84 bytes, 2.625 bits each; a scale and a minimum every 16 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..16 | `scales`: byte `i` holds the scale (low nibble) and minimum (high nibble) of elements `16 i ..` |
//! | 16..80 | `qs`: byte `32 h + l` holds elements `128 h + 32 c + l` in bits `2 c ..`, `c` in `0..4` |
//! | 80..82 | `d`, f16 |
//! | 82..84 | `dmin`, f16 |
//!
//! `w = d * scale * q - dmin * min`, `q` in `0..4`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ2K;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ2K>(bytes, out);
}
