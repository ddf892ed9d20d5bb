//! Q5_1: 32 elements in 24 bytes, 6 bits each.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..4 | `m`, f16 |
//! | 4..8 | `qh`, u32: bit `j` is the fifth bit of element `j` |
//! | 8..24 | `qs`: byte `j` holds the low four bits of elements `j` (low nibble) and `j + 16` (high nibble) |
//!
//! `w = d * q + m`, `q` in `0..32`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ5_1;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ5_1>(bytes, out);
}
