//! Q4_1: 32 elements in 20 bytes, 5 bits each.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..20 | `qs`: byte `j` holds element `j` in its low nibble and element `j + 16` in its high one |
//!
//! `w = d * q + m`, `q` in `0..16`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ4_1;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ4_1>(bytes, out);
}
