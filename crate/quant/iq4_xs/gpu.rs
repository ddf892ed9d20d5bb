//! A unit is a block. Quants: a 16-byte word a group. Scales: the block's first 8 bytes as they are: `d`, the high pairs
//! of eight scales, their low nibbles.

use crate::quant::gpu::{put_block_nibbles, word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    scales[0] = word(bytes, 0);
    scales[1] = word(bytes, 4);
    for (j, q) in quants.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        put_block_nibbles(bytes, 8 + 16 * j, q);
    }
}
