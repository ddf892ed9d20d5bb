//! A unit is two blocks: a 16-byte word of nibbles each; fifth bits of both, then one word with both scales.

use crate::quant::gpu::{half_word, put_block_nibbles, word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (i, block) in bytes.chunks_exact(22).enumerate() {
        scales[i] = word(block, 2);
        scales[2] |= half_word(block, 0) << (16 * i);
        put_block_nibbles(block, 6, &mut quants[4 * i..4 * i + 4]);
    }
}
