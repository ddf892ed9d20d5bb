//! One run: every operation of the plan in order.

use super::{Prepared, WeightData};
use crate::error::{Error, Result, ResultExt};
use crate::kernels::attention::cpu::Attention;
use crate::kernels::attention::{self, tasks::Tasks};
use crate::kernels::matmul::{self, Matrix, Projection};
use crate::kernels::{Lines, LinesMut, check, rms_norm, rope, select_rows, silu_mul};
use crate::plan::state::PAGE_TOKENS;
use crate::plan::{Batch, Op, RowSet, Slice, WeightId};

/// Products that are computed together, at most.
const MAX_PRODUCTS: usize = 4;

/// Operations one by one, but products of one input into one buffer together.
fn steps(ops: &[Op]) -> impl Iterator<Item = &[Op]> {
    let together = |a: &Op, b: &Op| match (a, b) {
        (
            Op::MatMul { x, out, accumulate: false, .. },
            Op::MatMul { x: other, out: next, accumulate: false, .. },
        ) => x == other && out.buffer == next.buffer && out.offset + out.width <= next.offset,
        _ => false,
    };
    ops.chunk_by(together).flat_map(|ops| ops.chunks(MAX_PRODUCTS))
}

impl Prepared {
    /// Runs the plan over the batch's rows; returns the bytes of weights that it read.
    pub(super) fn run(&mut self, batch: &Batch<'_>) -> Result<u64> {
        self.check_batch(batch)?;
        self.n_rows = batch.rows.len();
        self.n_outputs = batch.rows.iter().filter(|r| r.output).count();
        self.input = None;
        for row in batch.rows {
            let table = batch.tables[row.sequence as usize];
            self.state.touch(table[row.position as usize / PAGE_TOKENS])?;
        }
        let n = self.plan.rope.freqs.len();
        for (r, row) in batch.rows.iter().enumerate() {
            let (cos, sin) = (&mut self.cos[r * n..][..n], &mut self.sin[r * n..][..n]);
            rope::cos_sin(&self.plan.rope, row.position, cos, sin);
        }
        self.attention.cut(batch.rows);
        let plan = self.plan.clone();
        let (mut read, mut at) = (0, 0);
        for ops in steps(&plan.ops) {
            read += self.step(ops, batch).context(|| format!("operation {at}"))?;
            at += ops.len();
        }
        Ok(read)
    }

    /// What a caller could get wrong; afterwards every index below is in range.
    fn check_batch(&self, batch: &Batch<'_>) -> Result<()> {
        let limits = &self.limits;
        let outputs = batch.rows.iter().filter(|r| r.output).count();
        check(
            batch.rows.len() <= limits.max_rows
                && outputs <= limits.max_outputs
                && batch.tables.len() <= limits.max_sequences,
            "run",
            || {
                format!(
                    "{} rows, {outputs} outputs, {} sequences; prepared for {limits:?}",
                    batch.rows.len(),
                    batch.tables.len()
                )
            },
        )?;
        for row in batch.rows {
            let table = batch.tables.get(row.sequence as usize).copied().unwrap_or(&[]);
            let used = table.get(..=row.position as usize / PAGE_TOKENS);
            check(
                used.is_some_and(|used| used.iter().all(|p| (p.0 as usize) < self.state.n_pages())),
                "run",
                || format!("position {} of sequence {} has no page", row.position, row.sequence),
            )?;
        }
        Ok(())
    }

    /// Runs operations that write one buffer; returns the bytes of weights that they read.
    fn step(&mut self, ops: &[Op], batch: &Batch<'_>) -> Result<u64> {
        let op = &ops[0];
        // The output leaves its slot while inputs are read from theirs; nothing is allocated.
        let Some(out_id) = op.writes() else {
            if let Op::StoreKv { layer, k, v } = op {
                self.store_kv(*layer, *k, *v, batch)?;
            }
            return Ok(0);
        };
        if self.input.is_some_and(|input| input.buffer == out_id) {
            self.input = None;
        }
        let slot = self.layout.slot(out_id);
        let mut memory = std::mem::take(&mut self.scratch[slot]);
        let result = match op {
            Op::MatMul { .. } => self.products(ops, &mut memory),
            _ => self.op_into(op, batch, &mut memory),
        };
        self.scratch[slot] = memory;
        result
    }

    fn op_into(&mut self, op: &Op, batch: &Batch<'_>, memory: &mut [f32]) -> Result<u64> {
        let mut read = 0;
        match *op {
            Op::Embed { table, out } => {
                let matrix = self.matrix(table)?;
                read = (matrix.row_bytes() * batch.rows.len()) as u64;
                let mut out = self.out(memory, out)?;
                for (r, row) in batch.rows.iter().enumerate() {
                    matrix.decode_row(row.token as usize, out.line(r))?;
                }
            }
            Op::RmsNorm { x, weight, eps, out } => {
                let weight = self.vector(weight)?;
                rms_norm::forward(self.lines_of(x)?, weight, eps, self.out(memory, out)?)?;
            }
            Op::Rope { x, head_dim } => {
                let used = self.n_rows * self.plan.rope.freqs.len();
                let (cos, sin) = (&self.cos[..used], &self.sin[..used]);
                rope::forward(&self.plan.rope, cos, sin, head_dim as usize, self.out(memory, x)?)?;
            }
            Op::Attention { layer, q, out, n_heads, scale } => {
                let mut tasks = std::mem::take(&mut self.attention);
                let result = self.attend(
                    layer,
                    q,
                    self.out(memory, out)?,
                    (n_heads as usize, scale),
                    batch,
                    &mut tasks,
                );
                self.attention = tasks;
                result?;
            }
            Op::SiluMul { gate, up, out } => {
                let out = self.out(memory, out)?;
                silu_mul::forward(self.lines_of(gate)?, self.lines_of(up)?, out, &self.pool)?;
            }
            Op::SelectRows { x, out } => {
                select_rows::reference(batch.rows, self.lines_of(x)?, self.out(memory, out)?)?;
            }
            Op::MatMul { .. } | Op::StoreKv { .. } => {
                return Err(Error::internal(format!("{op:?} is no operation on its own buffer")));
            }
        }
        Ok(read)
    }

