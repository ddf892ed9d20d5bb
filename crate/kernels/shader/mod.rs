//! Assembles the text of every WebGPU shader from the `.wgsl` files beside the operations and the formats.
//!
//! A shader is: run data, parameters, (weights and their unpacking,) bindings as the kernel's table row says, kernel.
//! `build.rs` includes this module too: it validates every variant with naga, so that the text that the backend asks
//! for at run time is one that was checked. The `.wgsl` files are minijinja templates, for unrolled loops and sizes.

mod attention;
mod formats;
pub mod params;
mod products;

use std::collections::BTreeMap;

pub use attention::*;
pub use formats::{TILE_ROWS, UNPACKS, Unpack};
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
pub use products::*;

/// How a shader uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    ReadWrite,
}

/// A buffer of a kernel; its binding number is its place in [`Kernel::buffers`] plus [`FIRST_BUFFER`].
#[derive(Debug)]
pub struct Binding {
    pub name: &'static str,
    pub ty: &'static str,
    pub access: Access,
}

/// Binding 0 is the parameters, 1 the run data.
pub const FIRST_BUFFER: u32 = 2;

/// An operation's shader, or one of several variants of it.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    params: &'static str,
    pub buffers: &'static [Binding],
    /// Whether it is made once a weight format, or once a set of them where it takes several segments.
    pub reads_weights: bool,
    /// Whether it needs the layout of keys and values, and heads as they are used.
    reads_state: bool,
    /// What variants of the same source differ in, and other sizes that Rust needs too.
    constants: &'static [(&'static str, usize)],
    source: &'static str,
}

impl Kernel {
    /// A constant of the kernel's row; 0 where it has none of that name.
    pub fn constant(&self, name: &str) -> usize {
        self.constants.iter().find(|c| c.0 == name).map_or(0, |c| c.1)
    }
}

const fn read(name: &'static str, ty: &'static str) -> Binding {
    Binding { name, ty, access: Access::Read }
}

const fn write(name: &'static str, ty: &'static str) -> Binding {
    Binding { name, ty, access: Access::ReadWrite }
}

const VEC4: &str = "array<vec4<f32>>";
const SCALAR: &str = "array<f32>";
const PAIRS: &str = "array<vec2<u32>>";
const WORDS: &str = "array<u32>";
const ROTATIONS: &str = "array<vec2<f32>>";

pub const EMBED: Kernel = Kernel {
    name: "embed",
    params: params::Embed::WGSL,
    buffers: &[read("quants", "array<vec4<u32>>"), read("scales", "array<u32>"), write("out", VEC4)],
    reads_weights: true,
    reads_state: false,
    constants: &[],
    source: include_str!("../embed/embed.wgsl"),
};

pub const RMS_NORM: Kernel = Kernel {
    name: "rms_norm",
    params: params::RmsNorm::WGSL,
    buffers: &[read("x", VEC4), read("weight", VEC4), write("out", VEC4)],
    reads_weights: false,
    reads_state: false,
    constants: &[],
    source: include_str!("../rms_norm/rms_norm.wgsl"),
};

pub const ROPE: Kernel = Kernel {
    name: "rope",
    params: params::Rope::WGSL,
    buffers: &[read("rotations", ROTATIONS), write("x", SCALAR)],
    reads_weights: false,
    reads_state: false,
    constants: &[],
    source: include_str!("../rope/rope.wgsl"),
};

pub const SILU_MUL: Kernel = Kernel {
    name: "silu_mul",
    params: params::SiluMul::WGSL,
    buffers: &[read("gate", VEC4), read("up", VEC4), write("out", VEC4)],
    reads_weights: false,
    reads_state: false,
    constants: &[],
    source: include_str!("../silu_mul/silu_mul.wgsl"),
};

pub const SELECT_ROWS: Kernel = Kernel {
    name: "select_rows",
    params: params::SelectRows::WGSL,
    buffers: &[read("x", VEC4), write("out", VEC4)],
    reads_weights: false,
    reads_state: false,
    constants: &[],
    source: include_str!("../select_rows/select_rows.wgsl"),
};

