//! Tiny random models: every architecture, every format, written as real files are.

use qwenlet::gguf::split::{KEY_COUNT, KEY_NO, KEY_TENSORS};
use qwenlet::gguf::writer::Writer;
use qwenlet::quant::{FORMATS, GgmlType};

use super::quantize::quantize;
use super::rng::Rng;
use super::vocabulary::{self, N_VOCAB};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// Biases on q, k and v.
    Qwen2,
    /// A norm over each head of q and k.
    Qwen3,
}

impl Arch {
    pub fn name(self) -> &'static str {
        match self {
            Arch::Qwen2 => "qwen2",
            Arch::Qwen3 => "qwen3",
        }
    }
}

/// Which matrix has which type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    All(GgmlType),
    /// As files named Q4_K_M: Q6_K for the head and half of attn_v and ffn_down, Q4_K for the rest; where rows are not
    /// whole blocks of 256, Q8_0 for Q6_K and Q5_0 for Q4_K.
    Q4KM,
}

/// YaRN: the context is `factor` times the one that the model was trained for first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    pub factor: f32,
    pub original_context: u32,
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub arch: Arch,
    pub hidden: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub ffn: usize,
    /// No matrix of its own for the logits: the embedding serves.
    pub tied: bool,
    pub mix: Mix,
    pub yarn: Option<Yarn>,
    pub context: u32,
    pub seed: u64,
}

impl Spec {
    /// Rows of whole blocks in any format, grouped-query attention.
    pub fn qwen2(mix: Mix) -> Self {
        Self {
            arch: Arch::Qwen2,
            hidden: 256,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 64,
            ffn: 256,
            tied: true,
            mix,
            yarn: None,
            context: 512,
            seed: 2,
        }
    }

    /// As [`Spec::qwen2`], with heads wider than `hidden / n_heads`.
    pub fn qwen3(mix: Mix) -> Self {
        Self { arch: Arch::Qwen3, head_dim: 128, seed: 3, ..Self::qwen2(mix) }
    }

    /// With the head's own matrix.
    #[must_use]
    pub fn untied(self) -> Self {
        Self { tied: false, ..self }
    }

    /// `hidden` is no multiple of 256, as in Qwen2.5-0.5B: "Q4_K_M" falls back to other types.
    #[must_use]
    pub fn narrow(self) -> Self {
        Self { hidden: 192, n_heads: 3, n_kv_heads: 1, ..self }
    }

    #[must_use]
    pub fn yarn(self) -> Self {
        Self { yarn: Some(Yarn { factor: 4.0, original_context: self.context / 4 }), ..self }
    }

    /// As many layers as the small models of its family have: 24 as Qwen2.5-0.5B, 28 as Qwen3-0.6B.
    #[must_use]
    pub fn deep(self) -> Self {
        let n_layers = match self.arch {
            Arch::Qwen2 => 24,
            Arch::Qwen3 => 28,
        };
        Self { n_layers, ..self }
    }

    /// `qwen3-Q4_K_M`, `qwen2-untied-F32`.
    pub fn name(&self) -> String {
        let mut name = self.arch.name().to_string();
        for (part, there) in [
            ("-untied", !self.tied),
            ("-narrow", !self.hidden.is_multiple_of(256)),
            ("-yarn", self.yarn.is_some()),
            ("-deep", self.n_layers > 2),
        ] {
            if there {
                name += part;
            }
        }
        let mix = match self.mix {
            Mix::All(ty) => ty.name(),
            Mix::Q4KM => "Q4_K_M",
        };
        format!("{name}-{mix}")
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.parts(1).remove(0)
    }

    /// The files of a model split in `n` parts.
    pub fn parts(&self, n: usize) -> Vec<Vec<u8>> {
        let tensors = self.tensors();
        let per_part = tensors.len().div_ceil(n);
        let mut chunks: Vec<Vec<Tensor>> = Vec::new();
        for (i, tensor) in tensors.into_iter().enumerate() {
            if i % per_part == 0 {
                chunks.push(Vec::new());
            }
            chunks.last_mut().expect("just pushed").push(tensor);
        }
        assert_eq!(chunks.len(), n, "too few tensors for so many parts");
        let total: usize = chunks.iter().map(Vec::len).sum();
        chunks
            .into_iter()
            .enumerate()
            .map(|(no, tensors)| {
                let mut w = Writer::new();
                if no == 0 {
                    self.set_keys(&mut w);
                }
                if n > 1 {
                    w.set(KEY_NO, no as u16).set(KEY_COUNT, n as u16).set(KEY_TENSORS, total as i32);
                }
                for t in tensors {
                    w.tensor(t.name, &t.dims, t.ty, t.data).expect("bytes of this shape");
                }
                w.to_bytes()
            })
            .collect()
    }

