//! Everything that a prepared plan keeps on the GPU: weights, activations, state, run data, read-back.

use super::arrange::{Arrangement, Room};
use super::device::{Buffer, Gpu, buffer_size};
use super::sampling;
use super::weights::Weights;
use crate::backend::{Footprint, RunLimits};
use crate::error::{Code, Error, Result};
use crate::kernels::attention::{MAX_PARTS, splits};
use crate::kernels::shader::run;
use crate::plan::fuse::{self, Fusion, Step};
use crate::plan::merge::merge;
use crate::plan::state::PAGE_TOKENS;
use crate::plan::{BufferId, LayerState, Layout, Plan, Rope, Slot};

/// Keys and values of a layer, all pages: integers and their scales.
#[derive(Debug)]
pub(super) struct State {
    pub(super) keys: Buffer,
    pub(super) values: Buffer,
    pub(super) scales: Buffer,
    pages: Pages,
}

/// Bytes of one page of a layer.
#[derive(Debug, Clone, Copy)]
struct Pages {
    /// Of keys, and as much of values.
    integers: u64,
    scales: u64,
}

impl Pages {
    fn each(self) -> [u64; 3] {
        [self.integers, self.integers, self.scales]
    }
}

impl State {
    /// Each buffer, and the bytes of a page in it.
    pub(super) fn buffers(&self) -> impl Iterator<Item = (&Buffer, u64)> {
        [&self.keys, &self.values, &self.scales].into_iter().zip(self.pages.each())
    }
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) weights: Weights,
    slots: Vec<Buffer>,
    layout: Layout,
    pub(super) state: Vec<State>,
    pub(super) rotations: Buffer,
    /// What differs from run to run.
    pub(super) run: Buffer,
    /// Logits on their way back.
    pub(super) readback: Buffer,
    /// A page on its way from one place of a buffer to another: WebGPU copies only between buffers.
    pub(super) page: Buffer,
    /// What workgroups that share the pages of a row leave for each other.
    pub(super) parts: Buffer,
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

/// Bytes of everything that [`Memory`] holds.
#[derive(Debug)]
struct Sizes {
    layout: Layout,
    /// By slot of the layout.
    slots: Vec<u64>,
    /// By layer.
    pages: Vec<Pages>,
    parts: u64,
    rotations: u64,
    run: u64,
    logits: u64,
    page: u64,
}

impl Sizes {
    /// # Errors
    /// `out-of-memory` for what is larger than the GPU binds, `invalid-model` for heads that the kernels do not take.
    fn new(plan: &Plan, steps: &[Step], limits: RunLimits, room: Room) -> Result<Self> {
        let fits = |bytes: u64, what: &str, hint: &str| {
            if bytes <= room.most() {
                return Ok(bytes);
            }
            Err(Error::new(
                Code::OutOfMemory,
                format!("{what} need {bytes} bytes, this GPU binds {}: {hint}", room.most()),
            ))
        };
        let layout = if limits.keep_buffers { Layout::separate(plan) } else { Layout::shared(plan, steps) };
        let slot = |slot: &Slot| {
            let bytes = limits.lines(slot.rows) as u64 * u64::from(slot.width) * 4;
            fits(bytes, "activations", "use fewer rows a run")
        };
        let slots = layout.slots.iter().map(slot).collect::<Result<_>>()?;
        let layer = |layer: &LayerState| {
            let LayerState::Attention { n_kv_heads, head_dim } = *layer;
            if head_dim % 8 != 0 || head_dim == 0 || head_dim > 256 || n_kv_heads == 0 {
                let what =
                    format!("WebGPU needs heads of a multiple of 8 values, at most 256, not {head_dim}");
                return Err(Error::new(Code::InvalidModel, what));
            }
            let heads = PAGE_TOKENS as u64 * u64::from(n_kv_heads);
            // Two bytes a value; two scales of four bytes.
            let pages = Pages { integers: heads * u64::from(head_dim) * 2, scales: heads * 2 * 4 };
            for page in pages.each() {
                fits(page * limits.n_pages as u64, "keys of a layer", "use a shorter context")?;
            }
            Ok(pages)
        };
        let pages = plan.layers.iter().map(layer).collect::<Result<Vec<_>>>()?;
        // Sums of every head, and four values more that say what they are sums under.
        let parted = steps.iter().filter_map(|step| match step.fusion {
            Fusion::Attend { n_heads, head_dim, .. } => Some(u64::from(n_heads * (head_dim + 4)) * 4),
            _ => None,
        });
        let lines = match splits(limits.n_pages, 1) {
            1 => 0,
            n => (limits.max_rows * n).min(MAX_PARTS),
        };
        let positions = ROTATIONS_LOW + (limits.n_pages * PAGE_TOKENS).div_ceil(ROTATIONS_LOW);
        let words = run::ROWS_AT
            + run::ROW_WORDS * limits.max_rows
            + limits.max_outputs
            + limits.max_sequences * limits.n_pages;
        Ok(Self {
            layout,
            slots,
            rotations: fits(
                (positions * plan.rope.freqs.len()) as u64 * 8,
                "rotations",
                "use a shorter context",
            )?,
            run: words as u64 * 4,
            logits: limits.max_outputs as u64 * u64::from(plan.buffer(plan.logits).width) * 4,
            page: pages.iter().flat_map(|p| p.each()).max().unwrap_or(0),
            pages,
            parts: fits(
                parted.max().unwrap_or(0) * lines as u64,
                "parts of attention",
                "use a shorter context",
            )?,
        })
    }
}

