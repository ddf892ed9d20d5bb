//! candle's quantized Qwen models behind a C interface, for a worker of the benchmark: whole files, greedy tokens.

use std::cell::RefCell;
use std::io::Cursor;

use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Result, Tensor};
use candle_transformers::models::{quantized_qwen2, quantized_qwen3};

enum Weights {
    Qwen2(quantized_qwen2::ModelWeights),
    Qwen3(quantized_qwen3::ModelWeights),
}

struct Model {
    weights: Weights,
    /// Tokens in the key/value cache.
    position: usize,
    next: u32,
}

thread_local! {
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

#[link(wasm_import_module = "bench")]
unsafe extern "C" {
    /// Throws the text as an error.
    fn fail(text: *const u8, len: usize);
}

fn check<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|e| {
        let text = e.to_string();
        // SAFETY: `text` outlives the call.
        unsafe { fail(text.as_ptr(), text.len()) };
        unreachable!("the import throws")
    })
}

impl Model {
    fn read(file: Vec<u8>) -> Result<Self> {
        let mut reader = Cursor::new(file);
        let content = Content::read(&mut reader)?;
        let qwen3 = match content.metadata.get("general.architecture") {
            Some(name) => name.to_string()? == "qwen3",
            None => candle_core::bail!("the file has no general.architecture"),
        };
        let cpu = &Device::Cpu;
        let weights = if qwen3 {
            Weights::Qwen3(quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, cpu)?)
        } else {
            Weights::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, cpu)?)
        };
        Ok(Self { weights, position: 0, next: 0 })
    }

    /// Appends `ids`; keeps the token that follows them.
    fn forward(&mut self, ids: &[u32]) -> Result<()> {
        let input = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match &mut self.weights {
            Weights::Qwen2(m) => m.forward(&input, self.position)?,
            Weights::Qwen3(m) => m.forward(&input, self.position)?,
        };
        self.position += ids.len();
        self.next = logits.flatten_all()?.argmax(D::Minus1)?.to_scalar()?;
        Ok(())
    }

    fn restart(&mut self) {
        self.position = 0; // Qwen2's cache restarts by itself at position 0
        if let Weights::Qwen3(m) = &mut self.weights {
            m.clear_kv_cache();
        }
    }
}

/// Room for `len` bytes, to be given back to [`load`] or [`prefill`].
#[unsafe(no_mangle)]
pub extern "C" fn room(len: usize) -> *mut u8 {
    Box::into_raw(vec![0u8; len].into_boxed_slice()).cast()
}

/// Takes the file of `len` bytes at `file`.
///
/// # Safety
/// `file` and `len` are those of a call of [`room`] and are not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(file: *mut u8, len: usize) {
    // SAFETY: as the caller promises.
    let file = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(file, len)) };
    let model = check(Model::read(file.into_vec()));
    MODEL.set(Some(model));
}

/// Starts anew with the `n` token ids at `ids`, little-endian u32.
///
/// # Safety
/// `ids` is the room of `4 * n` bytes, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prefill(ids: *mut u8, n: usize) {
    // SAFETY: as the caller promises.
    let bytes = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids, 4 * n)) };
    let ids: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
    with_model(|m| {
        m.restart();
        m.forward(&ids)
    });
}

/// Decodes `n` tokens greedily.
#[unsafe(no_mangle)]
pub extern "C" fn decode(n: usize) {
    with_model(|m| (0..n).try_for_each(|_| m.forward(&[m.next])));
}

fn with_model(run: impl FnOnce(&mut Model) -> Result<()>) {
    MODEL.with_borrow_mut(|model| match model {
        Some(model) => check(run(model)),
        None => check(Err(candle_core::Error::Msg("no model is loaded".into()))),
    });
}
