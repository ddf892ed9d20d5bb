//! What an operation is told once, when a plan is prepared: one struct for Rust and WGSL alike.

/// A field of a uniform buffer: a 4-byte value, or a struct of them.
pub trait Field: Copy {
    fn push(self, words: &mut Vec<u32>);

    /// What the shader reads.
    fn words(self) -> Vec<u32> {
        let mut words = Vec::new();
        self.push(&mut words);
        words
    }
}

impl Field for u32 {
    fn push(self, words: &mut Vec<u32>) {
        words.push(self);
    }
}

impl Field for f32 {
    fn push(self, words: &mut Vec<u32>) {
        words.push(self.to_bits());
    }
}

/// Declares a struct with its WGSL text, so that the two cannot differ.
macro_rules! fields {
    ([$($after:literal)?] $(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name {
            $($(#[$doc])* pub $field: $ty,)*
        }

        impl $name {
            pub const WGSL: &'static str = concat!(
                "struct ", stringify!($name), " {\n",
                $("    ", stringify!($field), ": ", stringify!($ty), ",\n",)*
                "}\n", $($after, stringify!($name), ";\n")?
            );

            pub const N_WORDS: usize = size_of::<Self>() / 4;
        }

        impl Field for $name {
            fn push(self, words: &mut Vec<u32>) {
                $(self.$field.push(words);)*
            }
        }
    };
}

/// Declares what an operation is told, and binds it.
macro_rules! params {
    ($($declaration:tt)*) => {
        fields! { ["@group(0) @binding(0) var<uniform> params: "] $($declaration)* }
    };
}

params! {
    /// Units: `_stride` and `out_offset` in `vec4<f32>`.
    Embed {
        out_offset: u32,
        out_stride: u32,
        /// Groups of 32 values in a row of the table.
        groups: u32,
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
        /// Weight row that this part starts with (index of the bias), and how many rows it has.
        first_row: u32,
        n_rows: u32,
        has_bias: u32,
        accumulate: u32,
        /// Word of the run that holds the number of lines: `N_ROWS` or `N_OUTPUTS`.
        count_at: u32,
    }
}

fields! {
    []
    /// Rows of one weight, or of a part of it; the fields are a multiple of 16 bytes.
    Segment {
        /// The first workgroup that has its rows, and how many rows there are.
        first_group: u32,
        n_rows: u32,
        /// Which of the kernel's formats it has.
        format: u32,
        /// Where its planes start, in words of each.
        quants_at: u32,
        scales_at: u32,
        has_bias: u32,
        /// In f32.
        bias_at: u32,
        out_offset: u32,
    }
}

impl Segment {
    /// No workgroup has it.
    pub const NONE: Self = Self {
        first_group: u32::MAX,
        n_rows: 0,
        format: 0,
        quants_at: 0,
        scales_at: 0,
        has_bias: 0,
        bias_at: 0,
        out_offset: 0,
    };
}

params! {
    /// Units: x and the norm's weight in `vec4<f32>`, out in f32.
    MatVec {
        segment0: Segment,
        segment1: Segment,
        segment2: Segment,
        x_offset: u32,
        x_stride: u32,
        out_stride: u32,
        groups: u32,
        norm_at: u32,
        eps: f32,
        /// Whether the lines of x are those of all rows, while the output's are those of the rows with logits.
        select: u32,
        accumulate: u32,
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
        /// Rotated pairs a head of keys; 0 where they are rotated already.
        pairs: u32,
        /// Whether keys are to be normed, and with which weight.
        normed: u32,
        norm_at: u32,
        eps: f32,
    }
}

params! {
    /// Units: offsets, strides and head_dim in `vec4<f32>`.
    Attention {
        x_stride: u32,
        q_offset: u32,
        k_offset: u32,
        v_offset: u32,
        out_offset: u32,
        out_stride: u32,
        n_heads: u32,
        n_kv_heads: u32,
        head_dim: u32,
        scale: f32,
        /// Rotated pairs a head; 0 where queries are rotated already.
        pairs: u32,
        q_normed: u32,
        q_norm_at: u32,
        q_eps: f32,
        k_normed: u32,
        k_norm_at: u32,
        k_eps: f32,
        /// Whether a row's pages are shared by several workgroups, which leave what `Merge` takes.
        split: u32,
    }
}

params! {
    /// Units: offsets, strides and head_dim in `vec4<f32>`.
    Merge {
        n_heads: u32,
        head_dim: u32,
        out_offset: u32,
        out_stride: u32,
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
