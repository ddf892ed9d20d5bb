//! Measures qwenlet in a browser, beside its peers: `bench/web`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::build;
use crate::install::{chromium, npm};
use crate::sh::{cargo, program, root, run, target_dir};

const WASM: &str = "wasm32-unknown-unknown";

/// Builds what is compared, makes models where none are named, and hands `args` to `run.mjs`.
pub(crate) fn bench_web(mut args: Vec<OsString>) -> Result<()> {
    let given = args.len();
    args.retain(|arg| arg != "--no-build");
    if args.len() == given {
        build::build()?;
        peers()?;
    }
    npm("bench/web")?;
    if !args.iter().any(|arg| arg.to_string_lossy().starts_with("--models")) {
        let models: Vec<_> = models()?.into_iter().map(PathBuf::into_os_string).collect();
        args.extend(["--models".into(), models.join(",".as_ref())]);
    }
    let mut bench = program("node", "bench/web");
    if !args.iter().any(|arg| arg == "--serve") {
        bench.env("QWENLET_CHROMIUM", chromium()?);
    }
    run(bench.arg("run.mjs").args(args))
}

/// What `bench/web` has in Rust, as modules in `target/bench`.
fn peers() -> Result<()> {
    let built = root().join("target/bench");
    fs::create_dir_all(&built).with_context(|| format!("cannot make {}", built.display()))?;
    // A target folder of its own: its lock file has other versions than ours.
    let candle = target_dir().join("bench-candle");
    let manifest = root().join("bench/web/candle/Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--target", WASM, "--manifest-path"]).arg(manifest);
    run(build.arg("--target-dir").arg(&candle))?;
    let module = candle.join(WASM).join("release/candle_peer.wasm");
    fs::copy(&module, built.join("candle.wasm"))
        .with_context(|| format!("cannot copy {}", module.display()))?;
    let mut rustc = program("rustc", "bench/web/read");
    rustc.args(["-O", "--edition", "2024", "--target", WASM, "--crate-type", "cdylib"]);
    rustc.args([
        "-C",
        "target-feature=+simd128",
        "-C",
        "panic=abort",
        "-C",
        "strip=symbols",
        "read.rs",
        "-o",
    ]);
    run(rustc.arg(built.join("read.wasm")))
}

/// Random models of real shapes, written once.
fn models() -> Result<Vec<PathBuf>> {
    let dir = root().join("target/bench/models");
    let complete = dir.join(".complete");
    if !complete.is_file() {
        let mut make = cargo();
        make.args(["run", "--release", "--quiet", "--example", "make_bench_models", "--"]).arg(&dir);
        run(&mut make)?;
        fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut models = files.map(|file| Ok(file?.path())).collect::<std::io::Result<Vec<_>>>()?;
    models.retain(|path| path.extension().is_some_and(|e| e == "gguf"));
    models.sort();
    Ok(models)
}
