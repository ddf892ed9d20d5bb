//! A unit is a block. Quants: a 16-byte word a group. Scales: `d` and `dmin`, then a byte of scale and a byte of minimum
//! a group, so that a kernel reads one word for them; 148 bytes for the file's 144.

use crate::quant::gpu::{put_scales_and_mins, put_two_groups, word};

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], scales: &mut [u32]) {
    scales[0] = word(bytes, 0);
    put_scales_and_mins(&bytes[4..16], &mut scales[1..]);
    for (i, q) in quants.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (low, high) = q.split_at_mut(4);
        put_two_groups(bytes, 16 + 32 * i, low, high);
    }
}
