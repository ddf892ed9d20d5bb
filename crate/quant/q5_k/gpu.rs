//! A unit is a block. Quants: a 16-byte word a group. Scales: the fifth bits of a group's weights (8 words), then as Q4_K.

use crate::quant::gpu::{NIBBLES, gather_bits, put_nibbles, put_scales_and_mins, word, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (j, q) in quants.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        put_nibbles(words(bytes, 48 + 32 * (j / 2), 4 * (j as u32 % 2), NIBBLES), q);
        scales[j] = gather_bits(bytes, 16, j as u32);
    }
    scales[8] = word(bytes, 0);
    put_scales_and_mins(&bytes[4..16], &mut scales[9..]);
}
