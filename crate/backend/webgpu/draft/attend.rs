//! Attention and the write of keys and values to the state.

use super::{Draft, Drafts, Shape, When, Work, needs, place4, rows_of, vector_at, whole};
use crate::error::Result;
use crate::kernels::shader;
use crate::kernels::shader::params::{Attention, Field, Merge, StoreKv};
use crate::plan::fuse::Norm;
use crate::plan::state::PAGE_TOKENS;
use crate::plan::{LayerState, RowSet, Slice};

/// Keys as they come from a product and how they are used, and values.
pub(super) struct Store {
    pub(super) layer: u32,
    pub(super) k: Slice,
    pub(super) v: Slice,
    pub(super) norm: Option<Norm>,
    /// Rotated pairs a head; 0 where they are rotated already.
    pub(super) pairs: u32,
}

/// Attention of queries, and where it is to store them, of keys and values, as they come from a product.
pub(super) struct Attend {
    pub(super) layer: u32,
    pub(super) q: Slice,
    pub(super) k: Slice,
    pub(super) v: Slice,
    /// Of queries and of keys.
    pub(super) norms: [Option<Norm>; 2],
    pub(super) pairs: u32,
    pub(super) out: Slice,
    pub(super) n_heads: u32,
    pub(super) scale: f32,
}

impl<'a> Drafts<'a> {
    /// All of it: in one dispatch where no row of the run is of another's sequence, else in two; in one more where
    /// several workgroups share the pages of a row.
    pub(super) fn attend(&mut self, a: &Attend) -> Result<()> {
        let &Attend { layer, k, v, norms: [_, norm], pairs, .. } = a;
        let together = When { apart: Some(false), ..When::ALL };
        self.store(&Store { layer, k, v, norm, pairs }, together)?;
        for (apart, tiled) in [(true, false), (false, false), (false, true)] {
            for split in [true, false] {
                let when = When { apart: Some(apart), tiled: Some(tiled), split: Some(split) };
                self.attention(a, when)?;
            }
        }
        let LayerState::Attention { head_dim, .. } = self.plan.layers[layer as usize];
        let (out_offset, out_stride) = place4(self.plan, a.out)?;
        let params = Merge { n_heads: a.n_heads, head_dim: head_dim / 4, out_offset, out_stride };
        let buffers = vec![whole(&self.memory.parts), whole(self.memory.slot(a.out.buffer))];
        let when = When { split: Some(true), ..When::ALL };
        self.dispatch_heads(Shape::new(&shader::MERGE, a.n_heads), buffers, params.words(), when, Work::NONE);
        Ok(())
    }

