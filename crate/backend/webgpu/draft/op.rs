//! The dispatches of single operations.

use super::attend::{Attend, Store};
use super::project::Projection;
use super::{
    Draft, Drafts, FEW_LINES, Shape, When, Work, lanes, matrix, needs, place, place4, planes, rows_of,
    vector, whole,
};
use crate::error::Result;
use crate::kernels::shader::params::{Embed, Field, MatMul, RmsNorm, Rope, SelectRows, SiluMul};
use crate::kernels::shader::{self, Kernel, run};
use crate::plan::fuse::Product;
use crate::plan::{Op, RowSet, Slice};

impl Drafts<'_> {
    /// An operation, in runs with at least so many lines.
    pub(super) fn op(&mut self, op: &Op, min_lines: u32) -> Result<()> {
        let (plan, memory) = (self.plan, self.memory);
        let slot = |slice: Slice| whole(memory.slot(slice.buffer));
        let all_rows =
            |slice: Slice| needs(rows_of(plan, slice) == RowSet::All, "needs a line for every row");
        let single = |kernel, groups, buffers, params, rows| Draft {
            buffers,
            params,
            rows,
            min_lines,
            when: When::ALL,
            shapes: vec![Shape::new(kernel, groups)],
            weight_bytes: 0,
            work: Work::NONE,
        };
        match *op {
            Op::Embed { table, out } => {
                all_rows(out)?;
                let (packing, parts) = matrix(memory, table)?;
                let weight = plan.weight(table);
                needs(weight.cols == out.width, "the table's rows are not as long as the output")?;
                let (out_offset, out_stride) = place4(plan, out)?;
                for part in parts {
                    let [quants, scales] = planes(memory, part);
                    let params = Embed {
                        out_offset,
                        out_stride,
                        groups: packing.groups as u32,
                        first_row: part.first_row,
                        n_rows: part.n_rows,
                    };
                    let shape = Shape::new(&shader::EMBED, lanes(packing.groups as u32)).of(&[weight.ty]);
                    self.push(Draft {
                        buffers: vec![quants, scales, slot(out)],
                        params: params.words(),
                        rows: RowSet::All,
                        min_lines,
                        when: When::ALL,
                        shapes: vec![shape],
                        weight_bytes: part.bytes() / u64::from(part.n_rows),
                        work: Work::NONE,
                    });
                }
            }
            Op::MatMul { x, weight, bias, out, accumulate } => {
                let rows = rows_of(plan, out);
                let (packing, parts) = matrix(memory, weight)?;
                let w = plan.weight(weight);
                needs(w.cols == x.width && w.rows == out.width, "matrix and slices differ in shape")?;
                needs(rows_of(plan, x) == rows, "input and output have different rows")?;
                if min_lines <= FEW_LINES {
                    let products = &[Product { weight, bias, out }];
                    self.project(Projection {
                        x,
                        select: false,
                        norm: None,
                        products,
                        gated: false,
                        accumulate,
                    })?;
                }
                let (x_offset, x_stride) = place4(plan, x)?;
                let (out_offset, out_stride) = place(plan, out);
                // Without a bias any read-only buffer will do.
                let bias_values =
                    bias.map_or(Ok(whole(&memory.weights.vectors)), |b| vector(plan, memory, b))?;
                let [few, many] = self.choice.matmul(w.ty);
                for part in parts {
                    let [quants, scales] = planes(memory, part);
                    let params = MatMul {
                        x_offset,
                        x_stride,
                        out_offset,
                        out_stride,
                        groups: packing.groups as u32,
                        first_row: part.first_row,
                        n_rows: part.n_rows,
                        has_bias: u32::from(bias.is_some()),
                        accumulate: u32::from(accumulate),
                        count_at: match rows {
                            RowSet::All => run::N_ROWS,
                            RowSet::Output => run::N_OUTPUTS,
                        } as u32,
                    };
                    let groups = part.n_rows.div_ceil(shader::MATMUL_COLS as u32);
                    let tiled = |kernel: &'static Kernel| {
                        let lines = kernel.constant("lines") as u32;
                        Shape { lines, ..Shape::new(kernel, groups).of(&[w.ty]) }
                    };
                    self.push(Draft {
                        buffers: vec![quants, scales, slot(x), bias_values.clone(), slot(out)],
                        params: params.words(),
                        rows,
                        min_lines: min_lines.max(FEW_LINES + 1),
                        when: When::ALL,
                        shapes: vec![Shape { max_lines: 32, ..tiled(few) }, tiled(many)],
                        weight_bytes: part.bytes(),
                        work: Work { line: u64::from(part.n_rows) * u64::from(w.cols), page: 0 },
                    });
                }
            }
            Op::RmsNorm { x, weight, eps, out } => {
                let rows = rows_of(plan, out);
                let cols = plan.weight(weight).cols;
                needs(x.width == out.width && cols > 0 && x.width.is_multiple_of(cols), "widths do not fit")?;
                needs(rows_of(plan, x) == rows, "input and output have different rows")?;
                needs(cols.is_multiple_of(4), "WebGPU needs groups of a multiple of 4 values")?;
                let ((x_offset, x_stride), (out_offset, out_stride)) = (place4(plan, x)?, place4(plan, out)?);
                let params = RmsNorm { x_offset, x_stride, out_offset, out_stride, cols, eps };
                let buffers = vec![slot(x), vector(plan, memory, weight)?, slot(out)];
                self.push(single(&shader::RMS_NORM, x.width / cols, buffers, params.words(), rows));
            }
            Op::Rope { x, head_dim } => {
                all_rows(x)?;
                let pairs = plan.rope.freqs.len() as u32;
                needs(x.width.is_multiple_of(head_dim) && 2 * pairs <= head_dim, "heads do not fit")?;
                let (x_offset, x_stride) = place(plan, x);
                let n_heads = x.width / head_dim;
                let params = Rope { x_offset, x_stride, head_dim, n_heads, pairs };
                let buffers = vec![whole(&memory.rotations), slot(x)];
                self.push(single(
                    &shader::ROPE,
                    lanes(n_heads * pairs),
                    buffers,
                    params.words(),
                    RowSet::All,
                ));
            }
            Op::StoreKv { layer, k, v } => {
                self.store(&Store { layer, k, v, norm: None, pairs: 0 }, When::ALL)?
            }
            Op::Attention { layer, q, out, n_heads, scale } => {
                let (k, v) = (q, q);
                let norms = [None, None];
                self.attention(&Attend { layer, q, k, v, norms, pairs: 0, out, n_heads, scale }, When::ALL)?;
            }
            Op::SiluMul { gate, up, out } => {
                let rows = rows_of(plan, out);
                needs(gate.width == out.width && up.width == out.width, "widths differ")?;
                needs(rows_of(plan, gate) == rows && rows_of(plan, up) == rows, "rows differ")?;
                let ((gate_offset, gate_stride), (up_offset, up_stride)) =
                    (place4(plan, gate)?, place4(plan, up)?);
                let (out_offset, out_stride) = place4(plan, out)?;
                let width = out.width / 4;
                let params =
                    SiluMul { gate_offset, gate_stride, up_offset, up_stride, out_offset, out_stride, width };
                let buffers = vec![slot(gate), slot(up), slot(out)];
                self.push(single(&shader::SILU_MUL, lanes(width), buffers, params.words(), rows));
            }
            Op::SelectRows { x, out } => {
                all_rows(x)?;
                needs(rows_of(plan, out) == RowSet::Output, "the output has a line for every row")?;
                needs(x.width == out.width, "widths differ")?;
                let ((x_offset, x_stride), (out_offset, out_stride)) = (place4(plan, x)?, place4(plan, out)?);
                let width = out.width / 4;
                let params = SelectRows { x_offset, x_stride, out_offset, out_stride, width };
                let buffers = vec![slot(x), slot(out)];
                self.push(single(
                    &shader::SELECT_ROWS,
                    lanes(width),
                    buffers,
                    params.words(),
                    RowSet::Output,
                ));
            }
        }
        Ok(())
    }
}
