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

/// A shape of the product with few lines, bound by the bytes of the weight: `tiles` of weight rows a workgroup,
/// `splits` threads a row. It comes as it is, of a normed line, and as a normed line's product with its gate; of
/// activations as they are, and `rounded` to bytes.
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

macro_rules! forms {
    ($shape:expr, $lanes:literal, $tiles:literal, $gated_tiles:literal, $splits:literal, $unroll:literal, $integer:literal) => {
        Forms {
            plain: forms!(concat!("matvec ", $shape), $lanes, $tiles, $splits, $unroll, $integer, 0, 0),
            normed: forms!(
                concat!("normed matvec ", $shape),
                $lanes,
                $tiles,
                $splits,
                $unroll,
                $integer,
                1,
                0
            ),
            gated: forms!(
                concat!("gated matvec ", $shape),
                $lanes,
                $gated_tiles,
                $splits,
                $unroll,
                $integer,
                1,
                1
            ),
        }
    };
    ($name:expr, $lanes:literal, $tiles:literal, $splits:literal, $unroll:literal, $integer:literal, $norm:literal, $gated:literal) => {
        Kernel {
            name: $name,
            constants: &[
                ("lanes", $lanes),
                ("tiles", $tiles),
                ("splits", $splits),
                ("unroll", $unroll),
                ("integer", $integer),
                ("segments", 3),
                ("norm", $norm),
                ("gated", $gated),
            ],
            ..MATVEC
        }
    };
}

macro_rules! matvec {
    ($shape:literal, $lanes:literal, $tiles:literal, $gated_tiles:literal, $splits:literal, $unroll:literal) => {
        MatVec {
            exact: forms!($shape, $lanes, $tiles, $gated_tiles, $splits, $unroll, 0),
            rounded: forms!(concat!($shape, " rounded"), $lanes, $tiles, $gated_tiles, $splits, $unroll, 1),
        }
    };
}

/// The fewest weight rows need the most threads each to fill a GPU.
pub static MATVEC_THIN: MatVec = matvec!("thin", 8, 1, 1, 32, 1);
pub static MATVEC_NARROW: MatVec = matvec!("narrow", 16, 1, 1, 16, 2);
/// Many rows fill a GPU by themselves, and a thread with several reads its activations once for all of them.
pub static MATVEC_WIDE: MatVec = matvec!("wide", 16, 4, 2, 8, 1);
/// A software adapter has no need of many threads: one a row.
pub static MATVEC_SERIAL: MatVec = matvec!("serial", 16, 4, 4, 1, 1);

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
