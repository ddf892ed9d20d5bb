//! The golden data against the tests' own means: every model file parses, and the plain reference gives its logits and
//! activations.

mod support;

use qwenlet::gguf::{Header, ModelFiles, Parsed, parse};
use support::reference::Reference;
use support::{fixtures, golden, relative_l2};

fn header(bytes: &[u8]) -> Header {
    match parse(bytes, Some(bytes.len() as u64)).unwrap() {
        Parsed::Header(h) => *h,
        Parsed::NeedMore(n) => panic!("{n} bytes wanted of {}", bytes.len()),
    }
}

#[test]
fn every_model_parses_and_its_parts_fit() {
    let Some(dir) = fixtures() else { return };
    let models = golden::models(&dir);
    for model in &models {
        let parts = model.parts(&dir);
        let mut files = ModelFiles::new(header(&parts[0])).unwrap();
        assert_eq!(files.n_parts(), parts.len());
        for part in &parts[1..] {
            files.add(header(part)).unwrap();
        }
        assert!(files.is_complete());
        assert_eq!(files.metadata().require_str("general.architecture").unwrap(), model.arch);
        // The recorded histogram of types, over all parts.
        for (ty, &n) in &model.tensor_types {
            let found = files.tensors().filter(|t| t.info.ty.name() == ty).count();
            assert_eq!(found, n, "{}: {ty}", model.name);
        }
    }
    assert!(models.len() >= 40);
    for adapter in ["qwen2-u-lora.gguf", "qwen3-f-lora.gguf"] {
        let header = header(&golden::read(&dir.join("models").join(adapter)));
        assert_eq!(header.metadata.require_str("general.type").unwrap(), "adapter");
    }
}

/// 151,643 tokens and as many merges, found by asking for more until there is enough.
#[test]
fn a_real_vocabulary_is_read_as_it_arrives() {
    let Some(dir) = fixtures() else { return };
    let bytes = golden::read(&dir.join("vocab-qwen2.gguf"));
    let (mut n, mut attempts) = (0, 0);
    let header = loop {
        match parse(&bytes[..n], None).unwrap() {
            Parsed::Header(h) => break h,
            Parsed::NeedMore(need) => n = bytes.len().min((need as usize).max(n + n / 2)),
        }
        attempts += 1;
        assert!(attempts < 60);
    };
    assert_eq!(header.metadata.require_strings("tokenizer.ggml.merges").unwrap().len(), 151_387);
}

/// The golden logits are of an independent implementation (transformers in f64): the reference that the other tests
/// hold the engine against has to give the same.
#[test]
fn the_plain_reference_gives_the_golden_logits() {
    let Some(dir) = fixtures() else { return };
    for model in golden::dense_models(&dir) {
        let reference = Reference::new(&model.parts(&dir));
        for prompt in &model.prompts {
            let got = reference.logits(&prompt.tokens);
            for (&pos, wanted) in prompt.positions.iter().zip(&prompt.logits) {
                let deviation = relative_l2(got[pos].iter().copied(), wanted.iter().map(|&v| v as f64));
                assert!(deviation < 1e-5, "{} at {pos}: {deviation:.1e}", model.name);
            }
        }
    }
}

#[test]
fn the_plain_reference_gives_the_golden_activations() {
    let Some(dir) = fixtures() else { return };
    for golden in golden::activations(&dir) {
        let reference = Reference::new(&[golden::read(&dir.join("models").join(&golden.file))]);
        let mut traced = std::collections::HashMap::new();
        reference.traced(&golden.tokens, &mut |name, rows| {
            traced.insert(name.to_string(), rows.concat());
        });
        assert_eq!(traced.len(), golden.values.len());
        for (name, wanted) in &golden.values {
            let got = traced.get(name).unwrap_or_else(|| panic!("{name} is not traced"));
            let deviation = relative_l2(got.iter().copied(), wanted.iter().map(|&v| v as f64));
            assert!(deviation < 1e-5, "{}: {name}: {deviation:.1e}", golden.file);
        }
    }
}
