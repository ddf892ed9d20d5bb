//! A developer's tool: the engine from the command line, natively. The result is one JSON line, last on stdout; a bad
//! file or argument is exit code 1 and one JSON line on stderr.

mod args;
mod bench;
mod fit;
mod gpu;
mod model;

use std::io::{BufRead, Write};
use std::ops::ControlFlow;

use args::Args;
use qwenlet::chat::{self, ChatTemplate};
use qwenlet::engine::{ChatRequest, Event, GenerateOptions, Prompt};
use qwenlet::tokenizer::{Special, Tokenizer};
use qwenlet::{Error, Result};
use serde_json::{Value, json};

const USAGE: &str = "\
usage: qwenlet VERB …
  inspect FILE
  fit (FILE | --outlines F.json) [--context N] [--backend B]
  tokenize FILE (--text S [--special] | --requests F.jsonl)
  detokenize FILE --ids 1,2
  render (FILE | --template T.jinja) --request R.json
  logits FILE --ids 1,2,3 [--positions 0,5] [--backend cpu|webgpu] [--precision exact|auto|rounded]
  generate FILE (--prompt S | --ids 1,2 | --request R.json) [--max-tokens N] [--temperature T] [--top-k N] [--top-p P]
           [--min-p P] [--repetition-penalty R] [--presence-penalty P] [--frequency-penalty P] [--seed N] [--stop S]
           [--ignore-eos] [--context N] [--backend B] [--precision P]
  bench FILE [--prefill 128,512] [--decode 64] [--context 128,4096] [--threads N] [--backend B] [--precision P] [--profile]
  gpu";

fn main() {
    let result = args::parse().and_then(run);
    if let Err(error) = result {
        eprintln!("{}", json!({"error": {"code": error.code().as_str(), "message": error.to_string()}}));
        std::process::exit(1);
    }
}

fn run(args: Args) -> Result<()> {
    let answer = match args.verb.as_str() {
        "help" => {
            println!("{USAGE}");
            return Ok(());
        }
        "inspect" => inspect(&args)?,
        "fit" => fit::run(&args)?,
        "tokenize" => return tokenize(&args),
        "detokenize" => {
            let tokenizer = Tokenizer::from_metadata(&model::header(args.file()?)?.metadata)?;
            json!({"text": tokenizer.decode(args.ids()?, false)})
        }
        "render" => render(&args)?,
        "logits" => logits(&args)?,
        "generate" => generate(&args)?,
        "bench" => bench::run(&args)?,
        "gpu" => gpu::run()?,
        other => return Err(Error::invalid_argument(format!("unknown verb \"{other}\"\n{USAGE}"))),
    };
    println!("{answer}");
    Ok(())
}

fn inspect(args: &Args) -> Result<Value> {
    let header = model::header(args.file()?)?;
    let metadata: serde_json::Map<String, Value> =
        header.metadata.iter().map(|(key, value)| (key.to_owned(), model::show(value))).collect();
    let tensors: Vec<Value> = header
        .tensors
        .iter()
        .map(|t| json!({"name": t.name, "dims": t.dims, "type": t.ty.name(), "offset": t.offset, "bytes": t.bytes}))
        .collect();
    Ok(
        json!({"version": header.version, "data_offset": header.data_offset, "metadata": metadata, "tensors": tensors}),
    )
}

fn tokenize(args: &Args) -> Result<()> {
    let tokenizer = Tokenizer::from_metadata(&model::header(args.file()?)?.metadata)?;
    let encode = |text: &str, special: bool| -> Result<Value> {
        Ok(json!({"ids": tokenizer.encode(text, if special { Special::All } else { Special::None })?}))
    };
    let mut out = std::io::stdout().lock();
    let mut print = |value: Value| {
        writeln!(out, "{value}").map_err(|e| Error::internal("standard output is closed").with_cause(e))
    };
    let Some(path) = &args.requests else {
        return print(encode(
            args.text.as_deref().ok_or_else(|| missing("--text or --requests"))?,
            args.special,
        )?);
    };
    for line in std::io::BufReader::new(model::open(path)?).lines() {
        let line = line.map_err(|e| model::unreadable(path, e))?;
        if line.trim().is_empty() {
            continue;
        }
        let request: Value = serde_json::from_str(&line).map_err(|e| not_json(path, e))?;
        let text = request["text"].as_str().ok_or_else(|| missing("\"text\" in a request"))?;
        print(encode(text, request["special"].as_bool().unwrap_or(false))?)?;
    }
    Ok(())
}

fn render(args: &Args) -> Result<Value> {
    let source = match &args.template {
        Some(path) => model::read_text(path)?,
        None => {
            let metadata = model::header(args.file()?)?.metadata;
            match metadata.str("tokenizer.chat_template")? {
                Some(source) => source.to_owned(),
                None => chat::builtin(metadata.require_str("general.architecture")?).to_owned(),
            }
        }
    };
    let template = ChatTemplate::new(&source, None, chat::system_clock)?;
    Ok(json!({"text": template.render(&chat_request(args)?)?}))
}

fn logits(args: &Args) -> Result<Value> {
    let ids = args.ids()?;
    let positions = match &args.positions {
        Some(p) => p.clone(),
        None => (0..ids.len()).collect(),
    };
    let mut engine = model::load(args, ids.len() as u32)?;
    let all = pollster::block_on(engine.logits(ids, &positions))?;
    let n_vocab = engine.info().n_vocab as usize;
    let rows: Vec<Value> = positions
        .iter()
        .zip(all.chunks_exact(n_vocab))
        .map(|(pos, row)| json!({"pos": pos, "logits": row}))
        .collect();
    Ok(json!({"positions": rows}))
}

fn generate(args: &Args) -> Result<Value> {
    let prompt = match (&args.prompt, &args.ids, &args.request) {
        (Some(text), None, None) => Prompt::Text(text.clone()),
        (None, Some(ids), None) => Prompt::Ids(ids.clone()),
        (None, None, Some(_)) => Prompt::Chat(chat_request(args)?),
        _ => return Err(missing("exactly one of --prompt, --ids and --request")),
    };
    let options = GenerateOptions { stop: args.stop.clone(), ..args.options.clone() };
    let needed = match &prompt {
        Prompt::Ids(ids) => ids.len() as u32 + options.max_tokens.unwrap_or(0),
        _ => 0,
    };
    let mut engine = model::load(args, needed)?;
    let mut on_event = |_: Event| ControlFlow::Continue(());
    let outcome = pollster::block_on(engine.generate(&prompt, &options, &mut on_event))?;
    Ok(json!({
        "ids": outcome.ids,
        "text": outcome.text,
        "finish": outcome.finish,
        "prompt_tokens": outcome.prompt_tokens,
        "stats": outcome.stats,
    }))
}

fn chat_request(args: &Args) -> Result<ChatRequest> {
    let path = args.request.as_deref().ok_or_else(|| missing("--request"))?;
    serde_json::from_str(&model::read_text(path)?).map_err(|e| not_json(path, e))
}

fn missing(what: &str) -> Error {
    Error::invalid_argument(format!("{what} is needed\n{USAGE}"))
}

fn not_json(path: &str, cause: serde_json::Error) -> Error {
    Error::invalid_argument(format!("{path} is not a JSON request")).with_cause(cause)
}