/// Sizes of the sampler's tables and kernels; see `sampler::tables`.
pub mod draw {
    /// Fraction bits of noise and of distances.
    pub const ONE: usize = 20;
    /// The largest noise is less than this above the smallest: what lies further behind the best cannot win.
    pub const REACH: usize = 38 << ONE;
    /// Entries an octave of the noise; linear between them, which is at most 2e-5 off.
    pub const STEPS: usize = 128;
    /// Entries of each half of the noise: octaves 2⁻³³ to 2⁻¹, and the end.
    pub const HALF: usize = 32 * STEPS + 1;
    /// Where the powers of two begin, how many there are beside the end, and their fraction bits.
    pub const POWERS_AT: usize = 2 * HALF;
    pub const POWERS: usize = 256;
    pub const POWER_BITS: usize = 24;
    /// Fraction bits of a weight.
    pub const WEIGHT_BITS: usize = 30;
    /// Blocks of logits, and logits of a block are a multiple of this.
    pub const MAX_BLOCKS: usize = 1024;
    pub const BLOCK: usize = 256;
    /// The largest vocabulary: sums of weights have room for no more.
    pub const MAX_VOCAB: usize = 1 << 20;
}

const DRAW: &[(&str, usize)] = &[
    ("one", draw::ONE),
    ("reach", draw::REACH),
    ("steps", draw::STEPS),
    ("half", draw::HALF),
    ("powers_at", draw::POWERS_AT),
    ("powers", draw::POWERS),
    ("power_bits", draw::POWER_BITS),
    ("weight_bits", draw::WEIGHT_BITS),
    ("max_blocks", draw::MAX_BLOCKS),
    ("last_id", (1 << 24) - 1),
];

/// Logits with bias and penalties, and the best one a block.
pub const SCORE: Kernel = Kernel {
    name: "score",
    params: params::Sample::WGSL,
    buffers: &[read("logits", WORDS), read("marks", PAIRS), write("keys", WORDS), write("blocks", PAIRS)],
    reads_weights: false,
    reads_state: false,
    constants: DRAW,
    source: include_str!("../sample/score.wgsl"),
};

/// The token that is drawn.
pub const CHOOSE: Kernel = Kernel {
    name: "choose",
    params: params::Sample::WGSL,
    buffers: &[
        read("keys", WORDS),
        read("blocks", PAIRS),
        read("tables", "array<i32>"),
        write("marks", PAIRS),
        write("chosen", WORDS),
    ],
    reads_weights: false,
    reads_state: false,
    constants: DRAW,
    source: include_str!("../sample/choose.wgsl"),
};

pub static KERNELS: &[&Kernel] = &[
    &EMBED,
    &MATVEC_THIN.exact.plain,
    &MATVEC_THIN.exact.normed,
    &MATVEC_THIN.exact.gated,
    &MATVEC_THIN.rounded.plain,
    &MATVEC_THIN.rounded.normed,
    &MATVEC_THIN.rounded.gated,
    &MATVEC_NARROW.exact.plain,
    &MATVEC_NARROW.exact.normed,
    &MATVEC_NARROW.exact.gated,
    &MATVEC_NARROW.rounded.plain,
    &MATVEC_NARROW.rounded.normed,
    &MATVEC_NARROW.rounded.gated,
    &MATVEC_WIDE.exact.plain,
    &MATVEC_WIDE.exact.normed,
    &MATVEC_WIDE.exact.gated,
    &MATVEC_WIDE.rounded.plain,
    &MATVEC_WIDE.rounded.normed,
    &MATVEC_WIDE.rounded.gated,
    &MATVEC_SERIAL.exact.plain,
    &MATVEC_SERIAL.exact.normed,
    &MATVEC_SERIAL.exact.gated,
    &MATVEC_SERIAL.rounded.plain,
    &MATVEC_SERIAL.rounded.normed,
    &MATVEC_SERIAL.rounded.gated,
    &MATMUL_32,
    &MATMUL_64,
    &MATMUL_32_ROUNDED,
    &MATMUL_64_ROUNDED,
    &RMS_NORM,
    &ROPE,
    &STORE_KV,
    &ATTENTION_2,
    &ATTENTION_4,
    &OWN_ATTENTION_2,
    &OWN_ATTENTION_4,
    &TILED_ATTENTION_64,
    &TILED_ATTENTION_128,
    &TILED_ATTENTION_256,
    &MERGE,
    &SILU_MUL,
    &SELECT_ROWS,
    &SCORE,
    &CHOOSE,
];

