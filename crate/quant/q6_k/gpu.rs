//! A unit is a block. Quants: the low nibbles, a 16-byte word a group. Scales: the two high bits of a group's weights
//! (2 words a group), the 16 bytes of scales, `d`.

use crate::quant::gpu::{NIBBLES, gather_pairs, half_word, put_nibbles, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (j, q) in quants.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let (half, i) = (j / 4, j % 4);
        put_nibbles(words(bytes, 64 * half + 32 * (i % 2), 4 * (i as u32 / 2), NIBBLES), q);
        scales[2 * j..2 * j + 2].copy_from_slice(&gather_pairs(bytes, 128 + 32 * half, 2 * i as u32));
    }
    scales[16..20].copy_from_slice(&words::<4>(bytes, 192, 0, u32::MAX));
    scales[20] = half_word(bytes, 208);
}
