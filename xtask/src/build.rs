//! crate → wasm → npm package → site.

use std::fs;
use std::path::Path;

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

/// The wasm module and its bindings, in `pkg/wasm`.
pub(crate) fn wasm() -> Result<()> {
    run(cargo().args(["build", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "--lib"]))?;
    let module = target_dir().join("wasm32-unknown-unknown/wasm/qwenlet.wasm");
    Bindgen::new()
        .input_path(&module)
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(root().join("pkg/wasm"))
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
