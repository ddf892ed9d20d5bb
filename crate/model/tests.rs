//! Configurations and plans from metadata and tensor lists alone.

use std::collections::HashSet;

use super::*;
use crate::gguf::{Header, Metadata, ModelFiles, TensorInfo, Value};
use crate::plan::fuse::{fuse, single};
use crate::plan::merge::merge;
use crate::plan::{Layout, Op};
use crate::quant::GgmlType;

const HIDDEN: u64 = 64;
const VOCAB: u64 = 100;

fn metadata(architecture: &str, extra: &[(&str, Value)]) -> Metadata {
    let mut m = Metadata::new();
    m.insert("general.architecture", architecture);
    let mut set = |key: &str, value: Value| m.insert(format!("{architecture}.{key}"), value);
    for (key, n) in [
        ("block_count", 2u64),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 32),
        ("context_length", 512),
    ] {
        set(key, Value::from(n));
    }
    set("rope.freq_base", Value::from(1e6f32));
    for (key, value) in extra {
        set(key, value.clone());
    }
    m
}

/// Tensors of a two-layer `qwen3` with heads of 32.
fn tensors() -> Vec<TensorInfo> {
    let t = |name: String, dims: &[u64]| TensorInfo {
        name,
        dims: dims.to_vec(),
        ty: GgmlType::F32,
        offset: 0,
        bytes: 4 * dims.iter().product::<u64>(),
    };
    let mut all =
        vec![t("token_embd.weight".into(), &[HIDDEN, VOCAB]), t("output_norm.weight".into(), &[HIDDEN])];
    for blk in ["blk.0", "blk.1"] {
        for (name, dims) in [
            ("attn_norm", &[HIDDEN][..]),
            ("attn_q", &[HIDDEN, 128]),
            ("attn_k", &[HIDDEN, 64]),
            ("attn_v", &[HIDDEN, 64]),
            ("attn_q_norm", &[32]),
            ("attn_k_norm", &[32]),
            ("attn_output", &[128, HIDDEN]),
            ("ffn_norm", &[HIDDEN]),
            ("ffn_gate", &[HIDDEN, 96]),
            ("ffn_up", &[HIDDEN, 96]),
            ("ffn_down", &[96, HIDDEN]),
        ] {
            all.push(t(format!("{blk}.{name}.weight"), dims));
        }
    }
    all
}

fn model(metadata: &Metadata, tensors: Vec<TensorInfo>) -> Result<Model> {
    let header = Header { version: 3, metadata: metadata.clone(), tensors, data_offset: 0 };
    Model::new(&ModelFiles::new(header)?)
}

fn error(metadata: &Metadata, tensors: Vec<TensorInfo>) -> (Code, String) {
    let e = model(metadata, tensors).unwrap_err();
    (e.code(), e.message())
}

#[test]
fn a_plan_reads_every_tensor_and_ties_the_head() {
    let model = model(&metadata("qwen3", &[]), tensors()).unwrap();
    assert_eq!(model.plan.weights.len(), tensors().len());
    assert_eq!(model.plan.n_vocab, VOCAB as u32);
    let Some(Op::MatMul { weight, .. }) = model.plan.ops.last() else { panic!("the head comes last") };
    assert_eq!(model.plan.weight(*weight).name, "token_embd.weight");
}

#[test]
fn an_untied_head_is_used_where_the_file_has_one() {
    let mut list = tensors();
    list.push(TensorInfo { name: "output.weight".into(), ..list[0].clone() });
    let model = model(&metadata("qwen3", &[]), list).unwrap();
    let Some(Op::MatMul { weight, .. }) = model.plan.ops.last() else { panic!("the head comes last") };
    assert_eq!(model.plan.weight(*weight).name, "output.weight");
}

