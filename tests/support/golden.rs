//! The golden data: models, the logits that they give, activations on the way (`fixtures/README.md` says how made).

use std::path::Path;

use serde::Deserialize;

/// A model of `logits.json`.
#[derive(Debug, Deserialize)]
pub struct Golden {
    pub name: String,
    pub arch: String,
    pub quant: String,
    files: Vec<String>,
    n_vocab: usize,
    #[serde(default)]
    lora: Option<serde_json::Value>,
    pub prompts: Vec<Prompt>,
    pub deviation: Deviation,
    pub tensor_types: std::collections::BTreeMap<String, usize>,
}

#[derive(Debug, Deserialize)]
pub struct Prompt {
    pub tokens: Vec<u32>,
    pub positions: Vec<usize>,
    logits_offset: usize,
    /// What greedy decoding goes on with, and by how much the best token was ahead at each step.
    pub greedy: Vec<u32>,
    pub greedy_margin: Vec<f64>,
    /// `[positions][n_vocab]`.
    #[serde(skip)]
    pub logits: Vec<Vec<f32>>,
}

/// How far other engines are from the golden logits.
#[derive(Debug, Deserialize)]
pub struct Deviation {
    /// A CPU engine that rounds activations to 8 bits.
    pub llama_cpp: Errors,
}

#[derive(Debug, Deserialize)]
pub struct Errors {
    pub rel_l2: f64,
    pub max_abs: f64,
}

impl Golden {
    /// The files of the model, in order.
    pub fn parts(&self, dir: &Path) -> Vec<Vec<u8>> {
        self.files.iter().map(|f| read(&dir.join("models").join(f))).collect()
    }

    /// Weights are not quantized: a CPU engine rounds nothing but f32 either.
    pub fn is_full_precision(&self) -> bool {
        matches!(self.quant.as_str(), "F32" | "F16" | "BF16")
    }
}

/// Every model without an adapter.
pub fn models(dir: &Path) -> Vec<Golden> {
    #[derive(Deserialize)]
    struct Index {
        models: Vec<Golden>,
    }
    let index: Index = serde_json::from_slice(&read(&dir.join("logits.json"))).expect("logits.json");
    let values = floats(&dir.join("logits.bin"));
    let mut models = index.models;
    models.retain(|m| m.lora.is_none());
    for model in &mut models {
        for p in &mut model.prompts {
            let rows = values[p.logits_offset..].chunks_exact(model.n_vocab).take(p.positions.len());
            p.logits = rows.map(<[f32]>::to_vec).collect();
            assert_eq!(p.logits.len(), p.positions.len());
        }
    }
    models
}

/// Every dense Qwen2 and Qwen3 model.
pub fn dense_models(dir: &Path) -> Vec<Golden> {
    let mut models = models(dir);
    models.retain(|m| matches!(m.arch.as_str(), "qwen2" | "qwen3"));
    assert!(models.len() >= 25, "only {} models", models.len());
    models
}

/// Named activations of one model, `[tokens][width]` each.
#[derive(Debug)]
pub struct Activations {
    pub file: String,
    pub tokens: Vec<u32>,
    pub values: Vec<(String, Vec<f32>)>,
}

pub fn activations(dir: &Path) -> Vec<Activations> {
    #[derive(Deserialize)]
    struct Index {
        models: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        model: String,
        tokens: Vec<u32>,
        tensors: Vec<Tensor>,
    }
    #[derive(Deserialize)]
    struct Tensor {
        name: String,
        shape: Vec<usize>,
        offset: usize,
    }
    let index: Index =
        serde_json::from_slice(&read(&dir.join("activations.json"))).expect("activations.json");
    let all = floats(&dir.join("activations.bin"));
    let values = |t: Tensor| (t.name, all[t.offset..][..t.shape.iter().product()].to_vec());
    let models = index.models.into_iter();
    models
        .map(|m| Activations {
            file: m.model,
            tokens: m.tokens,
            values: m.tensors.into_iter().map(values).collect(),
        })
        .collect()
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn floats(path: &Path) -> Vec<f32> {
    read(path).as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}
