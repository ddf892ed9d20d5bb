//! Lets the products of one input leave their results in one buffer, so that one step can write them all.

use super::{Buffer, BufferId, Op, Plan, RowSet, Slice};

/// A plan with fewer buffers, and where each buffer of the plan before is in it.
#[derive(Debug)]
pub struct Merged {
    pub plan: Plan,
    /// By the id of before.
    pub places: Vec<Slice>,
}

/// Puts the outputs of products that follow one another and read the same input beside each other.
pub fn merge(plan: &Plan) -> Merged {
    let mut group_of: Vec<Option<usize>> = vec![None; plan.buffers.len()];
    let mut n_groups = 0;
    for ops in plan.ops.chunk_by(|a, b| input(a).is_some() && input(a) == input(b)) {
        let mut outs: Vec<BufferId> = Vec::new();
        for id in ops.iter().filter_map(Op::writes) {
            if !outs.contains(&id) {
                outs.push(id);
            }
        }
        if outs.len() > 1 && outs.iter().all(|b| group_of[b.0 as usize].is_none()) && may_join(plan, &outs) {
            outs.iter().for_each(|b| group_of[b.0 as usize] = Some(n_groups));
            n_groups += 1;
        }
    }

    let mut buffers: Vec<Buffer> = Vec::new();
    let mut merged: Vec<Option<BufferId>> = vec![None; n_groups];
    let mut places = Vec::with_capacity(plan.buffers.len());
    for (old, group) in plan.buffers.iter().zip(group_of) {
        let known = group.and_then(|g| merged[g]);
        let place = match known {
            Some(id) => {
                let joined = &mut buffers[id.0 as usize];
                let offset = joined.width;
                joined.width += old.width;
                joined.name = format!("{}+{}", joined.name, old.name);
                Slice { buffer: id, offset, width: old.width }
            }
            None => {
                let id = BufferId(buffers.len() as u32);
                buffers.push(old.clone());
                if let Some(g) = group {
                    merged[g] = Some(id);
                }
                Slice { buffer: id, offset: 0, width: old.width }
            }
        };
        places.push(place);
    }

    let moved = |s: Slice| {
        let place = places[s.buffer.0 as usize];
        Slice { buffer: place.buffer, offset: place.offset + s.offset, width: s.width }
    };
    let mut ops = plan.ops.clone();
    ops.iter_mut().flat_map(Op::slices_mut).for_each(|s| *s = moved(*s));
    let logits = places[plan.logits.0 as usize].buffer;
    Merged { plan: Plan { buffers, ops, logits, ..plan.clone() }, places }
}

/// What a product that does not add to its output reads.
fn input(op: &Op) -> Option<Slice> {
    match *op {
        Op::MatMul { x, accumulate: false, .. } => Some(x),
        _ => None,
    }
}

/// Whether nothing stands against these buffers being one: their lines are those of the same rows, in whole vectors,
/// and no operation reads one of them to write another.
fn may_join(plan: &Plan, buffers: &[BufferId]) -> bool {
    let rows: RowSet = plan.buffer(buffers[0]).rows;
    let fits = |&b: &BufferId| plan.buffer(b).rows == rows && plan.buffer(b).width.is_multiple_of(4);
    let crosses = |op: &Op| {
        let Some(out) = op.writes().filter(|b| buffers.contains(b)) else { return false };
        op.reads().iter().any(|b| *b != out && buffers.contains(b))
    };
    buffers.iter().all(fits) && !buffers.contains(&plan.logits) && !plan.ops.iter().any(crosses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::interpreter::Interpreter;
    use crate::plan::state::PageId;
    use crate::plan::{Batch, Row};
    use crate::quant::GgmlType;
    use crate::testing::TestModel;

    #[test]
    fn a_merged_plan_computes_what_the_plan_before_did() {
        let model = TestModel::new(GgmlType::Q8_0, 5);
        let Merged { plan, places } = merge(&model.plan);
        assert!(plan.buffers.len() < model.plan.buffers.len());
        let mut before = Interpreter::new(&model.plan, &model.weights, 1);
        let mut after = Interpreter::new(&plan, &model.weights, 1);
        let rows: Vec<Row> =
            (0..5).map(|p| Row { token: 3 * p, sequence: 0, position: p, output: p > 2 }).collect();
        let batch = Batch { rows: &rows, tables: &[&[PageId(0)]] };
        before.run(&batch).unwrap();
        after.run(&batch).unwrap();
        for (i, (old, place)) in model.plan.buffers.iter().zip(places).enumerate() {
            let lines = &after.buffers[place.buffer.0 as usize];
            let values = place.of_lines(lines, plan.buffer(place.buffer).width);
            assert_eq!(values, before.buffers[i], "{}", old.name);
        }
    }
}
