//! Serves the built site.

use anyhow::Result;
use lexopt::prelude::*;

use crate::build::build;
use crate::install::npm;
use crate::sh::{program, root, run};

#[derive(Debug)]
pub(crate) struct Options {
    port: u16,
    host: String,
    base: String,
    coi: bool,
    build: bool,
}

impl Options {
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Self> {
        let mut options =
            Self { port: 8080, host: "127.0.0.1".to_owned(), base: "/".to_owned(), coi: false, build: true };
        while let Some(arg) = args.next()? {
            match arg {
                Long("port") | Short('p') => options.port = args.value()?.parse()?,
                Long("host") => options.host = args.value()?.string()?,
                Long("base") => options.base = args.value()?.string()?,
                Long("coi") => options.coi = true,
                Long("no-build") => options.build = false,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

/// Builds the site and serves it until interrupted.
pub(crate) fn serve(options: Options) -> Result<()> {
    if options.build {
        build()?;
    }
    npm("xtask/serve")?;
    let mut server = program("node", "xtask/serve");
    server.arg("serve.mjs").arg("--dir").arg(root().join("dist"));
    server.args(["--port", &options.port.to_string(), "--host", &options.host, "--base", &options.base]);
    if options.coi {
        server.arg("--coi");
    }
    run(&mut server)
}
