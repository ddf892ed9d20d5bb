//! From a file's metadata and tensor index to a [`Plan`]. One short builder a family; one table row a family.

mod blocks;
mod builder;
mod config;
mod dense;

pub use builder::TensorIndex;
pub use config::{Config, RopeScaling};

use crate::error::{Code, Error, Result};
use crate::gguf::Metadata;
use crate::plan::Plan;

type Build = fn(&Config, &TensorIndex) -> Result<Plan>;

/// `general.architecture` → builder.
const ARCHITECTURES: &[(&str, Build)] = &[
    ("qwen2", |config, tensors| dense::plan(config, tensors, dense::QWEN2)),
    ("qwen3", |config, tensors| dense::plan(config, tensors, dense::QWEN3)),
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
    pub fn new(metadata: &Metadata, tensors: &TensorIndex) -> Result<Self> {
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
        let plan = build(&config, tensors)?;
        Ok(Self { config, plan })
    }
}

#[cfg(test)]
mod tests;