    /// Products of one input.
    fn products(&mut self, ops: &[Op], memory: &mut [f32]) -> Result<u64> {
        let Op::MatMul { x, out, accumulate, .. } = ops[0] else {
            return Err(Error::internal(format!("{:?} is no product", ops[0])));
        };
        let matrices =
            ops.iter().filter_map(|op| if let Op::MatMul { weight, .. } = op { Some(*weight) } else { None });
        let mut quantized = false;
        let mut read = 0;
        for weight in matrices {
            let matrix = self.matrix(weight)?;
            quantized |= matrix.takes_quantized();
            read += matrix.bytes() as u64;
        }
        if quantized && self.input != Some(x) {
            let mut activations = std::mem::take(&mut self.activations);
            let quantize = self.lines_of(x).and_then(|x| activations.quantize(x, &self.pool));
            self.activations = activations;
            quantize?;
            self.input = Some(x);
        }
        let mut products = [self.projection(&ops[0])?; MAX_PRODUCTS];
        for (product, op) in products.iter_mut().zip(ops) {
            *product = self.projection(op)?;
        }
        let whole = Slice { buffer: out.buffer, offset: 0, width: self.plan.buffer(out.buffer).width };
        let mut out = self.out(memory, whole)?;
        let (x, products) = (self.lines_of(x)?, &products[..ops.len()]);
        matmul::multiply(products, x, &self.activations, accumulate, &mut out, &self.pool)?;
        Ok(read)
    }

    fn projection(&self, op: &Op) -> Result<Projection<'_>> {
        let Op::MatMul { weight, bias, out, .. } = *op else {
            return Err(Error::internal(format!("{op:?} is no product")));
        };
        let bias = bias.map(|b| self.vector(b)).transpose()?;
        Ok(Projection { matrix: self.matrix(weight)?, bias, offset: out.offset as usize })
    }

    fn store_kv(&mut self, layer: u32, k: Slice, v: Slice, batch: &Batch<'_>) -> Result<()> {
        let (heads, dim) = self.state.shape(layer)?;
        check((k.width, v.width) == ((heads * dim) as u32, (heads * dim) as u32), "store_kv", || {
            format!("lines of {} and {} for {heads} heads of {dim}", k.width, v.width)
        })?;
        let mut state = std::mem::take(&mut self.state);
        let result = self.lines_of(k).and_then(|k| Ok((k, self.lines_of(v)?))).and_then(|(k, v)| {
            batch.rows.iter().enumerate().try_for_each(|(r, row)| {
                let at = row.position as usize;
                let page = batch.tables[row.sequence as usize][at / PAGE_TOKENS];
                state.store(layer, page, at % PAGE_TOKENS, k.line(r), v.line(r))
            })
        });
        self.state = state;
        result
    }

    fn attend(
        &self,
        layer: u32,
        q: Slice,
        out: LinesMut<'_>,
        (n_heads, scale): (usize, f32),
        batch: &Batch<'_>,
        tasks: &mut Tasks,
    ) -> Result<()> {
        let (n_kv_heads, head_dim) = self.state.shape(layer)?;
        let q = self.lines_of(q)?;
        attention::check_shape(batch.rows.len(), q, &out, n_heads, (n_kv_heads, head_dim))?;
        let pages = self.state.layer_pages(layer)?;
        let page = |sequence: u32, i: usize, head| pages.head(batch.tables[sequence as usize][i], head);
        let group = n_heads / n_kv_heads;
        let attention = Attention { rows: batch.rows, q, n_kv_heads, group, head_dim, scale, page };
        attention::cpu::forward(&attention, tasks, out, &self.pool)
    }

    fn matrix(&self, id: WeightId) -> Result<&Matrix> {
        match self.weights.get(id.0 as usize).map(|w| &w.data) {
            Some(WeightData::Matrix(m)) => Ok(m),
            _ => Err(Error::internal(format!("weight {} is not a matrix", id.0))),
        }
    }

    fn vector(&self, id: WeightId) -> Result<&[f32]> {
        match self.weights.get(id.0 as usize).map(|w| &w.data) {
            Some(WeightData::Vector(v)) => Ok(v),
            _ => Err(Error::internal(format!("weight {} is not a vector", id.0))),
        }
    }

    /// Values of all lines of a slice's buffer, and its line stride.
    fn extent(&self, slice: Slice) -> (usize, usize) {
        let buffer = self.plan.buffer(slice.buffer);
        let n = match buffer.rows {
            RowSet::All => self.n_rows,
            RowSet::Output => self.n_outputs,
        };
        (n * buffer.width as usize, buffer.width as usize)
    }

    fn lines_of(&self, slice: Slice) -> Result<Lines<'_>> {
        let (len, stride) = self.extent(slice);
        let memory = self.scratch[self.layout.slot(slice.buffer)].get(..len);
        let memory = memory.ok_or_else(|| Error::internal("an operation reads the buffer that it writes"))?;
        Lines::new(memory, stride, slice.offset as usize, slice.width as usize)
    }

    fn out<'m>(&self, memory: &'m mut [f32], slice: Slice) -> Result<LinesMut<'m>> {
        let (len, stride) = self.extent(slice);
        LinesMut::new(&mut memory[..len], stride, slice.offset as usize, slice.width as usize)
    }
}
