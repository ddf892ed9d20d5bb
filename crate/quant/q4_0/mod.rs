//! Q4_0: 32 elements in 18 bytes, 4.5 bits each.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `qs`: byte `j` holds element `j` in its low nibble and element `j + 16` in its high one |
//!
//! `w = d * (q - 8)`, `q` in `0..16`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ4_0;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ4_0>(bytes, out);
}
