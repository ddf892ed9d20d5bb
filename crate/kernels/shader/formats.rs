//! How the formats lie in GPU memory.

/// Weight rows that are interleaved: neighbouring threads, one a row, read neighbouring words.
pub const TILE_ROWS: usize = 16;

/// How a format lies in GPU memory, and the WGSL that reads it.
///
/// A row is cut into units, the smallest piece with a whole number of words in both planes. In memory a tile of
/// [`TILE_ROWS`] rows holds, unit by unit and word by word, the same word of each of its rows.
#[derive(Debug)]
pub struct Unpack {
    pub name: &'static str,
    /// Groups of 32 weights in a unit.
    pub groups: usize,
    /// 16-byte words of a unit in the plane of quants.
    pub quant_words: usize,
    /// 4-byte words of a unit in the plane of scales; 0 where there is no such plane.
    pub scale_words: usize,
    pub(super) source: &'static str,
    /// How it is read as bytes; `None` where its weights are floats.
    pub packed: Option<Packed>,
}

/// Weights as bytes, for integer products.
#[derive(Debug)]
pub struct Packed {
    /// Whether the halves of a group have scales of their own.
    pub(super) halves: bool,
    /// Whether something is added to all weights of a group: a minimum, or what makes them signed.
    pub(super) offset: bool,
}

macro_rules! unpack {
    ($name:literal, $folder:literal, $groups:literal, $quants:literal, $scales:literal, $halves:literal, $offset:literal) => {
        Unpack {
            packed: Some(Packed { halves: $halves == 1, offset: $offset == 1 }),
            ..unpack!($name, concat!($folder, "/unpack.wgsl"), $groups, $quants, $scales)
        }
    };
    ($name:literal, $file:expr, $groups:literal, $quants:literal, $scales:literal) => {
        Unpack {
            name: $name,
            groups: $groups,
            quant_words: $quants,
            scale_words: $scales,
            source: include_str!(concat!("../../quant/", $file)),
            packed: None,
        }
    };
}

/// Every format, in the order of `quant::GgmlType`.
///
/// Name, file or folder, groups, words of quants and of scales; then whether halves differ and whether there is an offset.
pub const UNPACKS: [Unpack; 15] = [
    unpack!("F32", "float/f32.wgsl", 1, 8, 0),
    unpack!("F16", "float/f16.wgsl", 1, 4, 0),
    unpack!("BF16", "float/bf16.wgsl", 1, 4, 0),
    unpack!("Q4_0", "q4_0", 2, 2, 1, 0, 1),
    unpack!("Q4_1", "q4_1", 1, 1, 1, 0, 1),
    unpack!("Q5_0", "q5_0", 2, 2, 3, 0, 1),
    unpack!("Q5_1", "q5_1", 1, 1, 2, 0, 1),
    unpack!("Q8_0", "q8_0", 2, 4, 1, 0, 0),
    unpack!("Q2_K", "q2_k", 8, 4, 5, 1, 1),
    unpack!("Q3_K", "q3_k", 8, 4, 12, 1, 1),
    unpack!("Q4_K", "q4_k", 8, 8, 5, 0, 1),
    unpack!("Q5_K", "q5_k", 8, 8, 13, 0, 1),
    unpack!("Q6_K", "q6_k", 8, 8, 21, 1, 1),
    unpack!("IQ4_NL", "iq4_nl", 2, 2, 1, 0, 0),
    unpack!("IQ4_XS", "iq4_xs", 8, 8, 2, 0, 0),
];
