//! The README's table of models, which is made from the catalogue.

use anyhow::Result;

use crate::install::npm;
use crate::sh::{cargo, program, run, target_dir};

/// Writes the table, or fails where it is not what would be written.
pub(crate) fn table(check: bool) -> Result<()> {
    run(cargo().args(["build", "--release", "--workspace", "--example", "qwenlet"]))?;
    npm("pkg")?;
    let tool = target_dir().join("release/examples/qwenlet");
    run(program("node", "pkg").arg("table.mjs").arg(tool).args(check.then_some("--check")))
}
