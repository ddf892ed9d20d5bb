//! Everything that a prepared plan keeps on the GPU: weights, activations, state, run data, read-back.

use super::device::Gpu;
use super::weights::{Room, Stored};
use crate::backend::RunLimits;
use crate::error::{Code, Error, Result};
use crate::kernels::shader::run;
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{BufferId, LayerState, Layout, Plan, Rope, RowSet};

/// Keys and values of a layer, all pages.
#[derive(Debug)]
pub(super) struct State {
    pub(super) keys: wgpu::Buffer,
    pub(super) values: wgpu::Buffer,
    /// Bytes of a page in each.
    pub(super) page_bytes: u64,
}

impl State {
    pub(super) fn buffers(&self) -> [&wgpu::Buffer; 2] {
        [&self.keys, &self.values]
    }

    pub(super) fn page_at(&self, page: PageId) -> u64 {
        u64::from(page.0) * self.page_bytes
    }
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) weights: Vec<Stored>,
    slots: Vec<wgpu::Buffer>,
    layout: Layout,
    pub(super) state: Vec<State>,
    pub(super) rotations: wgpu::Buffer,
    /// What differs from run to run.
    pub(super) run: wgpu::Buffer,
    /// Logits on their way back.
    pub(super) readback: wgpu::Buffer,
    /// A page on its way from one place of a buffer to another: WebGPU copies only between buffers.
    pub(super) page: wgpu::Buffer,
    /// Bound where a kernel's buffer is not used.
    pub(super) unused: wgpu::Buffer,
    pub(super) bytes: u64,
    pub(super) n_buffers: u64,
}

/// Positions up to this many are rotated by the first table alone.
const ROTATIONS_LOW: usize = 256;

/// cos and sin, in f64 until the last step: positions 0..256, then multiples of 256, `pairs` entries each. Only the
/// first carries the scale, as the shader multiplies the two.
fn rotations(rope: &Rope, positions: usize) -> Vec<f32> {
    let low = (0..ROTATIONS_LOW).map(|p| (p, f64::from(rope.scale)));
    let high = (0..positions.div_ceil(ROTATIONS_LOW)).map(|p| (p * ROTATIONS_LOW, 1.0));
    let mut table = Vec::new();
    for (position, scale) in low.chain(high) {
        for freq in &rope.freqs {
            let (sin, cos) = (position as f64 * freq).sin_cos();
            table.extend([(cos * scale) as f32, (sin * scale) as f32]);
        }
    }
    table
}

impl Memory {
    pub(super) fn new(
        gpu: &Gpu,
        plan: &Plan,
        limits: RunLimits,
        room: Room,
        for_weights: Room,
    ) -> Result<Self> {
        let storage = wgpu::BufferUsages::STORAGE;
        let copied = storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let fits = |bytes: u64, what: &str, hint: &str| {
            if bytes <= room.binding.min(room.buffer) {
                return Ok(bytes);
            }
            let most = room.binding.min(room.buffer);
            Err(Error::new(
                Code::OutOfMemory,
                format!("{what} need {bytes} bytes, this GPU binds {most}: {hint}"),
            ))
        };

        let weights =
            plan.weights.iter().map(|w| Stored::new(gpu, w, for_weights)).collect::<Result<Vec<_>>>()?;

        let layout = if limits.keep_buffers { Layout::separate(plan) } else { Layout::shared(plan) };
        let mut slots = Vec::with_capacity(layout.slots.len());
        for slot in &layout.slots {
            let rows = match slot.rows {
                RowSet::All => limits.max_rows,
                RowSet::Output => limits.max_outputs,
            };
            let bytes = fits(rows as u64 * u64::from(slot.width) * 4, "activations", "use fewer rows a run")?;
            slots.push(gpu.buffer("activations", bytes, copied));
        }

        let mut state = Vec::with_capacity(plan.layers.len());
        for layer in &plan.layers {
            let LayerState::Attention { n_kv_heads, head_dim } = *layer;
            if head_dim % 4 != 0 || head_dim == 0 || head_dim > 256 || n_kv_heads == 0 {
                let what =
                    format!("WebGPU needs heads of a multiple of 4 values, at most 256, not {head_dim}");
                return Err(Error::new(Code::InvalidModel, what));
            }
            let page_bytes = PAGE_TOKENS as u64 * u64::from(n_kv_heads * head_dim) * 4;
            let bytes = fits(page_bytes * limits.n_pages as u64, "keys of a layer", "use a shorter context")?;
            let keys = gpu.buffer("keys", bytes, copied);
            let values = gpu.buffer("values", bytes, copied);
            state.push(State { keys, values, page_bytes });
        }

        let table = rotations(&plan.rope, limits.n_pages * PAGE_TOKENS);
        let table: &[u8] = bytemuck::cast_slice(&table);
        fits(table.len() as u64, "rotations", "use a shorter context")?;
        let rotations = gpu.buffer("rotations", table.len() as u64, storage | wgpu::BufferUsages::COPY_DST);
        if !table.is_empty() {
            gpu.queue.write_buffer(&rotations, 0, table);
        }

        let words = run::ROWS_AT
            + run::ROW_WORDS * limits.max_rows
            + limits.max_outputs
            + limits.max_sequences * limits.n_pages;
        let run = gpu.buffer("run", words as u64 * 4, storage | wgpu::BufferUsages::COPY_DST);

        let logits = limits.max_outputs as u64 * u64::from(plan.buffer(plan.logits).width) * 4;
        let to_host = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = gpu.buffer("logits read back", logits, to_host);
        let largest_page = state.iter().map(|s| s.page_bytes).max().unwrap_or(0);
        let page =
            gpu.buffer("page", largest_page, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST);
        let unused = gpu.buffer("unused", 16, storage);

        let small = [&rotations, &run, &readback, &page, &unused];
        let buffers = weights
            .iter()
            .flat_map(Stored::buffers)
            .chain(&slots)
            .chain(state.iter().flat_map(State::buffers))
            .chain(small);
        let (bytes, n_buffers) = buffers.fold((0, 0), |(bytes, n), b| (bytes + b.size(), n + 1));
        Ok(Self { weights, slots, layout, state, rotations, run, readback, page, unused, bytes, n_buffers })
    }

    pub(super) fn slot(&self, id: BufferId) -> &wgpu::Buffer {
        &self.slots[self.layout.slot(id)]
    }

    /// Bytes of a page over all layers.
    pub(super) fn page_bytes(&self) -> u64 {
        self.state.iter().map(|s| 2 * s.page_bytes).sum()
    }
}
