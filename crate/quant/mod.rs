//! Tensor element types of GGUF files. One row a type in [`FORMATS`], one folder a type beside this file.
//!
//! Layouts follow ggml's block formats; each folder documents its own.

mod candle;
pub mod float;
pub mod gpu;
pub mod iq4_nl;
pub mod iq4_xs;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
pub(crate) mod tile;

use crate::error::{Code, Error, Result};
use crate::kernels::matmul::Cpu;

/// A ggml tensor type that this build can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GgmlType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

/// What is true of a type wherever it is used.
#[derive(Debug)]
pub struct Format {
    pub ty: GgmlType,
    /// The number that a GGUF tensor info holds.
    pub id: u32,
    pub name: &'static str,
    /// Elements in a block; a row's length is a multiple of it.
    pub block_elems: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Decodes whole blocks to f32; [`decode`] checks the lengths.
    decode: Decode,
    /// How the CPU backend keeps and multiplies it.
    pub(crate) cpu: Cpu,
}

type Decode = fn(&[u8], &mut [f32]);

const fn row(
    ty: GgmlType,
    id: u32,
    name: &'static str,
    block: (usize, usize),
    decode: Decode,
    cpu: Cpu,
) -> Format {
    Format { ty, id, name, block_elems: block.0, block_bytes: block.1, decode, cpu }
}

/// Every supported type, in the order of [`GgmlType`]. A static, so that the kernels it names are compiled once, here.
pub static FORMATS: [Format; 15] = [
    row(GgmlType::F32, 0, "F32", (1, 4), float::decode_f32, Cpu::float::<float::tile::F32>()),
    row(GgmlType::F16, 1, "F16", (1, 2), float::decode_f16, Cpu::float::<float::tile::F16>()),
    row(GgmlType::Bf16, 30, "BF16", (1, 2), float::decode_bf16, Cpu::float::<float::tile::Bf16>()),
    row(GgmlType::Q4_0, 2, "Q4_0", (32, 18), q4_0::decode, Cpu::quantized::<q4_0::tile::Q4_0>()),
    row(GgmlType::Q4_1, 3, "Q4_1", (32, 20), q4_1::decode, Cpu::quantized::<q4_1::tile::Q4_1>()),
    row(GgmlType::Q5_0, 6, "Q5_0", (32, 22), q5_0::decode, Cpu::quantized::<q5_0::tile::Q5_0>()),
    row(GgmlType::Q5_1, 7, "Q5_1", (32, 24), q5_1::decode, Cpu::quantized::<q5_1::tile::Q5_1>()),
    row(GgmlType::Q8_0, 8, "Q8_0", (32, 34), q8_0::decode, Cpu::quantized::<q8_0::tile::Q8_0>()),
    row(GgmlType::Q2K, 10, "Q2_K", (256, 84), q2_k::decode, Cpu::quantized::<q2_k::tile::Q2K>()),
    row(GgmlType::Q3K, 11, "Q3_K", (256, 110), q3_k::decode, Cpu::quantized::<q3_k::tile::Q3K>()),
    row(GgmlType::Q4K, 12, "Q4_K", (256, 144), q4_k::decode, Cpu::quantized::<q4_k::tile::Q4K>()),
    row(GgmlType::Q5K, 13, "Q5_K", (256, 176), q5_k::decode, Cpu::quantized::<q5_k::tile::Q5K>()),
    row(GgmlType::Q6K, 14, "Q6_K", (256, 210), q6_k::decode, Cpu::quantized::<q6_k::tile::Q6K>()),
    row(GgmlType::Iq4Nl, 20, "IQ4_NL", (32, 18), iq4_nl::decode, Cpu::quantized::<iq4_nl::tile::Iq4Nl>()),
    row(GgmlType::Iq4Xs, 23, "IQ4_XS", (256, 136), iq4_xs::decode, Cpu::quantized::<iq4_xs::tile::Iq4Xs>()),
];

impl GgmlType {
    pub fn format(self) -> &'static Format {
        &FORMATS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// The type of a GGUF type number.
    ///
    /// # Errors
    /// `unsupported-quantization` for a number that is not in [`FORMATS`].
    pub fn from_id(id: u32) -> Result<Self> {
        FORMATS.iter().find(|f| f.id == id).map(|f| f.ty).ok_or_else(|| {
            let known: Vec<_> = FORMATS.iter().map(|f| f.name).collect();
            Error::new(
                Code::UnsupportedQuantization,
                format!("tensor type {id} is not supported; choose a file with {}", known.join(", ")),
            )
        })
    }

    /// Bytes of a row of `n` elements, or `None` where `n` is not a whole number of blocks or the product overflows.
    pub fn row_bytes(self, n: u64) -> Option<u64> {
        let f = self.format();
        let elems = f.block_elems as u64;
        if !n.is_multiple_of(elems) {
            return None;
        }
        (n / elems).checked_mul(f.block_bytes as u64)
    }
}

/// Decodes whole blocks: the reference for every kernel that reads weights.
///
/// # Errors
/// `internal` where `bytes` is not exactly the blocks of `out.len()` elements.
pub fn decode(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    if ty.row_bytes(out.len() as u64) != Some(bytes.len() as u64) {
        return Err(Error::internal(format!(
            "{} bytes of {} do not hold {} elements",
            bytes.len(),
            ty.name(),
            out.len()
        )));
    }
    (ty.format().decode)(bytes, out);
    Ok(())
}

#[cfg(test)]
mod tests;
