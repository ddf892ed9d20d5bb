//! What an operation is told once, when a plan is prepared: one struct for Rust and WGSL alike.

/// A 4-byte value of a uniform buffer.
pub trait Word {
    fn word(self) -> u32;
}

impl Word for u32 {
    fn word(self) -> u32 {
        self
    }
}

impl Word for f32 {
    fn word(self) -> u32 {
        self.to_bits()
    }
}

/// Declares a parameter struct with its WGSL text, so that the two cannot differ.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl $name {
            pub const WGSL: &'static str = concat!(
                "struct Params {\n",
                $("    ", stringify!($field), ": ", stringify!($ty), ",\n",)*
                "}\n@group(0) @binding(0) var<uniform> params: Params;\n"
            );

            pub const N_WORDS: usize = [$(stringify!($field)),*].len();

            /// The bytes that the shader reads.
            pub fn words(&self) -> Vec<u32> {
                vec![$(self.$field.word()),*]
            }
        }
    };
}

params! {
    /// Units: `_stride` and `out_offset` in `vec4<f32>`.
    Embed {
        out_offset: u32,
        out_stride: u32,
        /// Groups of 32 values in a row of the table.
        groups: u32,
        /// Packing units in a row of the table.
        units: u32,
        /// Table row that this part starts with, and how many rows it has.
        first_row: u32,
        n_rows: u32,
    }
}

params! {
    /// Units: x in `vec4<f32>`, out in f32.
    MatMul {
        x_offset: u32,
        x_stride: u32,
        out_offset: u32,
        out_stride: u32,
        groups: u32,
        units: u32,
        /// Weight row that this part starts with (index of the bias), and how many rows it has.
        first_row: u32,
        n_rows: u32,
        has_bias: u32,
        accumulate: u32,
        /// Word of the run that holds the number of lines: `N_ROWS` or `N_OUTPUTS`.
        count_at: u32,
    }
}

params! {
    /// Units: offsets and strides in `vec4<f32>`.
    RmsNorm {
        x_offset: u32,
        x_stride: u32,
        out_offset: u32,
        out_stride: u32,
        /// Values in a group.
        cols: u32,
        eps: f32,
    }
}

params! {
    /// Units: offsets and strides in f32.
    Rope {
        x_offset: u32,
        x_stride: u32,
        head_dim: u32,
        n_heads: u32,
        /// Rotated pairs a head.
        pairs: u32,
    }
}

params! {
    /// Units: offsets, strides and head_dim in `vec4<f32>`.
    StoreKv {
        k_offset: u32,
        k_stride: u32,
        v_offset: u32,
        v_stride: u32,
        n_kv_heads: u32,
        head_dim: u32,
    }
}

params! {
    /// Units: offsets, strides and head_dim in `vec4<f32>`.
    Attention {
        q_offset: u32,
        q_stride: u32,
        out_offset: u32,
        out_stride: u32,
        n_heads: u32,
        n_kv_heads: u32,
        head_dim: u32,
        scale: f32,
    }
}

params! {
    /// Units: `vec4<f32>`.
    SiluMul {
        gate_offset: u32,
        gate_stride: u32,
        up_offset: u32,
        up_stride: u32,
        out_offset: u32,
        out_stride: u32,
        width: u32,
    }
}

params! {
    /// Units: `vec4<f32>`.
    SelectRows {
        x_offset: u32,
        x_stride: u32,
        out_offset: u32,
        out_stride: u32,
        width: u32,
    }
}

params! {
    /// How to choose tokens: written anew for each answer, read by both kernels that do it.
    Sample {
        n_vocab: u32,
        /// Logits that a workgroup of the first kernel looks at, and how many such blocks there are.
        block: u32,
        n_blocks: u32,
        /// Always 0, which no compiler knows.
        zero: u32,
        /// Whether there are biases or penalties.
        marked: u32,
        repetition: f32,
        repetition_inverse: f32,
        frequency: f32,
        presence: f32,
        greedy: u32,
        top_k: u32,
        top_p: u32,
        min_p_distance: f32,
        factor: f32,
        /// As `factor`, but for the temperature.
        unit: f32,
        seed_low: u32,
        seed_high: u32,
    }
}
