//! Reads memory as fast as one thread of WebAssembly can: the limit that decoding is held against.
//! `rustc -O --target wasm32-unknown-unknown -C target-feature=+simd128 --crate-type cdylib read.rs`

use std::arch::wasm32::{i32x4_add, i32x4_extract_lane, i32x4_splat, v128};

/// The sum of `len` bytes at `start`, a multiple of 256, as 32-bit words: what is read has to be used.
///
/// # Safety
/// `start..start + len` is memory that nothing writes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(start: *const [v128; 16], len: usize) -> i32 {
    let mut sums = [i32x4_splat(0); 16];
    for i in 0..len / 256 {
        // SAFETY: within `len`, as the caller promises.
        let line = unsafe { &*start.add(i) };
        for (sum, word) in sums.iter_mut().zip(line) {
            *sum = i32x4_add(*sum, *word);
        }
    }
    i32x4_extract_lane::<0>(sums.into_iter().fold(i32x4_splat(0), |a, b| i32x4_add(a, b)))
}
