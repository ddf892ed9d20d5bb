//! Q5_0: 32 elements in 22 bytes, 5.5 bits each.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..6 | `qh`, u32: bit `j` is the fifth bit of element `j` |
//! | 6..22 | `qs`: byte `j` holds the low four bits of elements `j` (low nibble) and `j + 16` (high nibble) |
//!
//! `w = d * (q - 16)`, `q` in `0..32`.

pub(super) mod gpu;
pub(crate) mod tile;

use candle_core::quantized::k_quants::BlockQ5_0;

pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    super::candle::decode::<BlockQ5_0>(bytes, out);
}
