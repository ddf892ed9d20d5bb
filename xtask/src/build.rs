//! crate → wasm → npm package → site.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::install::npm;
use crate::sh::{cargo, program, root, run, target_dir};

/// Builds everything: `pkg/wasm` (generated bindings), `pkg/dist` (the package), `dist` (the site).
pub(crate) fn build() -> Result<()> {
    wasm()?;
    package()?;
    site()
}

/// A build of the wasm module. A browser loads the one that it can make the most of; `pkg/src/variant.ts` chooses.
struct Variant {
    name: &'static str,
    relaxed_simd: bool,
    /// Shared memory: for pages that are cross-origin isolated.
    threads: bool,
}

const VARIANTS: &[Variant] = &[
    Variant { name: "simd", relaxed_simd: false, threads: false },
    Variant { name: "relaxed", relaxed_simd: true, threads: false },
    Variant { name: "simd-threads", relaxed_simd: false, threads: true },
    Variant { name: "relaxed-threads", relaxed_simd: true, threads: true },
];

/// Flags that make memory shared, beside those of `.cargo/config.toml`: atomics, a memory that the instances import, and
/// what the bindings need to give each thread its own stack and thread-locals.
const THREAD_FLAGS: &[&str] = &[
    "-Ctarget-feature=+atomics",
    "-Clink-arg=--shared-memory",
    "-Clink-arg=--import-memory",
    "-Clink-arg=--max-memory=4294967296",
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];

/// The wasm modules and their bindings, in `pkg/wasm`.
pub(crate) fn wasm() -> Result<()> {
    let out = root().join("pkg/wasm");
    if out.exists() {
        fs::remove_dir_all(&out).context("cannot empty pkg/wasm")?;
    }
    // Cargo builds one at a time in a folder; those with threads have another. The last part of each is one thread's work.
    let (with, without): (Vec<&Variant>, Vec<&Variant>) = VARIANTS.iter().partition(|v| v.threads);
    let all = |variants: &[&Variant]| variants.iter().try_for_each(|variant| compile(variant, &[], &out));
    thread::scope(|scope| {
        let other = scope.spawn(|| all(&with));
        let result = all(&without);
        result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Modules with the kernels' unit tests, one for each form of SIMD, in `target/checks`.
pub(crate) fn checks() -> Result<()> {
    let out = root().join("target/checks");
    VARIANTS.iter().filter(|v| !v.threads).try_for_each(|variant| compile(variant, &["checks"], &out))
}

/// Builds a variant and its bindings into `out`.
fn compile(variant: &Variant, features: &[&str], out: &Path) -> Result<()> {
    let mut build = cargo();
    let mut target = target_dir();
    // As what is shipped alone: Cargo does without link-time optimization where the library is also one for Rust.
    build.args(["rustc", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "--lib"]);
    build.args(["--crate-type", "cdylib"]);
    for feature in features.iter().copied().chain(variant.relaxed_simd.then_some("relaxed-simd")) {
        build.args(["--features", feature]);
    }
    if variant.threads {
        // The standard library as it is shipped knows no threads here: it is built again, which stable Rust allows only
        // where it is told to. The compiler is the pinned one all the same. Its own folder keeps the other builds warm.
        target.push("threads");
        build.args(["-Zbuild-std=std,panic_abort", "--config"]);
        build.arg(format!("target.wasm32-unknown-unknown.rustflags={THREAD_FLAGS:?}"));
        build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target);
    }
    run(&mut build)?;
    let module = target.join("wasm32-unknown-unknown/wasm/qwenlet.wasm");
    Bindgen::new()
        .input_path(&module)
        .out_name(variant.name)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(out)
        .with_context(|| format!("cannot make the bindings of {}", module.display()))
}

/// The npm package, in `pkg/dist`.
pub(crate) fn package() -> Result<()> {
    npm("pkg")?;
    run(program("node", "pkg").arg("build.mjs"))
}

/// The site, in `dist`: the chat page, with the package as any page would have it, in `dist/pkg`.
pub(crate) fn site() -> Result<()> {
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).context("cannot empty dist")?;
    }
    copy(&root().join("pkg/dist"), &dist.join("pkg"))?;
    npm("www")?;
    run(program("node", "www").arg("build.mjs"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
