//! A unit is a block. Quants: two words a group, the low two bits of 16 weights each. Scales: the high bits of a group's
//! weights (8 words), `d`, the low nibbles of the 16 scales (2 words), their high pairs.

use crate::quant::gpu::{gather_bits, gather_pairs, half_word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (j, q) in quants.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *q = gather_pairs(bytes, 32 + 32 * (j / 4), 2 * (j as u32 % 4));
        scales[j] = gather_bits(bytes, 0, j as u32);
    }
    scales[8] = half_word(bytes, 108);
    let packed = &bytes[96..108];
    for i in 0..16 {
        let low = packed[i % 8] >> (4 * (i / 8)) & 15;
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        scales[9 + i / 8] |= u32::from(low) << (4 * (i % 8));
        scales[11] |= u32::from(high) << (2 * i);
    }
}
