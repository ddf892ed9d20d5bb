//! What each operation of a plan leaves, by the names of [`super::reference::Reference::traced`].
//!
//! Operations work in place and add to the residual, so a run of the whole plan shows only what was written last. The
//! plan is therefore run several times, cut off after so many operations that every value is seen once before it is
//! overwritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use pollster::block_on;
use qwenlet::backend::{Backend, RunLimits};
use qwenlet::gguf::{ModelFiles, Parsed, parse};
use qwenlet::model::Model;
use qwenlet::plan::state::PageId;
use qwenlet::plan::{Batch, BufferId, Op, Plan, Row, WeightId};

/// Values by name, `[tokens][width]` each.
pub type Trace = BTreeMap<String, Vec<f32>>;

/// Runs the model in `bytes` on backends that `new_backend` makes, all tokens as one batch.
pub fn trace(bytes: &[u8], tokens: &[u32], mut new_backend: impl FnMut() -> Box<dyn Backend>) -> Trace {
    let Ok(Parsed::Header(header)) = parse(bytes, Some(bytes.len() as u64)) else {
        panic!("not a GGUF file")
    };
    let files = ModelFiles::new(*header).expect("one file");
    let plan = Model::new(&files).expect("a model").plan;
    let values = named_values(&plan);
    let mut trace = Trace::new();
    for cut in cuts(&plan, &values) {
        let part = Arc::new(Plan { ops: plan.ops[..cut].to_vec(), ..plan.clone() });
        let mut backend = new_backend();
        run(backend.as_mut(), &part, &files, bytes, tokens);
        for value in values.iter().filter(|v| v.written < cut && cut <= v.overwritten) {
            let read = block_on(backend.read_buffer(value.buffer)).expect("buffers are kept");
            trace.insert(value.name.clone(), read);
        }
    }
    with_differences(&mut trace);
    trace
}

fn run(backend: &mut dyn Backend, plan: &Arc<Plan>, files: &ModelFiles, bytes: &[u8], tokens: &[u32]) {
    let limits = RunLimits {
        max_rows: tokens.len(),
        max_outputs: tokens.len(),
        max_sequences: 1,
        n_pages: 1,
        keep_buffers: true,
    };
    block_on(backend.prepare(plan.clone(), limits)).expect("prepares");
    upload(backend, plan, files, bytes);
    let row = |(i, &token): (usize, &u32)| Row { token, sequence: 0, position: i as u32, output: true };
    let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
    backend.run(&Batch { rows: &rows, tables: &[&[PageId(0)]] }).expect("runs");
}

/// Gives a prepared backend every weight of `plan`.
pub fn upload(backend: &mut dyn Backend, plan: &Plan, files: &ModelFiles, bytes: &[u8]) {
    for (i, weight) in plan.weights.iter().enumerate() {
        let t = files.tensor(&weight.name).expect("the plan comes from these files").info;
        backend
            .upload(WeightId(i as u32), 0, &bytes[t.offset as usize..][..t.bytes as usize])
            .expect("uploads");
    }
    block_on(backend.finish_upload()).expect("uploads");
}

/// A value that operation `written` leaves in a buffer until operation `overwritten`.
struct Value {
    name: String,
    buffer: BufferId,
    written: usize,
    overwritten: usize,
}

fn named_values(plan: &Plan) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for (i, op) in plan.ops.iter().enumerate() {
        let Some(buffer) = op.writes() else { continue };
        if let Some(before) = values.iter_mut().rev().find(|v| v.buffer == buffer) {
            before.overwritten = i;
        }
        let name = name(plan, op, &plan.buffer(buffer).name);
        values.push(Value { name, buffer, written: i, overwritten: plan.ops.len() });
    }
    values
}

/// The name of what `op` leaves in the buffer `buffer`.
fn name(plan: &Plan, op: &Op, buffer: &str) -> String {
    match op {
        Op::Embed { .. } => "embd".into(),
        Op::MatMul { weight, accumulate: true, .. } => {
            let weight = &plan.weight(*weight).name;
            weight.replace("attn_output.weight", "ffn_inp").replace("ffn_down.weight", "layer_out")
        }
        Op::MatMul { .. } if buffer.ends_with(".q") || buffer.ends_with(".k") => {
            format!("{buffer}_proj_bias")
        }
        Op::Rope { .. } => format!("{}_rope", buffer.trim_end_matches("_norm")),
        _ => buffer.into(),
    }
}

/// After how many operations to stop, so that each value is alive at one stop at least: as late as possible each time.
fn cuts(plan: &Plan, values: &[Value]) -> Vec<usize> {
    let mut cuts: Vec<usize> = Vec::new();
    let mut by_end: Vec<&Value> = values.iter().collect();
    by_end.sort_by_key(|v| v.overwritten);
    for value in by_end {
        if cuts.last().is_none_or(|&cut| cut <= value.written) {
            cuts.push(value.overwritten);
        }
    }
    assert_eq!(cuts.last(), Some(&plan.ops.len()), "the last stop is the whole plan");
    cuts
}

/// What attention and MLP add is visible as the residual after them less the residual before.
fn with_differences(trace: &mut Trace) {
    let difference = |trace: &Trace, after: &str, before: &str| -> Vec<f32> {
        trace[after].iter().zip(&trace[before]).map(|(a, b)| a - b).collect()
    };
    let mut before = "embd".to_string();
    for layer in 0.. {
        let name = |part: &str| format!("blk.{layer}.{part}");
        if !trace.contains_key(&name("layer_out")) {
            break;
        }
        let attention = difference(trace, &name("ffn_inp"), &before);
        let mlp = difference(trace, &name("layer_out"), &name("ffn_inp"));
        trace.insert(name("attn_out"), attention);
        trace.insert(name("ffn_out"), mlp);
        before = name("layer_out");
    }
}