#[test]
fn one_tensor_may_hold_query_key_and_value() {
    let mut list = tensors();
    list.retain(|t| {
        !["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"].contains(&t.name.as_str())
    });
    list.push(TensorInfo {
        name: "blk.0.attn_qkv.weight".into(),
        dims: vec![HIDDEN, 256],
        ..list[0].clone()
    });
    let model = model(&metadata("qwen3", &[]), list).unwrap();
    let Some(Op::StoreKv { v, .. }) = model.plan.ops.iter().find(|o| matches!(o, Op::StoreKv { .. })) else {
        panic!("no state is written")
    };
    assert_eq!((v.offset, v.width, model.plan.buffer(v.buffer).width), (192, 64, 256));
}

#[test]
fn errors_name_what_is_wrong() {
    let (code, message) = error(&metadata("llama", &[]), tensors());
    assert_eq!(code, Code::UnsupportedArchitecture);
    assert!(message.contains("llama") && message.contains("qwen3"), "{message}");

    let mut missing = tensors();
    missing.retain(|t| t.name != "blk.1.ffn_up.weight");
    let (code, message) = error(&metadata("qwen3", &[]), missing);
    assert_eq!(code, Code::InvalidModel);
    assert!(message.contains("blk.1.ffn_up.weight"), "{message}");

    let mut wrong = tensors();
    wrong.iter_mut().find(|t| t.name == "blk.0.attn_k.weight").unwrap().dims = vec![HIDDEN, 65];
    let (code, message) = error(&metadata("qwen3", &[]), wrong);
    assert_eq!(code, Code::InvalidModel);
    assert!(message.contains("blk.0.attn_k.weight") && message.contains("65"), "{message}");

    let wrong: [(&str, Value); 6] = [
        ("attention.head_count_kv", 3u64.into()),
        ("attention.key_length", (1u64 << 40).into()),
        ("attention.head_count", 0u64.into()),
        ("block_count", (1u64 << 31).into()),
        ("rope.freq_base", f32::NAN.into()),
        ("context_length", 0u64.into()),
    ];
    for (key, value) in wrong {
        let (_, message) = error(&metadata("qwen3", &[(key, value)]), tensors());
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn yarn_interpolates_slow_dimensions_only() {
    let extra: [(&str, Value); 3] = [
        ("rope.scaling.type", "yarn".into()),
        ("rope.scaling.factor", 4f32.into()),
        ("rope.scaling.original_context_length", 32768u32.into()),
    ];
    let plain = Config::new(&metadata("qwen3", &[]), "qwen3").unwrap().rope();
    let yarn = Config::new(&metadata("qwen3", &extra), "qwen3").unwrap().rope();
    assert_eq!(plain.freqs[0], 1.0);
    assert_eq!(yarn.freqs[0], plain.freqs[0]);
    let last = plain.freqs.len() - 1;
    assert!((yarn.freqs[last] - plain.freqs[last] / 4.0).abs() < 1e-15);
    assert!((f64::from(yarn.scale) - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-6);
}

#[test]
fn linear_scaling_slows_every_dimension() {
    let extra: [(&str, Value); 2] =
        [("rope.scaling.type", "linear".into()), ("rope.scaling.factor", 4f32.into())];
    let plain = Config::new(&metadata("qwen3", &[]), "qwen3").unwrap().rope();
    let linear = Config::new(&metadata("qwen3", &extra), "qwen3").unwrap().rope();
    let slowed: Vec<f64> = plain.freqs.iter().map(|f| f / 4.0).collect();
    assert_eq!((linear.freqs, linear.scale), (slowed, 1.0));
}

/// Runs a plan, by operations or by steps, over owners instead of numbers: whoever reads a buffer has to find what was
/// last written to it.
#[test]
fn shared_memory_never_holds_two_living_buffers() {
    let plan = merge(&model(&metadata("qwen3", &[]), tensors()).unwrap().plan).plan;
    let fused = fuse(&plan);
    let layout = Layout::shared(&plan, &fused);
    let mut written = HashSet::new();
    for steps in [&single(&plan), &fused] {
        let mut owner = vec![None; layout.slots.len()];
        for step in steps {
            for id in step.reads(&plan) {
                assert_eq!(owner[layout.slot(id)], Some(id), "{step:?} reads {}", plan.buffer(id).name);
            }
            if let Some(id) = step.writes(&plan) {
                let slot = layout.slot(id);
                for input in step.reads(&plan).into_iter().filter(|&i| i != id) {
                    assert_ne!(layout.slot(input), slot, "{step:?} writes over its input");
                }
                assert!(layout.slots[slot].width >= plan.buffer(id).width);
                assert_eq!(layout.slots[slot].rows, plan.buffer(id).rows);
                owner[slot] = Some(id);
                written.insert(id);
            }
        }
        assert_eq!(owner[layout.slot(plan.logits)], Some(plan.logits));
    }
    assert_eq!(written.len(), plan.buffers.len());
    assert!(layout.slots.len() < plan.buffers.len() / 2);
}

fn outline(
    architecture: &str,
    [layers, hidden_size, intermediate_size, heads, kv_heads, head_dim]: [u32; 6],
    tied: bool,
    quantization: &str,
) -> Outline {
    Outline {
        architecture: architecture.to_owned(),
        layers,
        hidden_size,
        intermediate_size,
        heads,
        kv_heads,
        head_dim,
        vocab: 151_936,
        context_length: 32_768,
        tied,
        quantization: quantization.to_owned(),
    }
}

/// The sizes of published files hold the recipes and the shapes of an outline to the truth, to the last kilobytes.
#[test]
fn outlines_have_the_sizes_of_the_published_files() {
    let qwen25_05b = [24, 896, 4864, 14, 2, 64];
    let qwen3_06b = [28, 1024, 3072, 16, 8, 128];
    for (architecture, shape, tied, mix, bytes) in [
        ("qwen2", qwen25_05b, false, "Q8_0", 675_710_816u64),
        ("qwen2", qwen25_05b, true, "Q4_K_M", 397_808_192),
        ("qwen2", [28, 1536, 8960, 12, 2, 128], false, "Q4_K_M", 1_117_320_736),
        ("qwen2", [36, 2048, 11_008, 16, 2, 128], false, "Q4_K_M", 2_104_932_768),
        ("qwen3", qwen3_06b, true, "Q8_0", 639_446_688),
        ("qwen3", [28, 2048, 6144, 16, 8, 128], true, "Q8_0", 1_834_426_016),
        ("qwen3", [36, 2560, 9728, 32, 8, 128], true, "Q4_K_M", 2_497_280_256),
    ] {
        let reckoned = outline(architecture, shape, tied, mix).file_bytes();
        assert!(reckoned.abs_diff(bytes) < 8_000, "{architecture} {shape:?} {mix}: {reckoned}, not {bytes}");
    }
}

#[test]
fn an_outline_of_the_unknown_is_refused() {
    let shape = [2, 64, 96, 4, 2, 32];
    let code = |o: &Outline| Model::from_outline(o).unwrap_err().code();
    assert_eq!(code(&outline("llama", shape, true, "Q8_0")), Code::UnsupportedArchitecture);
    assert_eq!(code(&outline("qwen3", shape, true, "IQ2_M")), Code::UnsupportedQuantization);
}

#[test]
fn an_outline_gives_the_plan_of_the_file_that_it_stands_for() {
    let from_file = model(&metadata("qwen3", &[]), tensors()).unwrap().plan;
    let small = Outline { vocab: VOCAB as u32, ..outline("qwen3", [2, 64, 96, 4, 2, 32], true, "Q8_0") };
    let outlined = Model::from_outline(&small).unwrap().plan;
    assert_eq!(outlined.ops, from_file.ops);
    let shapes = |p: &Plan| p.weights.iter().map(|w| (w.name.clone(), w.rows, w.cols)).collect::<Vec<_>>();
    assert_eq!(shapes(&outlined), shapes(&from_file));
}
