//! Kernels of attention and of its state.

use super::{Binding, Kernel, PAIRS, ROTATIONS, SCALAR, VEC4, params, read, write};

pub const STORE_KV: Kernel = Kernel {
    name: "store_kv",
    params: params::StoreKv::WGSL,
    buffers: &[
        read("x", VEC4),
        read("v", VEC4),
        read("vectors", VEC4),
        read("rotations", ROTATIONS),
        write("keys", PAIRS),
        write("values", PAIRS),
        write("scales", SCALAR),
    ],
    reads_weights: false,
    reads_state: true,
    constants: &[],
    source: include_str!("../store_kv/store_kv.wgsl"),
};

const fn attention(
    name: &'static str,
    buffers: &'static [Binding],
    constants: &'static [(&'static str, usize)],
) -> Kernel {
    Kernel {
        name,
        params: params::Attention::WGSL,
        buffers,
        reads_weights: false,
        reads_state: true,
        constants,
        source: include_str!("../attention/attention.wgsl"),
    }
}

const ATTENTION_BUFFERS: &[Binding] = &[
    read("x", VEC4),
    read("vectors", VEC4),
    read("rotations", ROTATIONS),
    read("keys", PAIRS),
    read("values", PAIRS),
    read("scales", SCALAR),
    write("out", VEC4),
];

const OWN_ATTENTION_BUFFERS: &[Binding] = &[
    read("x", VEC4),
    read("vectors", VEC4),
    read("rotations", ROTATIONS),
    write("keys", PAIRS),
    write("values", PAIRS),
    write("scales", SCALAR),
    write("out", VEC4),
];

/// `queries` heads of a group share a workgroup.
pub const ATTENTION_2: Kernel = attention(
    "attention 2",
    ATTENTION_BUFFERS,
    &[("queries", 2), ("threads", 256), ("ahead", 4), ("own", 0)],
);
pub const ATTENTION_4: Kernel = attention(
    "attention 4",
    ATTENTION_BUFFERS,
    &[("queries", 4), ("threads", 256), ("ahead", 4), ("own", 0)],
);
/// Where no other row of the run reads a row's key and value, which are stored on the way.
pub const OWN_ATTENTION_2: Kernel = attention(
    "own attention 2",
    OWN_ATTENTION_BUFFERS,
    &[("queries", 2), ("threads", 256), ("ahead", 4), ("own", 1)],
);
pub const OWN_ATTENTION_4: Kernel = attention(
    "own attention 4",
    OWN_ATTENTION_BUFFERS,
    &[("queries", 4), ("threads", 256), ("ahead", 4), ("own", 1)],
);

/// For runs of one sequence: a workgroup has `queries` heads of consecutive rows.
const fn tiled(name: &'static str, constants: &'static [(&'static str, usize)]) -> Kernel {
    Kernel {
        source: include_str!("../attention/tiled.wgsl"),
        ..attention(name, ATTENTION_BUFFERS, constants)
    }
}

/// By the largest head: threads for each quarter of it have `quads` times four queries, and queries and scores fit the
/// 16 KiB of workgroup memory that every device has.
pub const TILED_ATTENTION_64: Kernel =
    tiled("tiled attention 64", &[("queries", 16), ("quads", 1), ("max_dim", 64)]);
pub const TILED_ATTENTION_128: Kernel =
    tiled("tiled attention 128", &[("queries", 16), ("quads", 2), ("max_dim", 128)]);
pub const TILED_ATTENTION_256: Kernel =
    tiled("tiled attention 256", &[("queries", 8), ("quads", 2), ("max_dim", 256)]);

/// Shares of a row's pages, at most; see `attention::splits`.
pub const MAX_SPLITS: usize = 16;

pub const MERGE: Kernel = Kernel {
    name: "merge",
    params: params::Merge::WGSL,
    buffers: &[read("parts", VEC4), write("out", VEC4)],
    reads_weights: false,
    reads_state: false,
    constants: &[],
    source: include_str!("../attention/merge.wgsl"),
};

/// Integers of keys and values lie in `-LARGEST ..= LARGEST`.
pub const LARGEST: usize = 32767;
