//! Rewrites a plan into steps of several operations each, for backends to which every step has a price.
//!
//! What a step passes from one of its operations to the next is not written anywhere: its buffers are not of use to
//! operations outside of the step. The operations that make a step up stay beside it, for runs to which they suit better.

use std::ops::Range;

use super::{BufferId, Op, Plan, RowSet, Slice, WeightId};

/// A root-mean-square norm on the way into a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    pub weight: WeightId,
    pub eps: f32,
}

/// `out = weight · x (+ bias)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    pub weight: WeightId,
    pub bias: Option<WeightId>,
    pub out: Slice,
}

/// What one step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Fusion {
    /// The operation as it is.
    Single,
    /// Products of one input, which is normed first where there is a norm; all outputs are in one buffer.
    Project {
        x: Slice,
        /// The lines of `x` are those of all rows, the output's those of the rows that ask for logits.
        select: bool,
        norm: Option<Norm>,
        products: Vec<Product>,
        accumulate: bool,
    },
    /// `out = silu(gate · x) * (up · x)` of a normed `x`.
    Gated { x: Slice, norm: Norm, gate: WeightId, up: WeightId, out: Slice },
    /// Queries and keys, normed where there is a norm and rotated, then attention; the row's key and value go to the
    /// state. All of `q`, `k` and `v` are in one buffer.
    Attend {
        layer: u32,
        q: Slice,
        k: Slice,
        v: Slice,
        q_norm: Option<Norm>,
        k_norm: Option<Norm>,
        head_dim: u32,
        out: Slice,
        n_heads: u32,
        scale: f32,
    },
}

/// Neighbouring operations and how they are one.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Indices into the plan's operations.
    pub ops: Range<usize>,
    pub fusion: Fusion,
}

impl Step {
    /// Buffers that the step reads.
    pub fn reads(&self, plan: &Plan) -> Vec<BufferId> {
        match &self.fusion {
            Fusion::Single => plan.ops[self.ops.start].reads(),
            Fusion::Project { x, products, accumulate, .. } => {
                let out = accumulate.then(|| products[0].out.buffer);
                std::iter::once(x.buffer).chain(out).collect()
            }
            Fusion::Gated { x, .. } => vec![x.buffer],
            Fusion::Attend { q, .. } => vec![q.buffer],
        }
    }

    /// The buffer that the step writes, if any.
    pub fn writes(&self, plan: &Plan) -> Option<BufferId> {
        match &self.fusion {
            Fusion::Single => plan.ops[self.ops.start].writes(),
            Fusion::Project { products, .. } => Some(products[0].out.buffer),
            Fusion::Gated { out, .. } | Fusion::Attend { out, .. } => Some(out.buffer),
        }
    }
}

impl Step {
    /// Buffers that the operations of the step write and the step does not.
    pub fn passes(&self, plan: &Plan) -> Vec<BufferId> {
        let writes = self.writes(plan);
        let all = plan.ops[self.ops.clone()].iter().filter_map(Op::writes);
        all.filter(|id| Some(*id) != writes).collect()
    }
}

/// Every operation as a step of its own.
pub fn single(plan: &Plan) -> Vec<Step> {
    (0..plan.ops.len()).map(|i| Step { ops: i..i + 1, fusion: Fusion::Single }).collect()
}

/// The steps of a plan; every operation is in one of them, in order.
pub fn fuse(plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < plan.ops.len() {
        let found = attend(plan, at).or_else(|| project(plan, at));
        let step = found.unwrap_or(Step { ops: at..at + 1, fusion: Fusion::Single });
        at = step.ops.end;
        steps.push(step);
    }
    steps
}

/// Whether no operation but those of `ops` has to do with these buffers.
fn is_private(plan: &Plan, ops: &Range<usize>, buffers: &[BufferId]) -> bool {
    let uses = |op: &Op| op.reads().into_iter().chain(op.writes()).any(|b| buffers.contains(&b));
    let outside = plan.ops[..ops.start].iter().chain(&plan.ops[ops.end..]);
    !buffers.contains(&plan.logits) && !outside.into_iter().any(uses)
}

