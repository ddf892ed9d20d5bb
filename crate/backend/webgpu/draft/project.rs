//! Products with few lines: of one weight or several, of a line as it is or normed on the way.

use super::{
    Draft, Drafts, FEW_LINES, Shape, When, Work, matrix, needs, place, place4, planes, rows_of, vector_at,
    whole,
};
use crate::backend::webgpu::arrange::Part;
use crate::error::Result;
use crate::kernels::shader::Kernel;
use crate::kernels::shader::params::{Field, MatVec, Segment};
use crate::plan::fuse::{Norm, Product};
use crate::plan::{RowSet, Slice};
use crate::quant::GgmlType;

/// Products of one input, as [`crate::plan::fuse::Fusion`] has them.
pub(super) struct Projection<'p> {
    pub(super) x: Slice,
    pub(super) select: bool,
    pub(super) norm: Option<Norm>,
    pub(super) products: &'p [Product],
    /// The first product is the gate of the second; both have the same output.
    pub(super) gated: bool,
    pub(super) accumulate: bool,
}

/// Weights that a dispatch can read.
const MAX_SEGMENTS: usize = 3;

impl Drafts<'_> {
    /// Whether it can be done: several weights have to lie in one buffer.
    pub(super) fn project(&mut self, p: Projection<'_>) -> Result<bool> {
        let memory = self.memory;
        let out_rows = rows_of(self.plan, p.products[0].out);
        needs(rows_of(self.plan, p.x) == if p.select { RowSet::All } else { out_rows }, "rows differ")?;
        for product in p.products {
            let w = self.plan.weight(product.weight);
            needs(w.cols == p.x.width && w.rows == product.out.width, "matrix and slices differ in shape")?;
        }
        if let [product] = p.products {
            // A weight in parts has a dispatch a part.
            for part in matrix(memory, product.weight)?.1 {
                self.dispatch(&p, &[*part])?;
            }
            return Ok(true);
        }
        let mut parts: Vec<Part> = Vec::new();
        for product in p.products {
            parts.extend(matrix(memory, product.weight)?.1);
        }
        let together = parts.iter().all(|part| part.buffer == parts[0].buffer);
        if parts.len() != p.products.len() || parts.len() > MAX_SEGMENTS || !together {
            return Ok(false);
        }
        self.dispatch(&p, &parts)?;
        Ok(true)
    }

    /// Of these parts, one a product.
    fn dispatch(&mut self, p: &Projection<'_>, parts: &[Part]) -> Result<()> {
        let (plan, memory) = (self.plan, self.memory);
        let mut formats: Vec<GgmlType> = Vec::new();
        for product in p.products {
            let ty = plan.weight(product.weight).ty;
            if !formats.contains(&ty) {
                formats.push(ty);
            }
        }
        let rows = p.products.iter().map(|product| plan.weight(product.weight).stands_for);
        let forms = self.choice.matvec(rows.sum(), &formats);
        let kernel = match (p.gated, p.norm) {
            (true, _) => &forms.gated,
            (false, Some(_)) => &forms.normed,
            (false, None) => &forms.plain,
        };
        let first = p.products[0];
        let mut segments = [Segment::NONE; MAX_SEGMENTS];
        let mut groups = 0;
        for ((segment, product), part) in segments.iter_mut().zip(p.products).zip(parts) {
            let ty = plan.weight(product.weight).ty;
            let bias = product.bias.map(|b| vector_at(memory, b)).transpose()?;
            *segment = Segment {
                first_group: if p.gated { 0 } else { groups },
                n_rows: part.n_rows,
                format: formats.iter().position(|f| *f == ty).unwrap_or(0) as u32,
                // In the units of the kernel's bindings.
                quants_at: (part.quants_at / 16) as u32,
                scales_at: (part.scales_at / 4) as u32,
                has_bias: u32::from(bias.is_some()),
                bias_at: (bias.unwrap_or(0) / 4) as u32 + part.first_row,
                out_offset: place(plan, product.out).0 + part.first_row,
            };
            groups = if p.gated { 0 } else { groups } + workgroups(kernel, part.n_rows);
        }
        let weights = if let [part] = parts {
            // Bound where they are: the buffer may be larger than a binding.
            (segments[0].quants_at, segments[0].scales_at) = (0, 0);
            planes(memory, part)
        } else {
            let buffer = whole(&memory.weights.buffers[parts[0].buffer]);
            [buffer.clone(), buffer]
        };
        let (x_offset, x_stride) = place4(plan, p.x)?;
        let (norm_at, eps) = self.norm(p.norm)?;
        let [segment0, segment1, segment2] = segments;
        let params = MatVec {
            segment0,
            segment1,
            segment2,
            x_offset,
            x_stride,
            out_stride: place(plan, first.out).1,
            groups: matrix(memory, first.weight)?.0.groups as u32,
            norm_at,
            eps,
            select: u32::from(p.select),
            accumulate: u32::from(p.accumulate),
        };
        let [quants, scales] = weights;
        let slot = |slice: Slice| whole(memory.slot(slice.buffer));
        self.push(Draft {
            buffers: vec![quants, scales, slot(p.x), whole(&memory.weights.vectors), slot(first.out)],
            params: params.words(),
            rows: rows_of(plan, first.out),
            min_lines: 1,
            when: When::ALL,
            shapes: vec![Shape { max_lines: FEW_LINES, ..Shape::new(kernel, groups).of(&formats) }],
            weight_bytes: parts.iter().map(Part::bytes).sum(),
            work: Work {
                line: parts.iter().map(|part| u64::from(part.n_rows)).sum::<u64>() * u64::from(p.x.width),
                page: 0,
            },
        });
        Ok(())
    }
}

fn workgroups(kernel: &Kernel, n_rows: u32) -> u32 {
    n_rows.div_ceil((kernel.constant("lanes") * kernel.constant("tiles")) as u32)
}
