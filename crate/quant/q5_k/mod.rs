//! Q5_K: 256 elements in 176 bytes, 5.5 bits each; a scale and a minimum every 32 elements.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `dmin`, f16 |
//! | 4..16 | `scales`: as in [`q4_k`](super::q4_k) |
//! | 16..48 | `qh`: bit `s` of byte `l` is the fifth bit of element `32 s + l` |
//! | 48..176 | `qs`: byte `32 t + l` holds element `64 t + l` in its low nibble, `64 t + 32 + l` in its high one |
//!
//! `w = d * scale * q - dmin * min`, `q` in `0..32`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ5K;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ5K>(bytes, out);
}
