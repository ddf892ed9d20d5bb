//! A unit is a block. Quants: two words a group, 16 weights each. Scales: `d` and `dmin`, then the 16 bytes of scales.

use crate::quant::gpu::{gather_pairs, word, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (j, q) in quants.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *q = gather_pairs(bytes, 16 + 32 * (j / 4), 2 * (j as u32 % 4));
    }
    scales[0] = word(bytes, 80);
    scales[1..].copy_from_slice(&words::<4>(bytes, 0, 0, u32::MAX));
}
