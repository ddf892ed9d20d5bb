//! A unit is a block. Quants: the low nibbles, a 16-byte word a group. Scales: the two high bits of a group's weights
//! (2 words a group), the 16 bytes of scales, `d`.

use crate::quant::gpu::{gather_pairs, half_word, put_two_groups, words};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    for (half, q) in quants.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (low, high) = q.split_at_mut(8);
        put_two_groups(bytes, 64 * half, &mut low[..4], &mut high[..4]);
        put_two_groups(bytes, 64 * half + 32, &mut low[4..], &mut high[4..]);
        for i in 0..4 {
            let at = 8 * half + 2 * i;
            scales[at..at + 2].copy_from_slice(&gather_pairs(bytes, 128 + 32 * half, 2 * i as u32));
        }
    }
    scales[16..20].copy_from_slice(&words::<4>(bytes, 192, 0, u32::MAX));
    scales[20] = half_word(bytes, 208);
}
