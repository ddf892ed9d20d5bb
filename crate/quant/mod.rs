//! Tensor element types of GGUF files. One row a type in [`FORMATS`], one folder a type beside this file.
//!
//! Layouts follow ggml's block formats; each folder documents its own.

use crate::error::{Code, Error, Result};

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
}

const fn row(ty: GgmlType, id: u32, name: &'static str, elems: usize, bytes: usize) -> Format {
    Format { ty, id, name, block_elems: elems, block_bytes: bytes }
}

/// Every supported type, in the order of [`GgmlType`].
pub const FORMATS: [Format; 15] = [
    row(GgmlType::F32, 0, "F32", 1, 4),
    row(GgmlType::F16, 1, "F16", 1, 2),
    row(GgmlType::Bf16, 30, "BF16", 1, 2),
    row(GgmlType::Q4_0, 2, "Q4_0", 32, 18),
    row(GgmlType::Q4_1, 3, "Q4_1", 32, 20),
    row(GgmlType::Q5_0, 6, "Q5_0", 32, 22),
    row(GgmlType::Q5_1, 7, "Q5_1", 32, 24),
    row(GgmlType::Q8_0, 8, "Q8_0", 32, 34),
    row(GgmlType::Q2K, 10, "Q2_K", 256, 84),
    row(GgmlType::Q3K, 11, "Q3_K", 256, 110),
    row(GgmlType::Q4K, 12, "Q4_K", 256, 144),
    row(GgmlType::Q5K, 13, "Q5_K", 256, 176),
    row(GgmlType::Q6K, 14, "Q6_K", 256, 210),
    row(GgmlType::Iq4Nl, 20, "IQ4_NL", 32, 18),
    row(GgmlType::Iq4Xs, 23, "IQ4_XS", 256, 136),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, f) in FORMATS.iter().enumerate() {
            assert_eq!(f.ty as usize, i, "{}", f.name);
            assert_eq!(GgmlType::from_id(f.id).unwrap(), f.ty);
        }
        assert_eq!(GgmlType::from_id(16).unwrap_err().code(), Code::UnsupportedQuantization);
    }
}
