//! Which buffers may share memory: a buffer lives from its first write to its last read.

use super::fuse::Step;
use super::{BufferId, Plan, RowSet};

/// Memory that several buffers take turns in: `width` f32 values a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub width: u32,
    pub rows: RowSet,
}

/// A slot for every buffer of a plan.
#[derive(Debug, Clone)]
pub struct Layout {
    pub slots: Vec<Slot>,
    /// Index into `slots`, by buffer.
    pub slot_of: Vec<usize>,
}

impl Layout {
    /// Every buffer has memory of its own, so that any of them can be read after a run.
    pub fn separate(plan: &Plan) -> Self {
        Self {
            slots: plan.buffers.iter().map(|b| Slot { width: b.width, rows: b.rows }).collect(),
            slot_of: (0..plan.buffers.len()).collect(),
        }
    }

    /// Buffers whose lives do not overlap share a slot of their row set; the logits keep their own. That holds for the
    /// plan's operations and for these steps of them, which read until their last operation what their first one reads.
    pub fn shared(plan: &Plan, steps: &[Step]) -> Self {
        let n = plan.buffers.len();
        let mut last_use = vec![0usize; n];
        for (i, op) in plan.ops.iter().enumerate() {
            for id in op.reads().into_iter().chain(op.writes()) {
                last_use[id.0 as usize] = i;
            }
        }
        for step in steps {
            for id in step.reads(plan) {
                let last = &mut last_use[id.0 as usize];
                *last = (*last).max(step.ops.end - 1);
            }
        }
        last_use[plan.logits.0 as usize] = usize::MAX;

        let mut slots: Vec<Slot> = Vec::new();
        let mut busy_until: Vec<Option<usize>> = Vec::new();
        let mut slot_of = vec![usize::MAX; n];
        for (i, op) in plan.ops.iter().enumerate() {
            let Some(BufferId(b)) = op.writes() else { continue };
            let b = b as usize;
            if slot_of[b] != usize::MAX {
                continue;
            }
            let buffer = &plan.buffers[b];
            // Strictly before this operation: an output never takes the memory of one of its inputs.
            let free = (0..slots.len())
                .filter(|&s| slots[s].rows == buffer.rows && busy_until[s].is_none_or(|u| u < i))
                .min_by_key(|&s| slots[s].width.abs_diff(buffer.width));
            let s = free.unwrap_or_else(|| {
                slots.push(Slot { width: 0, rows: buffer.rows });
                busy_until.push(None);
                slots.len() - 1
            });
            slots[s].width = slots[s].width.max(buffer.width);
            busy_until[s] = Some(last_use[b]);
            slot_of[b] = s;
        }
        // A buffer that no operation writes has no place in a plan; give it one rather than an index out of range.
        for (slot, buffer) in slot_of.iter_mut().zip(&plan.buffers) {
            if *slot == usize::MAX {
                slots.push(Slot { width: buffer.width, rows: buffer.rows });
                *slot = slots.len() - 1;
            }
        }
        Self { slots, slot_of }
    }

    pub fn slot(&self, id: BufferId) -> usize {
        self.slot_of[id.0 as usize]
    }
}
