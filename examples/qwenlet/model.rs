//! Files to headers and engines.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_util::future::{FutureExt, LocalBoxFuture, ready};
use qwenlet::engine::{Engine, LoadOptions};
use qwenlet::gguf::{self, Array, Header, Parsed, PartName, Scalar, Value};
use qwenlet::source::{FileSource, Source};
use qwenlet::threads::Pool;
use qwenlet::{Code, Error, Result};

use crate::args::Args;

pub(crate) fn unreadable(path: &str, cause: std::io::Error) -> Error {
    Error::new(Code::FileRead, format!("{path} cannot be read")).with_cause(cause)
}

pub(crate) fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|e| unreadable(path, e))
}

pub(crate) fn read_text(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| unreadable(path, e))
}

/// A file's header, read no further than needed.
pub(crate) fn header(path: &str) -> Result<Header> {
    let mut file = open(path)?;
    let len = file.metadata().map_err(|e| unreadable(path, e))?.len();
    let mut prefix = Vec::new();
    let mut wanted = 1 << 20;
    loop {
        let missing = wanted - prefix.len() as u64;
        file.by_ref().take(missing).read_to_end(&mut prefix).map_err(|e| unreadable(path, e))?;
        match gguf::parse(&prefix, Some(len)).map_err(|e| e.context(path))? {
            Parsed::Header(header) => return Ok(*header),
            Parsed::NeedMore(n) => wanted = n.max(2 * wanted).min(len),
        }
    }
}

/// Loads the model for `--backend`, with room for `needed` tokens where the command line does not say.
pub(crate) fn load(args: &Args, needed: u32) -> Result<Engine> {
    load_with_context(args, args.context()?.or((needed > 4096).then_some(needed)))
}

pub(crate) fn load_with_context(args: &Args, context_length: Option<u32>) -> Result<Engine> {
    let mut open = parts(args.file()?);
    let threads = args.threads.unwrap_or(1);
    let options = LoadOptions {
        backend: args.backend,
        precision: args.precision,
        context_length,
        profile: args.profile,
        start_threads: Some(Rc::new(move || Box::pin(ready(Pool::new(threads))))),
        ..LoadOptions::default()
    };
    pollster::block_on(Engine::load(&mut open, options, &mut |_| ControlFlow::Continue(())))
}

/// Opens the parts of a model, given the first one's path.
pub(crate) fn parts(
    path: &str,
) -> impl FnMut(usize) -> LocalBoxFuture<'static, Result<Box<dyn Source>>> + use<> {
    let path = PathBuf::from(path);
    move |part| {
        let path = part_path(&path, part);
        async move { Ok(Box::new(FileSource::open(path?)?) as Box<dyn Source>) }.boxed_local()
    }
}

/// The path of part `n` of a split model, given the first one's.
fn part_path(first: &Path, n: usize) -> Result<PathBuf> {
    if n == 0 {
        return Ok(first.to_owned());
    }
    let name = first.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match PartName::parse(name) {
        Some(part) => Ok(first.with_file_name(part.sibling(n))),
        None => Err(Error::invalid_argument(format!(
            "{name} is the first part of a split model, but is not named …-00001-of-0000N.gguf"
        ))),
    }
}

/// A metadata value as JSON; long arrays by their length.
pub(crate) fn show(value: &Value) -> serde_json::Value {
    use serde_json::json;
    const SHOWN: usize = 16;
    let scalar = |s: Scalar| match (s, s.as_integer(), s.as_f64()) {
        (Scalar::Bool(b), _, _) => json!(b),
        // Whole numbers first: as floats, large ones would be rounded.
        (_, Some(n), _) => u64::try_from(n).map_or_else(|_| json!(n as i64), |n| json!(n)),
        (_, _, x) => json!(x),
    };
    match value {
        Value::Scalar(s) => scalar(*s),
        Value::String(s) => json!(s),
        Value::Array(array) if array.len() > SHOWN => json!({"length": array.len()}),
        Value::Array(Array::Scalars(a)) => a.iter().map(scalar).collect(),
        Value::Array(Array::Strings(a)) => a.iter().collect(),
    }
}
