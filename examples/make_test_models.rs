//! Writes tiny random models, for the browser tests: `make_test_models DIR [--only SUBSTRING]`.
//!
//! One file a model of the test support's list, and one model in three parts.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use lexopt::{Arg, ValueExt};
use qwenlet::quant::GgmlType;
use support::model::{Mix, Spec, every_model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut dir, mut only) = (None, String::new());
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("only") => only = args.value()?.string()?,
            Arg::Value(path) if dir.is_none() => dir = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let dir = dir.ok_or("usage: make_test_models DIR [--only SUBSTRING]")?;
    std::fs::create_dir_all(&dir)?;
    let deep = [Spec::qwen2, Spec::qwen3].map(|spec| spec(Mix::All(GgmlType::Q4_0)).deep());
    for spec in every_model().into_iter().chain(deep) {
        write(&dir, &only, &format!("{}.gguf", spec.name()), || spec.to_bytes())?;
    }
    let split = Spec::qwen2(Mix::Q4KM);
    for (no, part) in split.parts(3).into_iter().enumerate() {
        write(&dir, &only, &format!("{}-split-{:05}-of-00003.gguf", split.name(), no + 1), || part)?;
    }
    Ok(())
}

fn write(dir: &Path, only: &str, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> std::io::Result<()> {
    if !name.contains(only) {
        return Ok(());
    }
    let bytes = bytes();
    println!("{name} {}", bytes.len());
    std::fs::write(dir.join(name), bytes)
}
