//! The command line.

use std::str::FromStr;

use lexopt::prelude::*;
use qwenlet::engine::{BackendChoice, GenerateOptions, Precision};
use qwenlet::{Error, Result};

#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) verb: String,
    file: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) special: bool,
    pub(crate) requests: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) outlines: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) ids: Option<Vec<u32>>,
    pub(crate) positions: Option<Vec<usize>>,
    pub(crate) backend: BackendChoice,
    pub(crate) precision: Precision,
    /// Several for `bench` alone.
    pub(crate) contexts: Vec<u32>,
    pub(crate) threads: Option<usize>,
    pub(crate) prefill: Vec<usize>,
    pub(crate) decode: Option<usize>,
    pub(crate) profile: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) options: GenerateOptions,
}

impl Args {
    pub(crate) fn file(&self) -> Result<&str> {
        self.file.as_deref().ok_or_else(|| Error::invalid_argument("a GGUF file is needed"))
    }

    pub(crate) fn context(&self) -> Result<Option<u32>> {
        match self.contexts.as_slice() {
            [] => Ok(None),
            [n] => Ok(Some(*n)),
            _ => Err(Error::invalid_argument("--context takes one number here")),
        }
    }

    pub(crate) fn ids(&self) -> Result<&[u32]> {
        match self.ids.as_deref() {
            Some(ids) if !ids.is_empty() => Ok(ids),
            _ => Err(Error::invalid_argument("--ids is needed, with at least one token id")),
        }
    }
}

pub(crate) fn parse() -> Result<Args> {
    read(lexopt::Parser::from_env()).map_err(|e| Error::invalid_argument(format!("{e}; see `qwenlet help`")))
}

fn read(mut parser: lexopt::Parser) -> Result<Args, lexopt::Error> {
    let mut a = Args::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(v) if a.verb.is_empty() => a.verb = v.string()?,
            Value(v) if a.file.is_none() => a.file = Some(v.string()?),
            Short('h') | Long("help") => a.verb = "help".into(),
            Long("text") => a.text = Some(parser.value()?.string()?),
            Long("special") => a.special = true,
            Long("requests") => a.requests = Some(parser.value()?.string()?),
            Long("request") => a.request = Some(parser.value()?.string()?),
            Long("template") => a.template = Some(parser.value()?.string()?),
            Long("outlines") => a.outlines = Some(parser.value()?.string()?),
            Long("prompt") => a.prompt = Some(parser.value()?.string()?),
            Long("ids") => a.ids = Some(list(parser.value()?)?),
            Long("positions") => a.positions = Some(list(parser.value()?)?),
            Long("backend") => {
                a.backend = parser.value()?.parse_with(|s| match s {
                    "cpu" => Ok(BackendChoice::Cpu),
                    "webgpu" => Ok(BackendChoice::WebGpu),
                    "auto" => Ok(BackendChoice::Auto),
                    _ => Err("cpu, webgpu and auto are possible"),
                })?;
            }
            Long("precision") => {
                a.precision = parser.value()?.parse_with(|s| match s {
                    "exact" => Ok(Precision::Exact),
                    "auto" => Ok(Precision::Auto),
                    "rounded" => Ok(Precision::Rounded),
                    _ => Err("exact and auto are possible"),
                })?;
            }
            Long("context") => a.contexts = list(parser.value()?)?,
            Long("prefill") => a.prefill = list(parser.value()?)?,
            Long("decode") => a.decode = Some(parser.value()?.parse()?),
            Long("profile") => a.profile = true,
            Long("threads") => a.threads = Some(parser.value()?.parse()?),
            Long("stop") => a.stop.push(parser.value()?.string()?),
            Long("max-tokens") => a.options.max_tokens = Some(parser.value()?.parse()?),
            Long("temperature") => a.options.temperature = Some(parser.value()?.parse()?),
            Long("top-k") => a.options.top_k = Some(parser.value()?.parse()?),
            Long("top-p") => a.options.top_p = Some(parser.value()?.parse()?),
            Long("min-p") => a.options.min_p = Some(parser.value()?.parse()?),
            Long("repetition-penalty") => a.options.repetition_penalty = Some(parser.value()?.parse()?),
            Long("presence-penalty") => a.options.presence_penalty = Some(parser.value()?.parse()?),
            Long("frequency-penalty") => a.options.frequency_penalty = Some(parser.value()?.parse()?),
            Long("seed") => a.options.seed = Some(parser.value()?.parse()?),
            Long("ignore-eos") => a.options.ignore_eos = true,
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(a)
}

/// Numbers between commas.
fn list<T: FromStr>(value: std::ffi::OsString) -> Result<Vec<T>, lexopt::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    value.parse_with(|s| s.split(',').map(|n| n.trim().parse()).collect::<Result<Vec<T>, _>>())
}