/// (Selected lines,) a norm of the whole line, products of it, (their gate): as many of them as follow one another.
fn project(plan: &Plan, start: usize) -> Option<Step> {
    let ops = &plan.ops;
    let mut at = start;
    let mut between = Vec::new();
    let mut source = None;
    if let Op::SelectRows { x, out } = ops[at] {
        (source, between) = (Some((x, out)), vec![out.buffer]);
        at += 1;
    }
    let select = source.is_some();
    let mut norm = None;
    if let Some(&Op::RmsNorm { x, weight, eps, out }) = ops.get(at) {
        let follows = source.is_none_or(|(_, passed)| passed == x);
        if !follows || plan.weight(weight).cols != x.width {
            return None;
        }
        norm = Some(Norm { weight, eps });
        between.push(out.buffer);
        source = Some((source.map_or(x, |(from, _)| from), out));
        at += 1;
    }

    let Some(&Op::MatMul { x: input, out: first, accumulate, .. }) = ops.get(at) else { return None };
    if source.is_some_and(|(_, passed)| passed != input) {
        return None;
    }
    let mut products = Vec::new();
    while let Some(&Op::MatMul { x, weight, bias, out, accumulate: a }) = ops.get(at) {
        let alone = accumulate && !products.is_empty();
        if x != input || a != accumulate || out.buffer != first.buffer || alone {
            break;
        }
        products.push(Product { weight, bias, out });
        at += 1;
    }
    let x = source.map_or(input, |(from, _)| from);
    if x.buffer == first.buffer {
        return None;
    }
    if let (&[gate, up], Some(norm), false, Some(&Op::SiluMul { gate: g, up: u, out })) =
        (products.as_slice(), norm, select, ops.get(at))
    {
        let plain = gate.bias.is_none() && up.bias.is_none() && (g, u) == (gate.out, up.out);
        let (ops, mut between) = (start..at + 1, between.clone());
        between.push(first.buffer);
        if plain && out.buffer != x.buffer && is_private(plan, &ops, &between) {
            let fusion = Fusion::Gated { x, norm, gate: gate.weight, up: up.weight, out };
            return Some(Step { ops, fusion });
        }
    }
    let ops = start..at;
    let fusion = Fusion::Project { x, select, norm, products, accumulate };
    is_private(plan, &ops, &between).then_some(Step { ops, fusion })
}

/// Norms and rotations of queries and keys, the write to the state, attention.
fn attend(plan: &Plan, start: usize) -> Option<Step> {
    let store =
        (start..plan.ops.len()).find(|&i| !matches!(plan.ops[i], Op::RmsNorm { .. } | Op::Rope { .. }))?;
    let (Some(&Op::StoreKv { layer, k, v }), Some(&Op::Attention { layer: read, q, out, n_heads, scale })) =
        (plan.ops.get(store), plan.ops.get(store + 1))
    else {
        return None;
    };
    let head_dim = plan.layers[layer as usize].head_dim();
    let mut heads = [Heads::new(q), Heads::new(k)];
    // Backwards, from what attention reads to where it came from.
    for op in plan.ops[start..store].iter().rev() {
        if !heads.iter_mut().any(|h| h.take(plan, op, head_dim)) {
            return None;
        }
    }
    let [q, k] = heads;
    let fits = layer == read
        && q.rotated
        && k.rotated
        && q.source.buffer == v.buffer
        && k.source.buffer == v.buffer
        && out.buffer != v.buffer
        && plan.buffer(v.buffer).rows == RowSet::All
        // Four values are rotated at once, with four others.
        && plan.rope.freqs.len().is_multiple_of(4);
    let ops = start..store + 2;
    let between: Vec<BufferId> = [&q, &k].into_iter().flat_map(|h| h.between.iter().copied()).collect();
    // The step does not write what it rotates back to where it was.
    let is_last = !plan.ops[ops.end..].iter().any(|op| op.reads().contains(&v.buffer));
    let fusion = Fusion::Attend {
        layer,
        q: q.source,
        k: k.source,
        v,
        q_norm: q.norm,
        k_norm: k.norm,
        head_dim,
        out,
        n_heads,
        scale,
    };
    (fits && is_last && is_private(plan, &ops, &between)).then_some(Step { ops, fusion })
}

