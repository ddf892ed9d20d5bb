//! Q8_0: 32 elements in 34 bytes, 8.5 bits each.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..34 | `qs`, i8 each |
//!
//! `w = d * q`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ8_0;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ8_0>(bytes, out);
}
