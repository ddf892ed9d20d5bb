//! Runs plans with the plain references: what a backend's results are compared with.

use crate::backend::webgpu::Rounds;
use crate::error::Result;
use crate::kernels::store_kv::Pool;
use crate::kernels::{
    Lines, LinesMut, attention, embed, matmul, rms_norm, rope, select_rows, silu_mul, store_kv,
};
use crate::plan::{Batch, BufferId, LayerState, Op, Plan, RowSet, Slice};
use crate::quant;

/// A plan with its weights as they are in a file, and its state.
#[derive(Debug)]
pub(crate) struct Interpreter<'a> {
    plan: &'a Plan,
    weights: &'a [Vec<u8>],
    /// For which products activations are rounded to bytes.
    rounds: Rounds,
    keys: Vec<Pool>,
    values: Vec<Pool>,
    /// Every buffer of the last run, `[rows, width]`.
    pub(crate) buffers: Vec<Vec<f32>>,
}

impl<'a> Interpreter<'a> {
    pub(crate) fn new(plan: &'a Plan, weights: &'a [Vec<u8>], n_pages: usize) -> Self {
        let pools = || {
            let pool = |LayerState::Attention { n_kv_heads, head_dim }: &LayerState| {
                Pool::new(n_pages, *n_kv_heads as usize, *head_dim as usize)
            };
            plan.layers.iter().map(pool).collect()
        };
        Self { plan, weights, rounds: Rounds::NONE, keys: pools(), values: pools(), buffers: Vec::new() }
    }

    /// As kernels compute that multiply bytes.
    pub(crate) fn rounded(self, rounds: Rounds) -> Self {
        Self { rounds, ..self }
    }

    pub(crate) fn run(&mut self, batch: &Batch<'_>) -> Result<()> {
        let n = |rows| match rows {
            RowSet::All => batch.rows.len(),
            RowSet::Output => batch.rows.iter().filter(|r| r.output).count(),
        };
        self.buffers = self.plan.buffers.iter().map(|b| vec![0.0; n(b.rows) * b.width as usize]).collect();
        let plan = self.plan;
        plan.ops.iter().try_for_each(|op| self.op(op, batch))
    }

    fn lines(&self, slice: Slice) -> Result<Lines<'_>> {
        let stride = self.plan.buffer(slice.buffer).width as usize;
        let data = &self.buffers[slice.buffer.0 as usize];
        Lines::new(data, stride, slice.offset as usize, slice.width as usize)
    }

    fn vector(&self, id: crate::plan::WeightId) -> Result<Vec<f32>> {
        let w = self.plan.weight(id);
        let mut out = vec![0.0; w.cols as usize];
        quant::decode(w.ty, &self.weights[id.0 as usize], &mut out)?;
        Ok(out)
    }

    fn op(&mut self, op: &Op, batch: &Batch<'_>) -> Result<()> {
        let BufferId(written) = op.writes().unwrap_or(self.plan.logits);
        let mut memory = std::mem::take(&mut self.buffers[written as usize]);
        let result = match *op {
            Op::StoreKv { layer, k, v } => {
                // Nothing is written to a buffer: give it back before the inputs are read.
                self.buffers[written as usize] = std::mem::take(&mut memory);
                let layer = layer as usize;
                let (mut keys, mut values) = (self.keys[layer].clone(), self.values[layer].clone());
                let (k, v) = (self.lines(k)?, self.lines(v)?);
                store_kv::reference(batch.rows, batch.tables, k, v, &mut keys, &mut values)?;
                (self.keys[layer], self.values[layer]) = (keys, values);
                return Ok(());
            }
            _ => self.op_into(op, batch, &mut memory),
        };
        self.buffers[written as usize] = memory;
        result
    }

    fn op_into(&self, op: &Op, batch: &Batch<'_>, memory: &mut [f32]) -> Result<()> {
        let written = op.writes().unwrap_or(self.plan.logits);
        let stride = self.plan.buffer(written).width as usize;
        let out = move |s: Slice| {
            let memory = memory;
            LinesMut::new(memory, stride, s.offset as usize, s.width as usize)
        };
        match *op {
            Op::Embed { table, out: o } => {
                let tokens: Vec<u32> = batch.rows.iter().map(|r| r.token).collect();
                embed::reference(
                    self.plan.weight(table).ty,
                    &self.weights[table.0 as usize],
                    &tokens,
                    out(o)?,
                )
            }
            Op::RmsNorm { x, weight, eps, out: o } => {
                rms_norm::reference(self.lines(x)?, &self.vector(weight)?, eps, out(o)?)
            }
            Op::MatMul { x, weight, bias, out: o, accumulate } => {
                let bias = bias.map(|b| self.vector(b)).transpose()?;
                let bytes = &self.weights[weight.0 as usize];
                let ty = self.plan.weight(weight).ty;
                if self.rounds.hold(self.lines(x)?.n(), ty) {
                    let width = x.width as usize;
                    let mut lines = self.lines(x)?.iter().flatten().copied().collect::<Vec<f32>>();
                    lines.chunks_exact_mut(width).for_each(matmul::round_to_bytes);
                    let x = Lines::new(&lines, width, 0, width)?;
                    return matmul::reference(x, ty, bytes, bias.as_deref(), accumulate, out(o)?);
                }
                matmul::reference(self.lines(x)?, ty, bytes, bias.as_deref(), accumulate, out(o)?)
            }
            Op::Rope { x, head_dim } => {
                let positions: Vec<u32> = batch.rows.iter().map(|r| r.position).collect();
                rope::reference(&self.plan.rope, &positions, head_dim as usize, out(x)?)
            }
            Op::Attention { layer, q, out: o, n_heads, scale } => {
                let (keys, values) = (&self.keys[layer as usize], &self.values[layer as usize]);
                let (q, n_heads) = (self.lines(q)?, n_heads as usize);
                attention::reference(batch.rows, batch.tables, keys, values, n_heads, scale, q, out(o)?)
            }
            Op::SiluMul { gate, up, out: o } => {
                silu_mul::reference(self.lines(gate)?, self.lines(up)?, out(o)?)
            }
            Op::SelectRows { x, out: o } => select_rows::reference(batch.rows, self.lines(x)?, out(o)?),
            Op::StoreKv { .. } => Ok(()),
        }
    }
}
