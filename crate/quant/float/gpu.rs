//! Values as they are in the file.

#[inline(always)]
pub(in crate::quant) fn pack(bytes: &[u8], quants: &mut [u32], _scales: &mut [u32]) {
    for (q, b) in quants.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *q = u32::from_le_bytes(*b);
    }
}
