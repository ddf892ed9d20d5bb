//! Q3_K: 256 elements in 110 bytes, 3.4375 bits each; a scale every 16 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..32 | `hmask`: bit `s` of byte `l` is the third bit of element `32 s + l` |
//! | 32..96 | `qs`: byte `32 h + l` holds the low bits of elements `128 h + 32 c + l` in bits `2 c ..` |
//! | 96..108 | `scales`, 16 of six bits: low four bits in bytes 0..8 (nibbles: scales `i` and `i + 8`), high two bits of scale `i` in byte `8 + i % 4` at bit `2 * (i / 4)` |
//! | 108..110 | `d`, f16 |
//!
//! `w = d * (scale - 32) * (q - 4)`, `q` in `0..8`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ3K;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ3K>(bytes, out);
}
