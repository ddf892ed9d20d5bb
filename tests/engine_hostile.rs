//! Files that are well-formed and still make no sense, and sources that say little: loading ends in an engine that
//! answers or in a typed error, never in a panic.

mod support;

use std::collections::HashSet;
use std::ops::ControlFlow;

use arbtest::arbitrary::{Result as Arbitrary, Unstructured};
use arbtest::arbtest;
use futures_util::future::{FutureExt, LocalBoxFuture};
use pollster::block_on;
use qwenlet::engine::{BackendChoice, Engine, LoadOptions};
use qwenlet::gguf::writer::Writer;
use qwenlet::gguf::{Header, Metadata, Parsed, StringArray, TensorInfo, Value, parse};
use qwenlet::quant::{FORMATS, GgmlType};
use qwenlet::source::{MemorySource, Source};
use qwenlet::{Code, Result};
use support::engine::{load, logits};
use support::model::{Mix, Spec};

/// As small as a model can be.
fn spec() -> Spec {
    let small = Spec { hidden: 32, n_layers: 1, n_heads: 2, n_kv_heads: 1, head_dim: 16, ffn: 32, ..qwen2() };
    assert!(small.to_bytes().len() < 64 << 10);
    small
}

fn qwen2() -> Spec {
    Spec::qwen2(Mix::All(GgmlType::Q4_0))
}

fn options() -> LoadOptions {
    LoadOptions { backend: BackendChoice::Cpu, ..LoadOptions::default() }
}

/// What a file that makes no sense may end in.
const CODES: [Code; 8] = [
    Code::InvalidGguf,
    Code::TruncatedFile,
    Code::UnsupportedArchitecture,
    Code::UnsupportedQuantization,
    Code::InvalidModel,
    Code::Tokenizer,
    Code::Template,
    Code::OutOfMemory,
];

/// Loads, and where that works computes something.
fn try_out(bytes: Vec<u8>) -> Option<Code> {
    match load(&[bytes], options()) {
        Ok(mut engine) => {
            let token = engine.info().n_vocab - 1;
            assert_eq!(logits(&mut engine, &[0, token], &[1])[0].len(), engine.info().n_vocab as usize);
            // Whatever comes out, it comes out as an answer or as an error.
            let _ = engine.tokenize("a b", true);
            None
        }
        Err(e) => {
            assert!(CODES.contains(&e.code()), "{e:?}");
            Some(e.code())
        }
    }
}

struct File {
    metadata: Metadata,
    tensors: Vec<(TensorInfo, Vec<u8>)>,
}

