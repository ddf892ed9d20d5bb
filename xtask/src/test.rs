//! Every test, step by step.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lexopt::prelude::*;

use crate::sh::{cargo, program, run};
use crate::{build, install, readme, size, tidy};

/// A step, and those that it cannot do without.
struct Step {
    name: &'static str,
    what: &'static str,
    needs: &'static [&'static str],
    run: fn() -> Result<()>,
}

/// Quick ones first; what they build is reused by those after them.
const STEPS: &[Step] = &[
    Step { name: "tidy", what: "sources: length, leftovers", needs: &[], run: tidy::check },
    Step { name: "fmt", what: "rustfmt", needs: &[], run: || run(cargo().args(["fmt", "--all", "--check"])) },
    Step { name: "clippy", what: "lints, native", needs: &[], run: clippy },
    Step { name: "clippy-wasm", what: "lints, wasm32", needs: &[], run: clippy_wasm },
    Step { name: "rust", what: "native tests, WebGPU ones included", needs: &[], run: rust },
    Step {
        name: "readme",
        what: "the README's table of models is the catalogue's",
        needs: &[],
        run: || readme::table(true),
    },
    Step { name: "build", what: "wasm, package, site", needs: &[], run: build::build },
    Step { name: "types", what: "TypeScript", needs: &["build"], run: types },
    Step { name: "bench", what: "what benchmarks make of their figures", needs: &[], run: bench },
    Step { name: "size", what: "what a page loads", needs: &["build"], run: size::check },
    Step {
        name: "package",
        what: "npm pack, install, type-check, bundle, run",
        needs: &["build"],
        run: package,
    },
    Step { name: "browser", what: "the page in a real Chromium", needs: &["build"], run: browser },
];

#[derive(Debug)]
pub(crate) struct Options {
    steps: Vec<String>,
    list: bool,
}

impl Options {
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Self> {
        let mut options = Self { steps: Vec::new(), list: false };
        while let Some(arg) = args.next()? {
            match arg {
                Long("list") => options.list = true,
                Value(name) => options.steps.push(name.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        if let Some(unknown) =
            options.steps.iter().find(|name| !STEPS.iter().any(|s| s.name == name.as_str()))
        {
            bail!("there is no step {unknown:?}; `cargo xtask test --list` names them");
        }
        Ok(options)
    }
}

/// Runs the steps, all of them whatever fails, and sums up.
pub(crate) fn test(options: Options) -> Result<()> {
    if options.list {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.what);
        }
        return Ok(());
    }
    let mut results: Vec<(&Step, Duration, Result<()>)> = Vec::new();
    for step in
        STEPS.iter().filter(|s| options.steps.is_empty() || options.steps.iter().any(|name| name == s.name))
    {
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let broken =
            results.iter().find(|(done, _, result)| result.is_err() && step.needs.contains(&done.name));
        let result = match broken {
            Some((done, ..)) => Err(anyhow::anyhow!("not run: it needs {}, which failed", done.name)),
            None => (step.run)(),
        };
        if let Err(e) = &result {
            eprintln!("{}: {e:#}", step.name);
        }
        results.push((step, start.elapsed(), result));
    }

    println!("\n=== summary");
    for (step, took, result) in &results {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{:<12} {verdict:<7} {:>7.1} s", step.name, took.as_secs_f64());
    }
    let failed: Vec<&str> = results.iter().filter(|(.., r)| r.is_err()).map(|(s, ..)| s.name).collect();
    println!("{} passed, {} failed", results.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn clippy() -> Result<()> {
    run(cargo().args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn clippy_wasm() -> Result<()> {
    let args = ["clippy", "--release", "--target", "wasm32-unknown-unknown", "--lib", "--", "-D", "warnings"];
    run(cargo().args(args))
}

fn rust() -> Result<()> {
    if !install::vulkan()? {
        println!(
            "skipped: WebGPU tests, for want of a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers)"
        );
    }
    run(cargo().args(["test", "--release", "--workspace"]))
}

fn types() -> Result<()> {
    for folder in ["pkg", "www", "tests/browser"] {
        install::npm(folder)?;
        run(program("npm", folder).args(["run", "check"]))?;
    }
    Ok(())
}

fn bench() -> Result<()> {
    run(program("node", "bench").args(["--test", "web/table.test.mjs"]))
}

/// A browser test is given the Chromium to use; what it serves and packs is what `build` made, the models that it loads
/// are written by an example, and the native example says what to expect. Built as `rust` builds them: else again.
fn browser_test(folder: &str, args: &[&str]) -> Result<()> {
    let chromium = install::chromium()?;
    run(cargo().args(["build", "--release", "--workspace", "--examples"]))?;
    install::npm("xtask/serve")?;
    install::npm(folder)?;
    run(program("npm", folder).args(["test", "--"]).args(args).env("QWENLET_CHROMIUM", chromium))
}

fn package() -> Result<()> {
    browser_test("tests/package", &[])
}

fn browser() -> Result<()> {
    build::checks()?;
    let beside = browser_test("tests/browser", &["--project=beside"]);
    let alone = browser_test("tests/browser", &["--project=alone"]);
    beside.and(alone)
}