const RUN: &str = include_str!("../shared/run.wgsl");
const WEIGHTS: &str = include_str!("../shared/weights.wgsl");
const FORMAT: &str = include_str!("../shared/format.wgsl");
const PACKED: &str = include_str!("../shared/packed.wgsl");
const PRODUCT: &str = include_str!("../shared/product.wgsl");
const HEADS: &str = include_str!("../shared/heads.wgsl");
const STATE: &str = include_str!("../shared/state.wgsl");

/// Words at the start of the run data.
pub mod run {
    /// The token that the GPU chose last, the one word that the CPU does not write.
    pub const CHOSEN: usize = 0;
    /// Rows of the run.
    pub const N_ROWS: usize = 1;
    /// Rows that ask for logits.
    pub const N_OUTPUTS: usize = 2;
    /// Where the list of the rows that ask for logits starts.
    pub const OUTPUTS_AT: usize = 3;
    /// How many tokens were drawn before.
    pub const DRAW: usize = 4;
    /// Workgroups that share a row's pages.
    pub const SPLITS: usize = 5;
    /// Rows start here, [`ROW_WORDS`] each: token, position, where the sequence's page table starts, 0.
    pub const ROWS_AT: usize = 6;
    pub const ROW_WORDS: usize = 4;
}

/// The WGSL of a kernel, for one or more formats where it reads weights.
///
/// # Errors
/// A template error, which `build.rs` would have met first.
pub fn assemble(
    kernel: &Kernel,
    unpacks: &[&Unpack],
    page_tokens: usize,
) -> Result<String, minijinja::Error> {
    let mut env = Environment::new();
    env.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);

    let mut text = String::new();
    text.push_str(RUN);
    if kernel.constant("segments") > 0 {
        text.push_str(params::Segment::WGSL);
    }
    text.push_str(kernel.params);
    for (i, b) in kernel.buffers.iter().enumerate() {
        let access = match b.access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        };
        let at = FIRST_BUFFER as usize + i;
        text.push_str(&format!("@group(0) @binding({at}) var<storage, {access}> {}: {};\n", b.name, b.ty));
    }
    if !unpacks.is_empty() {
        text.push_str(WEIGHTS);
    }
    let integer = kernel.constant("integer") == 1;
    if integer {
        text.push_str(PACKED);
    }
    for (nth, unpack) in unpacks.iter().enumerate() {
        let sizes = [
            ("nth", nth),
            ("unit_groups", unpack.groups),
            ("quant_words", unpack.quant_words),
            ("scale_words", unpack.scale_words),
            ("integer", usize::from(integer)),
            ("halves", usize::from(unpack.packed.as_ref().is_some_and(|p| p.halves))),
            ("offset", usize::from(unpack.packed.as_ref().is_some_and(|p| p.offset))),
        ];
        let sizes = BTreeMap::from(sizes);
        text.push_str(&env.render_str(FORMAT, &sizes)?);
        for source in [unpack.source, if integer { PRODUCT } else { "" }] {
            text.push_str(&env.render_str(source, &sizes)?);
        }
        text.push('\n');
    }
    if kernel.reads_state {
        text.push_str(STATE);
        text.push_str(HEADS);
    }
    text.push_str(kernel.source);

    let sizes = [
        ("chosen_at", run::CHOSEN),
        ("draw_at", run::DRAW),
        ("splits_at", run::SPLITS),
        ("largest", LARGEST),
        ("n_rows_at", run::N_ROWS),
        ("n_outputs_at", run::N_OUTPUTS),
        ("outputs_at", run::OUTPUTS_AT),
        ("rows_at", run::ROWS_AT),
        ("row_words", run::ROW_WORDS),
        ("page_tokens", page_tokens),
        ("tile_rows", TILE_ROWS),
        ("formats", unpacks.len()),
        ("integer", 0),
    ];
    let names = sizes.iter().chain(kernel.constants);
    env.render_str(&text, names.copied().collect::<BTreeMap<_, _>>())
}

/// Threads of a workgroup of the element-wise kernels.
pub const LANES: usize = 64;
