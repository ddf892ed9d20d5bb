//! From a file's metadata and tensor index to a [`Plan`]. One short builder a family; one table row a family.

mod blocks;
mod builder;
mod config;
mod dense;

pub use config::{Config, RopeScaling};

use crate::error::{Code, Error, Result};
use crate::gguf::ModelFiles;
use crate::plan::Plan;

type Build = fn(&Config, &ModelFiles) -> Result<Plan>;

/// `general.architecture` → builder.
const ARCHITECTURES: &[(&str, Build)] = &[
    ("qwen2", |config, files| dense::plan(config, files, dense::QWEN2)),
    ("qwen3", |config, files| dense::plan(config, files, dense::QWEN3)),
];

/// A model: its configuration and its plan.
#[derive(Debug)]
pub struct Model {
    pub config: Config,
    pub plan: Plan,
}

impl Model {
    /// # Errors
    /// `unsupported-architecture`, or `invalid-model` naming the key or tensor that is missing or has a wrong shape.
    pub fn new(files: &ModelFiles) -> Result<Self> {
        let metadata = files.metadata();
        let architecture = metadata.require_str("general.architecture")?;
        let Some((_, build)) = ARCHITECTURES.iter().find(|(name, _)| *name == architecture) else {
            let known: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
            return Err(Error::new(
                Code::UnsupportedArchitecture,
                format!(
                    "architecture \"{architecture}\" is not supported; supported are {}",
                    known.join(", ")
                ),
            ));
        };
        let config = Config::new(metadata, architecture)?;
        let plan = build(&config, files)?;
        Ok(Self { config, plan })
    }
}

#[cfg(test)]
mod tests;
