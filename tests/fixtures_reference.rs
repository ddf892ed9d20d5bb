//! The golden data against the tests' own means: every model file parses, and the plain reference gives its logits.

mod support;

use qwenlet::gguf::{ModelFiles, Parsed, parse};
use serde_json::Value;
use support::reference::Reference;
use support::{fixtures, relative_l2};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[test]
fn every_model_parses_and_its_parts_fit() {
    let Some(dir) = fixtures() else { return };
    let logits: Value = serde_json::from_slice(&std::fs::read(dir.join("logits.json")).unwrap()).unwrap();
    let read = |name: &str| {
        let bytes = std::fs::read(dir.join("models").join(name)).unwrap();
        match parse(&bytes, Some(bytes.len() as u64)).unwrap() {
            Parsed::Header(h) => *h,
            Parsed::NeedMore(n) => panic!("{name}: {n} bytes wanted"),
        }
    };
    let mut parsed = 0;
    for model in logits["models"].as_array().unwrap() {
        let parts = names(&model["files"]);
        let mut files = ModelFiles::new(read(parts[0])).unwrap();
        assert_eq!(files.n_parts(), parts.len());
        for part in &parts[1..] {
            files.add(read(part)).unwrap();
        }
        assert!(files.is_complete());
        assert_eq!(
            files.metadata().require_str("general.architecture").unwrap(),
            model["arch"].as_str().unwrap()
        );
        // The recorded histogram of types, over all parts.
        for (ty, n) in model["tensor_types"].as_object().unwrap() {
            let found = files.tensors().filter(|t| t.info.ty.name() == ty).count();
            assert_eq!(found as u64, n.as_u64().unwrap(), "{}: {ty}", model["name"]);
        }
        parsed += 1;
    }
    for adapter in ["qwen2-u-lora.gguf", "qwen3-f-lora.gguf"] {
        assert_eq!(read(adapter).metadata.require_str("general.type").unwrap(), "adapter");
    }
    // 151,643 tokens and as many merges, found by asking for more until there is enough.
    let bytes = std::fs::read(dir.join("vocab-qwen2.gguf")).unwrap();
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
    assert!(parsed >= 40);
}

/// The golden logits are of an independent implementation (transformers in f64): the reference that the other tests
/// hold the engine against has to give the same.
#[test]
fn the_plain_reference_gives_the_golden_logits() {
    let Some(dir) = fixtures() else { return };
    let logits: Value = serde_json::from_slice(&std::fs::read(dir.join("logits.json")).unwrap()).unwrap();
    let golden = std::fs::read(dir.join("logits.bin")).unwrap();
    let golden: Vec<f32> = golden.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let mut compared = 0;
    for model in logits["models"].as_array().unwrap() {
        if !matches!(model["arch"].as_str().unwrap(), "qwen2" | "qwen3") || model.get("lora").is_some() {
            continue;
        }
        let parts: Vec<Vec<u8>> = names(&model["files"])
            .iter()
            .map(|f| std::fs::read(dir.join("models").join(f)).unwrap())
            .collect();
        let reference = Reference::new(&parts);
        let n_vocab = model["n_vocab"].as_u64().unwrap() as usize;
        for prompt in model["prompts"].as_array().unwrap() {
            let numbers = |key: &str| -> Vec<u32> {
                prompt[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
            };
            let got = reference.logits(&numbers("tokens"));
            let at = prompt["logits_offset"].as_u64().unwrap() as usize;
            for (i, &pos) in numbers("positions").iter().enumerate() {
                let wanted = &golden[at + i * n_vocab..][..n_vocab];
                let deviation =
                    relative_l2(got[pos as usize].iter().copied(), wanted.iter().map(|&v| v as f64));
                assert!(deviation < 1e-5, "{} at {pos}: {deviation:.1e}", model["name"]);
                compared += 1;
            }
        }
    }
    assert!(compared > 100);
}