impl File {
    fn new(bytes: &[u8]) -> Self {
        let Ok(Parsed::Header(header)) = parse(bytes, Some(bytes.len() as u64)) else {
            panic!("not a whole file")
        };
        let Header { metadata, tensors, .. } = *header;
        let data = |t: &TensorInfo| bytes[t.offset as usize..][..t.bytes as usize].to_vec();
        Self { metadata, tensors: tensors.into_iter().map(|t| (t.clone(), data(&t))).collect() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new();
        for (key, value) in self.metadata.iter() {
            w.set(key, value.clone());
        }
        for (t, data) in &self.tensors {
            w.tensor(&t.name, &t.dims, t.ty, data.clone()).expect("bytes of this shape");
        }
        w.to_bytes()
    }

    /// Gives a tensor another shape or type, with as many bytes as that needs.
    fn reshape(&mut self, i: usize, dims: Vec<u64>, ty: GgmlType) {
        let rows: u64 = dims[1..].iter().product();
        if let Some(bytes) = ty.row_bytes(dims[0]) {
            let (info, data) = &mut self.tensors[i];
            data.resize((bytes * rows) as usize, 0x11);
            (info.dims, info.ty) = (dims, ty);
        }
    }
}

fn any_value(u: &mut Unstructured<'_>) -> Arbitrary<Value> {
    Ok(match u.int_in_range(0..=8)? {
        0 => u.choose(&[0u32, 1, 2, 3, 7, 16, 33, 4096, 1 << 20, 1 << 31, u32::MAX]).copied()?.into(),
        1 => u.choose(&[0u64, 5, 1 << 32, 1 << 60, u64::MAX]).copied()?.into(),
        2 => u.choose(&[-1i32, 0, i32::MIN]).copied()?.into(),
        3 => u.choose(&[0f32, -1.0, 1e-30, 1e30, f32::NAN, f32::INFINITY]).copied()?.into(),
        4 => u.arbitrary::<bool>()?.into(),
        5 => {
            (*u.choose(&["", "qwen2", "qwen3", "yarn", "linear", "gpt2", "{% if %}", "{{ 1 }}", "é"])?).into()
        }
        6 => ["", "a", "a b", "a b c", "<|im_end|>"][..u.int_in_range(0..=5)?]
            .iter()
            .collect::<StringArray>()
            .into(),
        7 => [-1i32, 0, 3, 99][..u.int_in_range(0..=4)?].into(),
        _ => [true, false][..].into(),
    })
}

fn mutate(u: &mut Unstructured<'_>, file: &mut File) -> Arbitrary<()> {
    for _ in 0..u.int_in_range(1..=2)? {
        let keys: Vec<String> = file.metadata.iter().map(|(key, _)| key.to_string()).collect();
        let key = u.choose(&keys)?;
        let i = u.choose_index(file.tensors.len())?;
        match u.int_in_range(0..=7)? {
            0 => drop(file.metadata.remove(key)),
            1..=3 => drop(file.metadata.insert(key.clone(), any_value(u)?)),
            4 => {
                let key = u.choose(&["rope.scaling.type", "rope.scaling.factor", "attention.key_length"])?;
                file.metadata.insert(format!("qwen2.{key}"), any_value(u)?);
            }
            5 if file.tensors.len() > 1 => drop(file.tensors.remove(i)),
            6 => {
                let ty = u.choose(&FORMATS)?.ty;
                let dims = file.tensors[i].0.dims.clone();
                file.reshape(i, dims, ty);
            }
            _ => {
                let n = u.int_in_range(1..=4)?;
                let dims = (0..n).map(|_| u.choose(&[1u64, 16, 32, 64, 256, 511]).copied());
                let dims = dims.collect::<Arbitrary<Vec<u64>>>()?;
                if dims.iter().product::<u64>() < 1 << 20 {
                    let ty = file.tensors[i].0.ty;
                    file.reshape(i, dims, ty);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_model_that_makes_no_sense_is_refused() {
    let bytes = spec().to_bytes();
    assert_eq!(try_out(File::new(&bytes).to_bytes()), None, "unchanged, it works");
    let (mut answered, mut refused) = (0, HashSet::new());
    let mut property = |u: &mut Unstructured<'_>| {
        let mut file = File::new(&bytes);
        mutate(u, &mut file)?;
        match try_out(file.to_bytes()) {
            None => answered += 1,
            Some(code) => drop(refused.insert(code)),
        }
        Ok(())
    };
    arbtest(&mut property).size_min(256).budget_ms(8_000);
    println!("{answered} answered, others refused as {refused:?}");
    assert!(answered > 0 && refused.contains(&Code::InvalidModel) && refused.len() > 2);
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let bytes = spec().to_bytes();
    let names: Vec<String> = File::new(&bytes).tensors.iter().map(|(t, _)| t.name.clone()).collect();
    for (i, name) in names.iter().enumerate() {
        let mut missing = File::new(&bytes);
        missing.tensors.remove(i);
        let mut misshapen = File::new(&bytes);
        let ty = misshapen.tensors[i].0.ty;
        misshapen.reshape(i, vec![32, 3], ty);
        for (what, file) in [("missing", missing), ("misshapen", misshapen)] {
            // The biases of q, k and v are optional.
            if what == "missing" && name.ends_with(".bias") {
                assert_eq!(try_out(file.to_bytes()), None, "{name}");
                continue;
            }
            // Any number of rows is a vocabulary.
            if what == "misshapen" && name == "token_embd.weight" {
                continue;
            }
            let error = load(&[file.to_bytes()], options()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidModel, "{what}: {error}");
            assert!(error.message().contains(name), "{what}: {error}");
        }
    }
}

/// A source that does not know its length, as a server that sends no `Content-Length`.
struct OfUnknownLength(MemorySource);

impl Source for OfUnknownLength {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> Option<u64> {
        None
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        self.0.next()
    }
}

fn load_of_unknown_length(bytes: &[u8], chunk: usize) -> Result<Engine> {
    let mut open = |_| {
        let source = MemorySource::new("stream", bytes.to_vec()).with_chunk(chunk);
        async move { Ok(Box::new(OfUnknownLength(source)) as Box<dyn Source>) }.boxed_local()
    };
    block_on(Engine::load(&mut open, options(), &mut |_| ControlFlow::Continue(())))
}

/// The header is most of this file, so the end may come while more of it is waited for.
#[test]
fn a_length_is_not_needed() {
    let bytes = spec().to_bytes();
    for chunk in [1000, 4096, bytes.len() / 3, bytes.len() / 2, bytes.len() * 2 / 3, bytes.len()] {
        let engine =
            load_of_unknown_length(&bytes, chunk).unwrap_or_else(|e| panic!("chunks of {chunk}: {e}"));
        assert_eq!(engine.info().architecture, "qwen2");
    }
    for len in [0, 10, bytes.len() / 4, bytes.len() - 40] {
        let error = load_of_unknown_length(&bytes[..len], 4096).unwrap_err();
        assert_eq!(error.code(), Code::TruncatedFile, "{len}: {error}");
    }
}
