//! Writes a plan: names buffers, checks tensors by name and shape, appends operations.

use std::collections::HashMap;

use crate::error::{Code, Error, Result};
use crate::gguf::{ModelFiles, TensorInfo};
use crate::plan::{
    Buffer, BufferId, LayerState, Op, Plan, Rope, RowSet, Slice, Weight, WeightId, WeightKind,
};
use crate::quant::GgmlType;

/// The tensors that a plan can be made of: a file's, or those that an [`Outline`](super::Outline) stands for.
pub(super) trait Tensors {
    fn has(&self, name: &str) -> bool;

    /// The type of the tensor of this name and of these dimensions.
    ///
    /// # Errors
    /// `invalid-model` where there is none.
    fn find(&self, name: &str, kind: WeightKind, rows: u32, cols: u32) -> Result<GgmlType>;

    /// Rows of the table of embeddings: tokens, and perhaps padding.
    ///
    /// # Errors
    /// `invalid-model` where there is no table.
    fn n_vocab(&self) -> Result<u32>;
}

impl Tensors for ModelFiles {
    fn has(&self, name: &str) -> bool {
        self.tensor(name).is_some()
    }

    fn find(&self, name: &str, kind: WeightKind, rows: u32, cols: u32) -> Result<GgmlType> {
        let info = require(self, name)?;
        let (expected, shape): (Vec<u64>, String) = match kind {
            WeightKind::Matrix => (vec![cols.into(), rows.into()], format!("[{cols}, {rows}]")),
            WeightKind::Vector => (vec![cols.into()], format!("[{cols}]")),
        };
        let trailing_ones = info.dims.iter().rev().take_while(|&&d| d == 1).count();
        let dims = &info.dims[..info.dims.len() - trailing_ones.min(info.dims.len() - 1)];
        let same = dims == expected || (rows == 1 && dims == [u64::from(cols)]);
        if !same {
            return Err(Error::new(
                Code::InvalidModel,
                format!("tensor {name} has shape {:?} where the metadata asks for {shape}", info.dims),
            ));
        }
        Ok(info.ty)
    }

    fn n_vocab(&self) -> Result<u32> {
        let embedding = require(self, EMBEDDING)?;
        embedding.dims.get(1).and_then(|&n| u32::try_from(n).ok()).filter(|&n| n > 0).ok_or_else(|| {
            Error::new(
                Code::InvalidModel,
                format!("tensor {EMBEDDING} has shape {:?}, not [hidden, vocabulary]", embedding.dims),
            )
        })
    }
}

/// The table of embeddings; every family has it.
pub(super) const EMBEDDING: &str = "token_embd.weight";
/// The output head, where it is not the table of embeddings.
pub(super) const HEAD: &str = "output.weight";

fn require<'a>(files: &'a ModelFiles, name: &str) -> Result<&'a TensorInfo> {
    files.tensor(name).map(|t| t.info).ok_or_else(|| {
        Error::new(
            Code::InvalidModel,
            format!("tensor {name} is missing: the file is incomplete or of another model"),
        )
    })
}

/// A plan under construction.
pub(super) struct Builder<'a> {
    tensors: &'a dyn Tensors,
    by_name: HashMap<String, WeightId>,
    plan: Plan,
}

impl<'a> Builder<'a> {
    pub(super) fn new(tensors: &'a dyn Tensors, rope: Rope) -> Self {
        let plan = Plan {
            buffers: Vec::new(),
            weights: Vec::new(),
            layers: Vec::new(),
            rope,
            ops: Vec::new(),
            logits: BufferId(0),
            n_vocab: 0,
        };
        Self { tensors, by_name: HashMap::new(), plan }
    }

    pub(super) fn has(&self, tensor: &str) -> bool {
        self.tensors.has(tensor)
    }

    pub(super) fn buffer(&mut self, name: impl Into<String>, width: u32, rows: RowSet) -> Slice {
        let buffer = BufferId(self.plan.buffers.len() as u32);
        self.plan.buffers.push(Buffer { name: name.into(), width, rows });
        Slice { buffer, offset: 0, width }
    }

    pub(super) fn push(&mut self, op: Op) {
        self.plan.ops.push(op);
    }

    pub(super) fn layer(&mut self, state: LayerState) -> u32 {
        self.plan.layers.push(state);
        self.plan.layers.len() as u32 - 1
    }

    /// A `[rows, cols]` matrix; the same tensor may be asked for more than once (tied embeddings).
    pub(super) fn matrix(&mut self, name: &str, rows: u32, cols: u32) -> Result<WeightId> {
        self.weight(name, WeightKind::Matrix, rows, cols)
    }

    pub(super) fn vector(&mut self, name: &str, cols: u32) -> Result<WeightId> {
        self.weight(name, WeightKind::Vector, 1, cols)
    }

    fn weight(&mut self, name: &str, kind: WeightKind, rows: u32, cols: u32) -> Result<WeightId> {
        let ty = self.tensors.find(name, kind, rows, cols)?;
        if let Some(&id) = self.by_name.get(name) {
            return Ok(id);
        }
        let id = WeightId(self.plan.weights.len() as u32);
        self.plan.weights.push(Weight { name: name.to_owned(), kind, ty, rows, cols, stands_for: rows });
        self.by_name.insert(name.to_owned(), id);
        Ok(id)
    }

    pub(super) fn finish(mut self, logits: Slice) -> Plan {
        self.plan.logits = logits.buffer;
        self.plan.n_vocab = logits.width;
        self.plan
    }
}
