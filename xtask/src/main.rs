//! Builds, serves and tests qwenlet: `cargo xtask help`.

mod bench;
mod build;
mod install;
mod readme;
mod serve;
mod sh;
mod size;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

const HELP: &str = "\
cargo xtask COMMAND

  build                      the wasm module, the npm package (pkg/dist) and the site (dist)
  serve [--port N] [--host H] [--base /PATH/] [--coi] [--no-build]
                             build, then serve the chat page; --coi adds the COOP and COEP headers, which are not needed
  test [STEP ...]            every test, or only the named steps (`test --list` names them)
  size                       what a page loads to chat, gzipped, against the budget
  tidy                       checks of the sources that no compiler makes
  readme                     writes the README's table of models from the catalogue
  bench FILE [...]           speed of a model on this machine; arguments as `bench` of the native example takes them
  bench-web [--no-build] [...]
                             speed on the CPU in Chromium, beside wllama, candle and others; bench/README.md has the rest

Needs rustup's cargo and Node; fetches the rest (npm packages, for the tests a Chromium and a software Vulkan driver).
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = lexopt::Parser::from_env();
    let command = match args.next()? {
        None | Some(Long("help") | Short('h')) => "help".to_owned(),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => print!("{HELP}"),
        "build" => {
            no_more(args)?;
            build::build()?;
        }
        "serve" => serve::serve(serve::Options::parse(args)?)?,
        "test" => test::test(test::Options::parse(args)?)?,
        "size" => {
            no_more(args)?;
            size::check()?;
        }
        "tidy" => {
            no_more(args)?;
            tidy::check()?;
        }
        "readme" => {
            no_more(args)?;
            readme::table(false)?;
        }
        "bench" => {
            let mut bench = sh::cargo();
            bench.args(["run", "--release", "--quiet", "--example", "qwenlet", "--", "bench"]);
            bench.args(args.raw_args()?);
            sh::run(&mut bench)?;
        }
        "bench-web" => bench::bench_web(args.raw_args()?.collect())?,
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    }
    Ok(())
}

fn no_more(mut args: lexopt::Parser) -> Result<()> {
    match args.next()? {
        None => Ok(()),
        Some(arg) => Err(arg.unexpected().into()),
    }
}
