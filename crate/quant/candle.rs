//! Decoding through candle-core's block types, for the formats that it has.

use candle_core::quantized::GgmlType as CandleType;
use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K, BlockQ8_0,
};

// candle's blocks hold native-endian f16 fields; a GGUF file is little-endian.
const _: () = assert!(cfg!(target_endian = "little"));

/// A block type of candle-core that is the file's bytes as they stand.
///
/// # Safety
/// Implementors are `repr(C)` structs of integers and f16 without padding: any bytes are a valid value.
pub(super) unsafe trait Block: CandleType {}

macro_rules! blocks {
    ($($block:ty),*) => {
        $(
            // SAFETY: `repr(C)`, fields f16, u8 and i8 only, and candle-core asserts that its size is the sum of theirs.
            unsafe impl Block for $block {}
        )*
    };
}
blocks!(
    BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0, BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K
);

/// Decodes whole blocks; `out` holds `B::BLCK_SIZE` values for each of them.
pub(super) fn decode<B: Block>(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.chunks_exact(size_of::<B>()).zip(out.chunks_exact_mut(B::BLCK_SIZE)) {
        // SAFETY: the chunk has the size of a B, the read needs no alignment, and any bytes are a valid B.
        let block = unsafe { bytes.as_ptr().cast::<B>().read_unaligned() };
        B::to_float(&[block], out);
    }
}
