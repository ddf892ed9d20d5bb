//! GGUF v2 and v3: header, metadata, tensor index, split files. Parsing only; the bytes of tensors pass elsewhere.
//!
//! The format is ggml's (`docs/gguf.md` of ggml-org/ggml): little-endian, `GGUF`, a version, counts, key-value pairs,
//! tensor infos, padding, then the tensors' data. Nothing here trusts a file: every count, length and offset is checked
//! before it is used, and what is allocated grows with the bytes that are really there.

mod metadata;
mod parse;
mod reader;
pub mod split;
mod strings;
mod value;
pub mod writer;

pub use metadata::Metadata;
pub use parse::{Parsed, parse};
pub use split::{ModelFiles, PartName};
pub use strings::StringArray;
pub use value::{Array, Scalar, ScalarArray, ScalarType, Value};

use crate::quant::GgmlType;

/// What a file starts with.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Where tensor data is aligned to where `general.alignment` says nothing.
pub const DEFAULT_ALIGNMENT: u32 = 32;

/// Everything before a file's tensor data.
#[derive(Debug, Clone)]
pub struct Header {
    pub version: u32,
    pub metadata: Metadata,
    /// In the order of their data in the file; no two overlap.
    pub tensors: Vec<TensorInfo>,
    /// Where tensor data starts, from the start of the file.
    pub data_offset: u64,
}

impl Header {
    /// Where the last tensor ends, from the start of the file: at least as long is a whole file.
    pub fn data_end(&self) -> u64 {
        self.tensors.last().map_or(self.data_offset, |t| t.offset + t.bytes)
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Fastest dimension first: a `[out, in]` matrix is `[in, out]` here. One to four, none of them 0.
    pub dims: Vec<u64>,
    pub ty: GgmlType,
    /// From the start of the file.
    pub offset: u64,
    pub bytes: u64,
}

impl TensorInfo {
    /// Elements in all.
    pub fn n_elements(&self) -> u64 {
        // Checked when the header was parsed.
        self.dims.iter().product()
    }
}
