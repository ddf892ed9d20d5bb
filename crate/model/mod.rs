//! From a file's metadata and tensor index to a [`Plan`]. One short builder a family; one table row a family.

mod blocks;
mod builder;
mod config;
mod dense;
mod miniature;
mod outline;

pub use config::{Config, RopeScaling};
pub use outline::Outline;

use crate::error::{Code, Error, Result};
use crate::gguf::ModelFiles;
use crate::plan::Plan;
use builder::Tensors;

type Build = fn(&Config, &dyn Tensors) -> Result<Plan>;

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
    pub fn new(files: &ModelFiles) -> Result<Self> {
        let metadata = files.metadata();
        let architecture = metadata.require_str("general.architecture")?;
        let build = builder_of(architecture)?;
        let config = Config::new(metadata, architecture)?;
        let plan = build(&config, files)?;
        Ok(Self { config, plan })
    }

    /// The model that an outline stands for. Its plan serves to reckon with, not to run: what has no bearing on sizes
    /// is left at defaults.
    ///
    /// # Errors
    /// As [`Model::new`]; `unsupported-quantization` for a mix whose recipe is not known.
    pub fn from_outline(outline: &Outline) -> Result<Self> {
        let build = builder_of(&outline.architecture)?;
        let config = outline.config();
        let plan = build(&config, &outline.tensors()?)?;
        Ok(Self { config, plan })
    }
}

fn builder_of(architecture: &str) -> Result<Build> {
    ARCHITECTURES.iter().find(|(name, _)| *name == architecture).map(|(_, build)| *build).ok_or_else(|| {
        let known: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        Error::new(
            Code::UnsupportedArchitecture,
            format!("architecture \"{architecture}\" is not supported; supported are {}", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests;
