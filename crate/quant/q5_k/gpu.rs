//! A unit is a block. Quants: a 16-byte word a group. Scales: the fifth bits of a group's weights (8 words), then as Q4_K.

use crate::quant::gpu::{gather_bits, put_scales_and_mins, put_two_groups, word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (i, q) in quants.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (low, high) = q.split_at_mut(4);
        put_two_groups(bytes, 48 + 32 * i, low, high);
    }
    for (j, fifth) in scales[..8].iter_mut().enumerate() {
        *fifth = gather_bits(bytes, 16, j as u32);
    }
    scales[8] = word(bytes, 0);
    put_scales_and_mins(&bytes[4..16], &mut scales[9..]);
}