/// The steps of a plan; `single`: each operation is one.
pub(super) fn steps(plan: &Plan, single: bool) -> Vec<Step> {
    if single { fuse::single(plan) } else { fuse::fuse(plan) }
}

/// What [`Memory::new`] takes, without a device. The parameters of the kernels, some kilobytes, come on top.
///
/// # Errors
/// As [`Memory::new`], but for what only the device can tell.
pub fn footprint(plan: &Plan, limits: RunLimits, room: Room) -> Result<Footprint> {
    let plan = merge(plan).plan;
    let steps = steps(&plan, limits.keep_buffers);
    let sizes = Sizes::new(&plan, &steps, limits, room)?;
    let small = [sizes.rotations, sizes.run, sizes.logits, sizes.page, sizes.parts];
    Ok(Footprint {
        weights: Arrangement::new(&plan, &steps, room)?.bytes(),
        kv: sizes
            .pages
            .iter()
            .flat_map(|p| p.each())
            .map(|page| buffer_size(page * limits.n_pages as u64))
            .sum(),
        scratch: sizes.slots.iter().chain(&small).map(|&bytes| buffer_size(bytes)).sum::<u64>()
            + sampling::bytes(&plan),
    })
}

impl Memory {
    pub(super) fn new(
        gpu: &Gpu,
        plan: &Plan,
        steps: &[Step],
        limits: RunLimits,
        room: Room,
        for_weights: Room,
    ) -> Result<Self> {
        let storage = wgpu::BufferUsages::STORAGE;
        let copied = storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let sizes = Sizes::new(plan, steps, limits, room)?;
        let arrangement = Arrangement::new(plan, steps, for_weights)?;
        if arrangement.vectors > room.most() {
            let what = format!(
                "norms and biases need {} bytes, this GPU binds {}",
                arrangement.vectors,
                room.most()
            );
            return Err(Error::new(Code::OutOfMemory, what));
        }
        let weights = Weights::new(gpu, arrangement);
        let slots: Vec<_> =
            sizes.slots.iter().map(|&bytes| gpu.buffer("activations", bytes, copied)).collect();
        let all_pages = |&pages: &Pages| {
            let all =
                pages.each().map(|page| gpu.buffer("keys and values", page * limits.n_pages as u64, copied));
            let [keys, values, scales] = all;
            State { keys, values, scales, pages }
        };
        let state: Vec<_> = sizes.pages.iter().map(all_pages).collect();

        let table = rotations(&plan.rope, limits.n_pages * PAGE_TOKENS);
        let table: &[u8] = bytemuck::cast_slice(&table);
        let rotations = gpu.buffer("rotations", sizes.rotations, storage | wgpu::BufferUsages::COPY_DST);
        if !table.is_empty() {
            gpu.queue.write_buffer(&rotations, 0, table);
        }
        let run = gpu.buffer("run", sizes.run, storage | wgpu::BufferUsages::COPY_DST);
        let to_host = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = gpu.buffer("logits read back", sizes.logits, to_host);
        let page =
            gpu.buffer("page", sizes.page, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST);
        let parts = gpu.buffer("parts of attention", sizes.parts, storage);

        let small = [&weights.vectors, &rotations, &run, &readback, &page, &parts];
        let of_state = state.iter().flat_map(State::buffers).map(|(buffer, _)| buffer);
        let buffers = weights.buffers.iter().chain(&slots).chain(of_state).chain(small);
        let (bytes, n_buffers) = buffers.fold((0, 0), |(bytes, n), b| (bytes + b.size(), n + 1));
        let layout = sizes.layout;
        Ok(Self { weights, slots, layout, state, rotations, run, readback, page, parts, bytes, n_buffers })
    }

    pub(super) fn slot(&self, id: BufferId) -> &Buffer {
        &self.slots[self.layout.slot(id)]
    }

    /// Bytes of a page over all layers.
    pub(super) fn page_bytes(&self) -> u64 {
        self.state.iter().flat_map(State::buffers).map(|(_, bytes)| bytes).sum()
    }
}