    fn set_keys(&self, w: &mut Writer) {
        let arch = self.arch.name();
        let key = |name: &str| format!("{arch}.{name}");
        w.set("general.architecture", arch);
        w.set("general.name", format!("random {}", self.name()));
        // Candle computes its rotary angles in f16 unless a file says that it is of f32 (0).
        w.set("general.dtype", 0u32);
        w.set(key("block_count"), self.n_layers as u32);
        w.set(key("context_length"), self.context);
        w.set(key("embedding_length"), self.hidden as u32);
        w.set(key("feed_forward_length"), self.ffn as u32);
        w.set(key("attention.head_count"), self.n_heads as u32);
        w.set(key("attention.head_count_kv"), self.n_kv_heads as u32);
        w.set(key("attention.layer_norm_rms_epsilon"), 1e-6f32);
        w.set(key("rope.freq_base"), 1e6f32);
        if self.arch == Arch::Qwen3 {
            w.set(key("attention.key_length"), self.head_dim as u32);
            w.set(key("attention.value_length"), self.head_dim as u32);
        } else {
            assert_eq!(self.head_dim * self.n_heads, self.hidden, "qwen2 has no other head size");
        }
        if let Some(yarn) = self.yarn {
            w.set(key("rope.scaling.type"), "yarn");
            w.set(key("rope.scaling.factor"), yarn.factor);
            w.set(key("rope.scaling.original_context_length"), yarn.original_context);
        }
        vocabulary::set_keys(w);
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut rng = Rng::new(self.seed);
        let (q, kv) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let mut out = Vec::new();
        let vector = |rng: &mut Rng, out: &mut Vec<Tensor>, name: &str, n: usize, mean: f32| {
            let data = quantize(GgmlType::F32, &rng.normals(n, mean, 0.1), n);
            out.push(Tensor { name: name.into(), dims: vec![n as u64], ty: GgmlType::F32, data });
        };
        // Logits of a standard deviation of some 2; activations of order 1 inside.
        let embedding_std = 2.0 / (self.hidden as f32).sqrt();
        self.matrix(&mut rng, &mut out, "token_embd.weight", N_VOCAB, self.hidden, embedding_std, self.tied);
        for i in 0..self.n_layers {
            let name = |part: &str| format!("blk.{i}.{part}");
            let fine = i % 2 == 0;
            let matrix = |out: &mut Vec<Tensor>, rng: &mut Rng, part: &str, rows, cols: usize, fine| {
                self.matrix(rng, out, &name(part), rows, cols, 1.2 / (cols as f32).sqrt(), fine);
            };
            vector(&mut rng, &mut out, &name("attn_norm.weight"), self.hidden, 1.0);
            matrix(&mut out, &mut rng, "attn_q.weight", q, self.hidden, false);
            matrix(&mut out, &mut rng, "attn_k.weight", kv, self.hidden, false);
            matrix(&mut out, &mut rng, "attn_v.weight", kv, self.hidden, fine);
            match self.arch {
                Arch::Qwen2 => {
                    vector(&mut rng, &mut out, &name("attn_q.bias"), q, 0.0);
                    vector(&mut rng, &mut out, &name("attn_k.bias"), kv, 0.0);
                    vector(&mut rng, &mut out, &name("attn_v.bias"), kv, 0.0);
                }
                Arch::Qwen3 => {
                    vector(&mut rng, &mut out, &name("attn_q_norm.weight"), self.head_dim, 1.0);
                    vector(&mut rng, &mut out, &name("attn_k_norm.weight"), self.head_dim, 1.0);
                }
            }
            matrix(&mut out, &mut rng, "attn_output.weight", self.hidden, q, false);
            vector(&mut rng, &mut out, &name("ffn_norm.weight"), self.hidden, 1.0);
            matrix(&mut out, &mut rng, "ffn_gate.weight", self.ffn, self.hidden, false);
            matrix(&mut out, &mut rng, "ffn_up.weight", self.ffn, self.hidden, false);
            matrix(&mut out, &mut rng, "ffn_down.weight", self.hidden, self.ffn, fine);
        }
        vector(&mut rng, &mut out, "output_norm.weight", self.hidden, 1.0);
        if !self.tied {
            self.matrix(&mut rng, &mut out, "output.weight", N_VOCAB, self.hidden, embedding_std, true);
        }
        out
    }

    #[allow(clippy::too_many_arguments, reason = "a tensor has this many properties")]
    fn matrix(
        &self,
        rng: &mut Rng,
        out: &mut Vec<Tensor>,
        name: &str,
        rows: usize,
        cols: usize,
        std: f32,
        fine: bool,
    ) {
        let whole = cols.is_multiple_of(256);
        let ty = match self.mix {
            Mix::All(ty) => ty,
            Mix::Q4KM => match (fine, whole) {
                (true, true) => GgmlType::Q6K,
                (true, false) => GgmlType::Q8_0,
                (false, true) => GgmlType::Q4K,
                (false, false) => GgmlType::Q5_0,
            },
        };
        let data = quantize(ty, &rng.normals(rows * cols, 0.0, std), cols);
        out.push(Tensor { name: name.into(), dims: vec![cols as u64, rows as u64], ty, data });
    }
}

struct Tensor {
    name: String,
    dims: Vec<u64>,
    ty: GgmlType,
    data: Vec<u8>,
}

/// Both architectures in every format; then what formats do not show: the head's own matrix, fallback types, YaRN.
pub fn every_model() -> Vec<Spec> {
    let mut specs = Vec::new();
    for spec in [Spec::qwen2, Spec::qwen3] {
        specs.extend(FORMATS.iter().map(|f| spec(Mix::All(f.ty))));
        specs.push(spec(Mix::Q4KM));
        specs.push(spec(Mix::Q4KM).untied().narrow());
        specs.push(spec(Mix::All(GgmlType::F32)).untied());
        specs.push(spec(Mix::All(GgmlType::F32)).yarn());
        specs.push(spec(Mix::All(GgmlType::Q8_0)).narrow());
    }
    specs
}
