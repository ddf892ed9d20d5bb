//! A model of a few short layers that has every kind of operation and weight of a real one: to try a device with.

use std::collections::{HashMap, HashSet};

use super::builder::Tensors;
use super::config::Config;
use super::{Model, builder_of};
use crate::error::{Error, Result};
use crate::plan::{Plan, Weight, WeightKind};
use crate::quant::GgmlType;

/// One block of any format.
const HIDDEN: u32 = 256;
/// More than a GPU's products with few lines read of a line at once, so that they do so more than once.
const INTERMEDIATE: u32 = 4352;
/// More than a block of those that tokens are chosen from.
const N_VOCAB: u32 = 640;
/// Layers that differ in the types of their weights; files mix two or three kinds, some many more.
const MAX_LAYERS: usize = 8;
/// What attention and products give for a row shows in the rows behind it from the second layer on.
const MIN_LAYERS: usize = 2;

struct Miniature<'a> {
    /// Of the real model.
    weights: HashMap<&'a str, &'a Weight>,
    /// Layers of the real model.
    layers: Vec<u32>,
}

impl Miniature<'_> {
    /// The weight of the real model in whose place this one is.
    fn real(&self, name: &str) -> Option<&Weight> {
        let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        match layer {
            None => self.weights.get(name).copied(),
            Some((no, rest)) => {
                let real = self.layers.get(no.parse::<usize>().ok()?)?;
                self.weights.get(format!("blk.{real}.{rest}").as_str()).copied()
            }
        }
    }
}

impl Tensors for Miniature<'_> {
    fn has(&self, name: &str) -> bool {
        self.real(name).is_some()
    }

    fn find(&self, name: &str, _: WeightKind, _: u32, _: u32) -> Result<GgmlType> {
        let real = self
            .real(name)
            .ok_or_else(|| Error::internal(format!("a miniature of a model without {name}")))?;
        Ok(real.ty)
    }

    fn n_vocab(&self) -> Result<u32> {
        Ok(N_VOCAB)
    }
}

impl Model {
    /// The plan of as many layers of this model as have so many bytes, at least one, and a short vocabulary: for how fast a
    /// device is.
    ///
    /// # Errors
    /// `internal` where there can be none.
    pub fn excerpt(&self, bytes: u64) -> Result<Plan> {
        let weights = &self.plan.weights;
        let size = |w: &Weight| u64::from(w.rows) * w.ty.row_bytes(u64::from(w.cols)).unwrap_or(0);
        let all: u64 = weights.iter().filter(|w| w.name.starts_with("blk.")).map(size).sum();
        let n_layers = self.config.n_layers;
        let n = (bytes * u64::from(n_layers)).div_ceil(all.max(1)).clamp(1, u64::from(n_layers)) as u32;
        // Files give the first and the last layers more bits than those in the middle.
        let first = (n_layers - n) / 2;
        let weights = by_name(weights);
        let config = Config { n_layers: n, ..self.config.clone() };
        let layers = (first..first + n).collect();
        builder_of(&config.architecture)?(&config, &Miniature { weights, layers })
    }

    /// The plan of a model like this one, of some million weights a layer.
    ///
    /// # Errors
    /// `internal` where there can be none.
    pub fn miniature(&self) -> Result<Plan> {
        let weights = &self.plan.weights;
        let layers = distinct_layers(weights, self.config.n_layers);
        let (group, dim) = (self.config.n_heads / self.config.n_kv_heads, self.config.head_dim);
        let output = weights.iter().filter(|w| w.name.ends_with(".attn_output.weight"));
        let output: Vec<GgmlType> = output.map(|w| w.ty).collect();
        // As few heads as make whole blocks.
        let whole = |n: &u32| {
            let cols = u64::from(n * group * dim);
            output.iter().all(|ty| ty.row_bytes(cols).is_some_and(|bytes| bytes > 0))
        };
        let n_kv_heads = (1..=8).find(whole).unwrap_or(self.config.n_kv_heads);
        let config = Config {
            n_layers: layers.len() as u32,
            hidden_size: HIDDEN,
            intermediate_size: INTERMEDIATE,
            n_heads: n_kv_heads * group,
            n_kv_heads,
            ..self.config.clone()
        };
        let miniature = Miniature { weights: by_name(weights), layers };
        let mut plan = builder_of(&config.architecture)?(&config, &miniature)?;
        for weight in &mut plan.weights {
            weight.stands_for = miniature.real(&weight.name).map_or(weight.rows, |real| real.rows);
        }
        Ok(plan)
    }
}

/// Layers that have each type of each weight, and each mixture of types in the products of one input.
fn distinct_layers(weights: &[Weight], n_layers: u32) -> Vec<u32> {
    let types = |layer: u32| {
        let prefix = format!("blk.{layer}.");
        weights.iter().filter_map(move |w| Some((w.name.strip_prefix(&prefix)?.to_owned(), w.ty)))
    };
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for layer in 0..n_layers {
        let of = |names: &[&str]| -> Vec<(String, GgmlType)> {
            types(layer).filter(|(name, _)| names.iter().any(|n| name.starts_with(n))).collect()
        };
        let mixtures = [of(&["attn_q.", "attn_k.", "attn_v."]), of(&["ffn_gate.", "ffn_up."])];
        let n_seen = seen.len();
        seen.extend(types(layer).map(|one| vec![one]).chain(mixtures));
        if seen.len() > n_seen && layers.len() < MAX_LAYERS {
            layers.push(layer);
        }
    }
    let last = layers.last().copied().unwrap_or(0);
    layers.resize(layers.len().max(MIN_LAYERS), last);
    layers
}

fn by_name(weights: &[Weight]) -> HashMap<&str, &Weight> {
    weights.iter().map(|w| (w.name.as_str(), w)).collect()
}
