//! A unit is two blocks: a 16-byte word of nibbles each, one word with both scales.

use crate::quant::gpu::{half_word, put_block_nibbles};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (i, block) in bytes.chunks_exact(18).enumerate() {
        scales[0] |= half_word(block, 0) << (16 * i);
        put_block_nibbles(block, 2, &mut quants[4 * i..4 * i + 4]);
    }
}