    /// Attention; it stores the row's own key and value in runs whose rows are known to be apart, and takes tiles of rows
    /// in those known to be of one sequence.
    pub(super) fn attention(&mut self, a: &Attend, when: When) -> Result<()> {
        let (plan, memory) = (self.plan, self.memory);
        let LayerState::Attention { n_kv_heads, head_dim } = plan.layers[a.layer as usize];
        let state = &memory.state[a.layer as usize];
        let all = [a.q, a.k, a.v, a.out].iter().all(|s| rows_of(plan, *s) == RowSet::All);
        needs(all, "needs a line for every row")?;
        needs(a.q.width == a.n_heads * head_dim && a.out.width == a.q.width, "heads do not fit")?;
        needs(a.pairs.is_multiple_of(4), "rotated pairs of a head are not whole vectors")?;
        needs(a.n_heads.is_multiple_of(n_kv_heads), "query heads are not a multiple of key heads")?;
        let split = when.split == Some(true);
        let (own, tiled) = (when.apart == Some(true), when.tiled == Some(true));
        let (q_offset, x_stride) = place4(plan, a.q)?;
        let (out_offset, out_stride) = place4(plan, a.out)?;
        let [q_norm, k_norm] = a.norms;
        let (q_norm_at, q_eps) = self.norm(q_norm)?;
        let (k_norm_at, k_eps) = self.norm(k_norm)?;
        let params = Attention {
            x_stride,
            q_offset,
            k_offset: place4(plan, a.k)?.0,
            v_offset: place4(plan, a.v)?.0,
            out_offset,
            out_stride,
            n_heads: a.n_heads,
            n_kv_heads,
            head_dim: head_dim / 4,
            scale: a.scale,
            pairs: a.pairs,
            q_normed: u32::from(q_norm.is_some()),
            q_norm_at,
            q_eps,
            k_normed: u32::from(k_norm.is_some()),
            k_norm_at,
            k_eps,
            split: u32::from(split),
        };
        let buffers = vec![
            whole(memory.slot(a.q.buffer)),
            whole(&memory.weights.vectors),
            whole(&memory.rotations),
            whole(&state.keys),
            whole(&state.values),
            whole(&state.scales),
            whole(if split { &memory.parts } else { memory.slot(a.out.buffer) }),
        ];
        let group = a.n_heads / n_kv_heads;
        let kernel = match (tiled, own, group <= 2) {
            (true, ..) if head_dim <= 64 => &shader::TILED_ATTENTION_64,
            (true, ..) if head_dim <= 128 => &shader::TILED_ATTENTION_128,
            (true, ..) => &shader::TILED_ATTENTION_256,
            (false, false, true) => &shader::ATTENTION_2,
            (false, false, false) => &shader::ATTENTION_4,
            (false, true, true) => &shader::OWN_ATTENTION_2,
            (false, true, false) => &shader::OWN_ATTENTION_4,
        };
        let queries = kernel.constant("queries") as u32;
        // As many rows as a tile has queries are a tile a head.
        let (groups, lines) =
            if tiled { (a.n_heads, queries) } else { (n_kv_heads * group.div_ceil(queries), 1) };
        let shape = Shape { lines, shares: split, ..Shape::new(kernel, groups) };
        // Of queries and keys, and of what they give and values.
        let work = Work { line: 0, page: 2 * u64::from(a.q.width) * PAGE_TOKENS as u64 };
        self.dispatch_heads(shape, buffers, params.words(), when, work);
        Ok(())
    }

    pub(super) fn store(&mut self, s: &Store, when: When) -> Result<()> {
        let (plan, memory) = (self.plan, self.memory);
        let LayerState::Attention { n_kv_heads, head_dim } = plan.layers[s.layer as usize];
        let state = &memory.state[s.layer as usize];
        let all = [s.k, s.v].iter().all(|s| rows_of(plan, *s) == RowSet::All);
        needs(all, "needs a line for every row")?;
        let fits = s.k.width == n_kv_heads * head_dim && s.v.width == s.k.width;
        needs(fits, "keys and values do not fit the state")?;
        needs(s.pairs.is_multiple_of(4), "rotated pairs of a head are not whole vectors")?;
        let ((k_offset, k_stride), (v_offset, v_stride)) = (place4(plan, s.k)?, place4(plan, s.v)?);
        let (norm_at, eps) = self.norm(s.norm)?;
        let params = StoreKv {
            k_offset,
            k_stride,
            v_offset,
            v_stride,
            n_kv_heads,
            head_dim: head_dim / 4,
            pairs: s.pairs,
            normed: u32::from(s.norm.is_some()),
            norm_at,
            eps,
        };
        let buffers = vec![
            whole(memory.slot(s.k.buffer)),
            whole(memory.slot(s.v.buffer)),
            whole(&memory.weights.vectors),
            whole(&memory.rotations),
            whole(&state.keys),
            whole(&state.values),
            whole(&state.scales),
        ];
        let shape = Shape::new(&shader::STORE_KV, n_kv_heads);
        self.dispatch_heads(shape, buffers, params.words(), when, Work::NONE);
        Ok(())
    }

    /// Where a norm's weight starts, in `vec4<f32>`, and what it adds.
    pub(super) fn norm(&self, norm: Option<Norm>) -> Result<(u32, f32)> {
        match norm {
            Some(norm) => Ok(((vector_at(self.memory, norm.weight)? / 16) as u32, norm.eps)),
            None => Ok((0, 0.0)),
        }
    }

    fn dispatch_heads(
        &mut self,
        shape: Shape,
        buffers: Vec<wgpu::BufferBinding<'a>>,
        params: Vec<u32>,
        when: When,
        work: Work,
    ) {
        let (rows, shapes) = (RowSet::All, vec![shape]);
        self.push(Draft { buffers, params, rows, min_lines: 1, when, shapes, weight_bytes: 0, work });
    }
}
