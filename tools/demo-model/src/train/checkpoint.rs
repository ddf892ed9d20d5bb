//! What training needs to go on where it was stopped, in one safetensors file.

use super::model::{Layout, Model, named, unnamed};
use super::optimizer::State;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use std::path::Path;

const STEP: &str = "step";

fn sections(state: &State) -> [(&'static str, &Vec<f32>); 3] {
    [("first.", &state.first), ("second.", &state.second), ("average.", &state.average)]
}

/// Writes a checkpoint beside `path`, then puts it in its place: a stop halfway leaves the previous one.
pub(super) fn save(path: &Path, model: &Model, state: &State, step: u64) -> Result<()> {
    let mut tensors: HashMap<String, Tensor> = model.tensors()?.into_iter().collect();
    for (prefix, values) in sections(state) {
        let section = named(&model.layout, values)?;
        tensors.extend(section.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    }
    tensors.insert(STEP.into(), Tensor::new(&[i64::try_from(step)?], &Device::Cpu)?);
    let partial = path.with_extension("partial");
    safetensors::save(&tensors, &partial).with_context(|| partial.display().to_string())?;
    std::fs::rename(&partial, path).with_context(|| path.display().to_string())
}

/// Reads a checkpoint into `model`; gives the optimizer's state and how many steps were taken.
pub(super) fn load(path: &Path, model: &mut Model) -> Result<(State, u64)> {
    let tensors = safetensors::load(path, &Device::Cpu).with_context(|| path.display().to_string())?;
    let layout: &Layout = &model.layout;
    let weights = unnamed(layout, &tensors, "")?;
    let state = State {
        first: unnamed(layout, &tensors, "first.")?,
        second: unnamed(layout, &tensors, "second.")?,
        average: unnamed(layout, &tensors, "average.")?,
    };
    ensure!(
        tensors.len() == 4 * layout.entries.len() + 1,
        "{}: not a checkpoint of this model",
        path.display()
    );
    let step = tensors.get(STEP).with_context(|| format!("{}: no step", path.display()))?;
    let step = step.to_vec1::<i64>()?.first().copied().unwrap_or_default();
    model.weights = weights;
    Ok((state, u64::try_from(step)?))
}
