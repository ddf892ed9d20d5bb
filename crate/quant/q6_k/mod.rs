//! Q6_K: 256 elements in 210 bytes, 6.5625 bits each; a scale every 16 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..128 | `ql`: low nibbles; byte `64 h + 32 a + l` holds elements `128 h + 32 a + l` and, in its high nibble, `128 h + 32 a + 64 + l` |
//! | 128..192 | `qh`: byte `32 h + l` holds the two high bits of elements `128 h + 32 c + l` in bits `2 c ..`, `c` in `0..4` |
//! | 192..208 | `scales`, i8: one for elements `16 i ..` |
//! | 208..210 | `d`, f16 |
//!
//! `w = d * scale * (q - 32)`, `q` in `0..64`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ6K;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ6K>(bytes, out);
}
