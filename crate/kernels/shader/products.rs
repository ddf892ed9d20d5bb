//! Kernels of matrix products.

use super::{Binding, Kernel, SCALAR, VEC4, params, read, write};

const MATVEC: Kernel = Kernel {
    name: "matvec",
    params: params::MatVec::WGSL,
    buffers: &[
        read("quants", "array<vec4<u32>>"),
        read("scales", "array<u32>"),
        read("x", VEC4),
        read("vectors", VEC4),
        write("out", SCALAR),
    ],
    reads_weights: true,
    reads_state: false,
    constants: &[],
    source: include_str!("../matmul/matvec.wgsl"),
};

/// A shape of the product with few lines, bound by the bytes of the weight: `lanes` weight rows beside each other, `tiles`
/// times in a workgroup, `splits` threads a row, each with `unroll` parts of it under way. It comes as it is, of a normed
/// line, and as a normed line's product with its gate; of activations as they are, and `rounded` to bytes.
#[derive(Debug)]
pub struct MatVec {
    pub exact: Forms,
    pub rounded: Forms,
}

#[derive(Debug)]
pub struct Forms {
    pub plain: Kernel,
    pub normed: Kernel,
    pub gated: Kernel,
}

macro_rules! kernel {
    ($name:expr, $tiles:literal, [$(($constant:literal, $value:literal)),*], $integer:literal, $norm:literal, $gated:literal) => {
        Kernel {
            name: $name,
            constants: &[
                $(($constant, $value),)*
                ("tiles", $tiles),
                ("integer", $integer),
                ("segments", 3),
                ("norm", $norm),
                ("gated", $gated),
            ],
            ..MATVEC
        }
    };
}

macro_rules! forms {
    ($shape:expr, $tiles:literal, $gated_tiles:literal, $sizes:tt, $integer:literal) => {
        Forms {
            plain: kernel!(concat!("matvec ", $shape), $tiles, $sizes, $integer, 0, 0),
            normed: kernel!(concat!("normed matvec ", $shape), $tiles, $sizes, $integer, 1, 0),
            gated: kernel!(concat!("gated matvec ", $shape), $gated_tiles, $sizes, $integer, 1, 1),
        }
    };
}

macro_rules! matvec {
    ($shape:literal, $tiles:literal, $gated_tiles:literal, $sizes:tt) => {
        MatVec {
            exact: forms!($shape, $tiles, $gated_tiles, $sizes, 0),
            rounded: forms!(concat!($shape, " rounded"), $tiles, $gated_tiles, $sizes, 1),
        }
    };
}

/// The fewest weight rows need the most threads each to fill a GPU.
pub static MATVEC_THIN: MatVec = matvec!("thin", 1, 1, [("lanes", 8), ("splits", 32), ("unroll", 1)]);
pub static MATVEC_NARROW: MatVec = matvec!("narrow", 1, 1, [("lanes", 16), ("splits", 16), ("unroll", 2)]);
/// Many rows fill a GPU by themselves, and a thread with several reads its activations once for all of them.
pub static MATVEC_WIDE: MatVec = matvec!("wide", 4, 2, [("lanes", 16), ("splits", 8), ("unroll", 1)]);
/// A software adapter has no need of many threads: one a row.
pub static MATVEC_SERIAL: MatVec = matvec!("serial", 4, 4, [("lanes", 16), ("splits", 1), ("unroll", 1)]);

const MATMUL_BUFFERS: &[Binding] = &[
    read("quants", "array<vec4<u32>>"),
    read("scales", "array<u32>"),
    read("x", VEC4),
    read("bias", SCALAR),
    write("out", SCALAR),
];

const fn matmul(
    name: &'static str,
    constants: &'static [(&'static str, usize)],
    source: &'static str,
) -> Kernel {
    Kernel {
        name,
        params: params::MatMul::WGSL,
        buffers: MATMUL_BUFFERS,
        reads_weights: true,
        reads_state: false,
        constants,
        source,
    }
}

const EXACT: &str = include_str!("../matmul/matmul.wgsl");
const ROUNDED: &str = include_str!("../matmul/matmul_rounded.wgsl");

/// The many-row shape of a matrix product, bound by arithmetic: 64 weight rows times `lines` a workgroup.
pub const MATMUL_32: Kernel = matmul("matmul 32", &[("lines", 32)], EXACT);
pub const MATMUL_64: Kernel = matmul("matmul 64", &[("lines", 64)], EXACT);
/// The same on activations rounded to bytes.
pub const MATMUL_32_ROUNDED: Kernel = matmul("matmul 32 rounded", &[("lines", 32), ("integer", 1)], ROUNDED);
pub const MATMUL_64_ROUNDED: Kernel = matmul("matmul 64 rounded", &[("lines", 64), ("integer", 1)], ROUNDED);
/// Weight rows that a workgroup of the many-row product covers.
pub const MATMUL_COLS: usize = 64;
