//! A unit is a block: a 16-byte word of nibbles, one word with scale and minimum.

use crate::quant::gpu::{put_block_nibbles, word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    scales[0] = word(bytes, 0);
    put_block_nibbles(bytes, 4, quants);
}
