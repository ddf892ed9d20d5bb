//! A unit is a block. Quants: a 16-byte word a group. Scales: `d` and `dmin`, then a byte of scale and a byte of minimum
//! a group, so that a kernel reads one word for them; 148 bytes for the file's 144.

use crate::quant::gpu::{NIBBLES, put_nibbles, put_scales_and_mins, word, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    scales[0] = word(bytes, 0);
    put_scales_and_mins(&bytes[4..16], &mut scales[1..]);
    for (j, q) in quants.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        put_nibbles(words(bytes, 16 + 32 * (j / 2), 4 * (j as u32 % 2), NIBBLES), q);
    }
}
