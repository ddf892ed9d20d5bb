//! A unit is two blocks: two 16-byte words each, one word with both scales.

use crate::quant::gpu::{half_word, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (i, block) in bytes.chunks_exact(34).enumerate() {
        scales[0] |= half_word(block, 0) << (16 * i);
        quants[8 * i..8 * i + 8].copy_from_slice(&words::<8>(block, 2, 0, u32::MAX));
    }
}
