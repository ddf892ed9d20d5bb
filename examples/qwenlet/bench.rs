//! `bench`: prefill and decode rates, and what a token costs.

use std::ops::ControlFlow;
use std::time::Instant;

use qwenlet::backend::{DispatchTime, RunStats};
use qwenlet::engine::{Engine, GenerateOptions, Outcome, Prompt};
use qwenlet::plan::state::PAGE_TOKENS;
use qwenlet::{Error, Result};
use serde_json::{Value, json};

use crate::args::Args;
use crate::model;

/// Where several contexts are compared: each in turn, so many times.
const ROUNDS: usize = 5;

pub(crate) fn run(args: &Args) -> Result<Value> {
    let prefill = if args.prefill.is_empty() { vec![128, 512] } else { args.prefill.clone() };
    let decode = args.decode.unwrap_or(64);
    // Decoding starts behind so many tokens.
    let contexts: Vec<usize> = match args.contexts.as_slice() {
        [] => vec![16],
        contexts => contexts.iter().map(|&n| n as usize).collect(),
    };
    if prefill.contains(&0) || decode == 0 || contexts.contains(&0) {
        return Err(Error::invalid_argument("--prefill, --decode and --context take positive numbers"));
    }
    // Sequences behind different contexts are kept beside each other, in whole pages.
    let decoded = contexts.iter().map(|context| context + decode + PAGE_TOKENS).sum();
    let prompt = prefill.iter().copied().max().unwrap_or(1);
    let longest = prompt.max(decoded) + 2;
    let start = Instant::now();
    let mut engine = model::load_with_context(args, Some(longest as u32))?;
    let load_s = start.elapsed().as_secs_f64();

    // The first runs pay for warm caches and lazily made pages. A GPU's tell how many rows to run at once.
    let (warm_ups, tokens) = if engine.info().backend == "webgpu" { (2, prompt) } else { (1, 8) };
    for i in 0..warm_ups {
        answer(&mut engine, 7_000 + i, tokens, 2)?;
    }
    engine.take_times();
    let flops = flops_per_token(args)?;
    let mut prefills = Vec::new();
    for (i, &tokens) in prefill.iter().enumerate() {
        let cpu = cpu_seconds();
        let outcome = answer(&mut engine, i + 1, tokens, 1)?;
        let cpu = cpu_seconds().zip(cpu).map(|(b, a)| b - a);
        prefills.push(json!({
            "tokens": tokens,
            "tok_per_s": tokens as f64 / outcome.stats.prefill_seconds,
            "tok_per_cpu_s": cpu.map(|s| tokens as f64 / s),
            "tflop_per_s": flops * tokens as f64 / outcome.stats.prefill_seconds / 1e12,
            "kernels": times(&mut engine, 1.0),
        }));
    }
    let mut decodes: Vec<Decode> = Vec::new();
    for round in 0..if contexts.len() > 1 { ROUNDS } else { 1 } {
        for (i, &context) in contexts.iter().enumerate() {
            let salt = prefill.len() + 1 + i;
            if round == 0 {
                answer(&mut engine, salt, context, 1)?;
            }
            let cpu = cpu_seconds();
            // The prompt but its last token is in the state already: nearly all of this is decoding.
            let outcome = answer(&mut engine, salt, context, decode + 1)?;
            let cpu_s = cpu_seconds().zip(cpu).map(|(b, a)| b - a);
            let stats = outcome.stats;
            decodes.push(Decode {
                context,
                n: stats.decode_tokens.into(),
                s: stats.decode_seconds,
                cpu_s,
                run: stats.run,
            });
        }
    }
    let first = &decodes[0];
    let run = first.run;
    let per_token = |total: u64| total as f64 / first.n;
    let kernels = times(&mut engine, decodes.iter().map(|d| d.n).sum());
    let medians: Vec<Value> = contexts.iter().map(|&context| median(&decodes, context)).collect();
    Ok(json!({
        "backend": engine.info().backend,
        "adapter": engine.info().adapter,
        "threads": engine.info().threads,
        "features": engine.info().features,
        "self_check": engine.info().self_check,
        "load_s": load_s,
        "peak_rss_bytes": peak_rss_bytes(),
        "memory_bytes": engine.info().memory_bytes,
        "prefill": prefills,
        "decode": medians[0],
        "weight_gb_per_s": run.weight_bytes_read as f64 / first.s / 1e9,
        // Where there are several, in the order given.
        "contexts": medians,
        // Where several contexts are compared: of all of them, and of the prompts before.
        "kernels": kernels,
        "per_token": {
            "bytes_read": per_token(run.weight_bytes_read),
            "dispatches": per_token(run.dispatches),
            "submits": per_token(run.submits),
            "bind_groups_created": per_token(run.bind_groups_created),
            "buffers_created": per_token(run.buffers_created),
            "bytes_written": per_token(run.bytes_written),
            "bytes_read_back": per_token(run.bytes_read_back),
        },
    }))
}

/// Multiplications and additions of the layers' matrices for a token of a prompt: the head sees the last one alone, and
/// attention is left out.
fn flops_per_token(args: &Args) -> Result<f64> {
    let header = model::header(args.file()?)?;
    let matrices = header.tensors.iter().filter(|t| t.name.starts_with("blk.") && t.dims.len() == 2);
    Ok(matrices.map(|t| 2.0 * t.dims.iter().product::<u64>() as f64).sum())
}

/// Microseconds of the GPU in each kernel, longest first, for each of `n`; `null` where no times are taken.
fn times(engine: &mut Engine, n: f64) -> Option<Vec<Value>> {
    let mut times = engine.take_times();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let line = |t: &DispatchTime| {
        json!({
            "kernel": t.kernel,
            "workgroups": t.groups,
            "dispatches": t.n as f64 / n,
            "us": t.seconds * 1e6 / n,
            "us_each": t.seconds * 1e6 / t.n as f64,
        })
    };
    (!times.is_empty()).then(|| times.iter().map(line).collect())
}

/// Decoding behind one context, once.
struct Decode {
    context: usize,
    n: f64,
    s: f64,
    cpu_s: Option<f64>,
    run: RunStats,
}

/// The round in the middle of those behind a context.
fn median(decodes: &[Decode], context: usize) -> Value {
    let mut of_context: Vec<&Decode> = decodes.iter().filter(|d| d.context == context).collect();
    // A busy machine lengthens seconds more than it does seconds of the CPU.
    let cost = |d: &Decode| d.cpu_s.unwrap_or(d.s) / d.n;
    of_context.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let d = of_context[of_context.len() / 2];
    json!({
        "tokens": d.n,
        "context": context,
        "tok_per_s": d.n / d.s,
        "tok_per_cpu_s": d.cpu_s.map(|s| d.n / s),
    })
}

/// Answers a prompt of `n` tokens that shares no beginning with those of other `salt`s.
fn answer(engine: &mut Engine, salt: usize, n: usize, max_tokens: usize) -> Result<Outcome> {
    let n_vocab = engine.info().n_vocab as usize;
    let ids = (0..n).map(|i| ((i * 7919 + salt * 104_729 + 17) % n_vocab.min(100_000)) as u32).collect();
    let options = GenerateOptions {
        max_tokens: Some(max_tokens as u32),
        temperature: Some(0.0),
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    pollster::block_on(engine.generate(&Prompt::Ids(ids), &options, &mut |_| ControlFlow::Continue(())))
}

/// User and system time of this process, where the system tells (Linux, in ticks of 1/100 s).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; the times are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
