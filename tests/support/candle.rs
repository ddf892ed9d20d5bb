//! candle-transformers' quantized Qwen models on the CPU.

use std::io::Cursor;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{quantized_qwen2, quantized_qwen3};
use qwenlet::quant::GgmlType;

use super::model::{Arch, Mix, Spec};

/// Tokens `[1, n]` at a position, to logits of the last.
type Forward = Box<dyn FnMut(&Tensor, usize) -> Result<Tensor>>;

/// Logits after each token: the tokens are given one by one, each with the state of those before it.
pub fn logits(spec: &Spec, bytes: &[u8], tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
    let mut reader = Cursor::new(bytes);
    let content = Content::read(&mut reader)?;
    let device = Device::Cpu;
    let mut forward: Forward = match spec.arch {
        Arch::Qwen2 => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &device)?;
            Box::new(move |x, at| model.forward(x, at))
        }
        Arch::Qwen3 => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &device)?;
            Box::new(move |x, at| model.forward(x, at))
        }
    };
    let step = |(at, &token): (usize, &u32)| {
        forward(&Tensor::new(&[[token]], &device)?, at)?.flatten_all()?.to_vec1()
    };
    tokens.iter().enumerate().map(step).collect()
}

/// Candle has every format but IQ4, and no YaRN.
pub fn supports(spec: &Spec) -> bool {
    spec.yarn.is_none() && !matches!(spec.mix, Mix::All(GgmlType::Iq4Nl | GgmlType::Iq4Xs))
}