/// Queries or keys, followed from where they are used to where they come from.
struct Heads {
    source: Slice,
    rotated: bool,
    norm: Option<Norm>,
    between: Vec<BufferId>,
}

impl Heads {
    fn new(source: Slice) -> Self {
        Self { source, rotated: false, norm: None, between: Vec::new() }
    }

    /// Whether the operation is the one before what is known.
    fn take(&mut self, plan: &Plan, op: &Op, dim: u32) -> bool {
        match *op {
            Op::Rope { x, head_dim } if x == self.source && head_dim == dim && !self.rotated => {
                self.rotated = self.norm.is_none();
                self.rotated
            }
            Op::RmsNorm { x, weight, eps, out } if out == self.source && self.norm.is_none() => {
                let each_head = plan.weight(weight).cols == dim;
                self.norm = Some(Norm { weight, eps });
                self.between.push(out.buffer);
                self.source = x;
                each_head
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Outline};
    use crate::plan::merge::merge;

    fn plan(architecture: &str) -> Plan {
        let outline = Outline {
            architecture: architecture.into(),
            layers: 3,
            hidden_size: 256,
            intermediate_size: 512,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            vocab: 100,
            context_length: 64,
            tied: true,
            quantization: "Q8_0".into(),
        };
        Model::from_outline(&outline).unwrap().plan
    }

    #[test]
    fn a_layer_is_five_steps() {
        for architecture in ["qwen2", "qwen3"] {
            let plan = merge(&plan(architecture)).plan;
            let steps = fuse(&plan);
            assert_eq!(steps.len(), 1 + 5 * 3 + 1, "{steps:#?}");
            let ops: Vec<usize> = steps.iter().flat_map(|s| s.ops.clone()).collect();
            assert_eq!(ops, (0..plan.ops.len()).collect::<Vec<_>>());
            let (mut attended, mut projected, mut gated) = (0, 0, 0);
            for step in &steps {
                match &step.fusion {
                    Fusion::Attend { q_norm, k_norm, .. } => {
                        let normed = architecture == "qwen3";
                        assert_eq!((q_norm.is_some(), k_norm.is_some()), (normed, normed));
                        attended += 1;
                    }
                    Fusion::Project { products, norm: Some(_), .. } if products.len() == 3 => projected += 1,
                    Fusion::Gated { .. } => gated += 1,
                    _ => {}
                }
            }
            assert_eq!((attended, projected, gated), (3, 3, 3));
        }
    }

    #[test]
    fn pairs_that_are_not_whole_vectors_are_rotated_apart() {
        let mut plan = merge(&plan("qwen3")).plan;
        plan.rope.freqs.truncate(30);
        let attends = |s: &Step| matches!(s.fusion, Fusion::Attend { .. });
        assert!(!fuse(&plan).iter().any(attends));
        plan.rope.freqs.truncate(28);
        assert!(fuse(&plan).iter().any(attends));
    }

    #[test]
    fn what_others_read_is_not_passed_by() {
        let plan = merge(&plan("qwen3")).plan;
        for (i, op) in plan.ops.iter().enumerate() {
            // Another reader of what the operation leaves, at the end.
            let (Some(out), false) = (op.writes(), i + 1 == plan.ops.len()) else { continue };
            let mut plan = plan.clone();
            let (width, rows) = (plan.buffer(out).width, plan.buffer(out).rows);
            let x = Slice { buffer: out, offset: 0, width };
            plan.buffers.push(crate::plan::Buffer { name: "copy".into(), width, rows });
            let copy = Slice { buffer: BufferId(plan.buffers.len() as u32 - 1), offset: 0, width };
            plan.ops.push(Op::SiluMul { gate: x, up: x, out: copy });
            for step in fuse(&plan) {
                assert!(!step.passes(&plan).contains(&out), "{step:?} passes by what {op:?} writes");
            }
        }
    }
}
