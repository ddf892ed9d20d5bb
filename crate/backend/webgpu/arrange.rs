//! Where weights lie in GPU memory: matrices in parts that fit a binding, those that one step reads beside each other.

use super::device::buffer_size;
use crate::error::{Code, Error, Result};
use crate::kernels::shader::TILE_ROWS;
use crate::plan::fuse::{Fusion, Step};
use crate::plan::{Plan, Weight, WeightId, WeightKind};
use crate::quant::gpu::{GROUP, Packing};

/// Rows of a matrix that one binding a plane can hold, and where they are in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Index into the buffers of matrices.
    pub(super) buffer: usize,
    pub(super) first_row: u32,
    pub(super) n_rows: u32,
    pub(super) quants_at: u64,
    pub(super) quant_bytes: u64,
    /// The plane of scales; empty where the format has none.
    pub(super) scales_at: u64,
    pub(super) scale_bytes: u64,
}

impl Part {
    pub(super) fn bytes(&self) -> u64 {
        self.quant_bytes + self.scale_bytes
    }

    fn end(&self) -> u64 {
        if self.scale_bytes == 0 {
            self.quants_at + self.quant_bytes
        } else {
            self.scales_at + self.scale_bytes
        }
    }
}

/// Where a weight is kept.
#[derive(Debug)]
pub(super) enum Stored {
    Matrix {
        packing: Packing,
        parts: Vec<Part>,
    },
    /// From this byte of the buffer of vectors on.
    Vector {
        at: u64,
    },
}

/// What the device allows of one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub binding: u64,
    pub buffer: u64,
    /// Alignment of a binding's offset.
    pub align: u64,
}

impl Room {
    /// The most that one buffer can hold and a kernel can see.
    pub fn most(&self) -> u64 {
        self.binding.min(self.buffer)
    }

    pub(super) fn of(limits: &wgpu::Limits) -> Self {
        Self {
            binding: limits.max_storage_buffer_binding_size,
            buffer: limits.max_buffer_size,
            align: u64::from(limits.min_storage_buffer_offset_alignment),
        }
    }
}

/// How a matrix is cut: rows a part, `(quants, scales)` bytes a tile of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) rows: u32,
    tile: (u64, u64),
}

/// # Errors
/// `invalid-model` where a row is not whole groups or one tile of rows does not fit.
pub(super) fn cut(weight: &Weight, room: Room) -> Result<(Packing, Cut)> {
    let bad =
        |what: String| Err(Error::new(Code::InvalidModel, what).context(format!("tensor {}", weight.name)));
    if weight.cols == 0 || weight.rows == 0 || !(weight.cols as usize).is_multiple_of(GROUP) {
        return bad(format!("WebGPU needs rows of a multiple of {GROUP} values, not {}", weight.cols));
    }
    let packing = Packing::new(weight.ty, weight.cols as usize);
    let tile = (packing.tile_quants() as u64 * 4, packing.tile_scales() as u64 * 4);
    let by_buffer = (room.buffer - room.align) / (tile.0 + tile.1);
    let tiles = (room.binding / tile.0.max(tile.1)).min(by_buffer);
    if tiles == 0 {
        return bad(format!(
            "{TILE_ROWS} of its rows need more than the {} bytes of a GPU binding",
            room.binding
        ));
    }
    let rows = tiles.saturating_mul(TILE_ROWS as u64).min(u64::from(weight.rows));
    Ok((packing, Cut { rows: rows as u32, tile }))
}

impl Cut {
    /// Rows from `first_row` on, from byte `at` of a buffer on.
    fn part(&self, weight: &Weight, first_row: u32, buffer: usize, at: u64, room: Room) -> Part {
        let n_rows = self.rows.min(weight.rows - first_row);
        let tiles = u64::from(n_rows).div_ceil(TILE_ROWS as u64);
        let quant_bytes = self.tile.0 * tiles;
        let quants_at = at.next_multiple_of(room.align);
        let scales_at = (quants_at + quant_bytes).next_multiple_of(room.align);
        Part {
            buffer,
            first_row,
            n_rows,
            quants_at,
            quant_bytes,
            scales_at,
            scale_bytes: self.tile.1 * tiles,
        }
    }
}

/// A place for every weight of a plan, before there is a buffer.
#[derive(Debug)]
pub(super) struct Arrangement {
    /// Bytes of each buffer of matrices.
    pub(super) buffers: Vec<u64>,
    /// Bytes of the buffer of vectors.
    pub(super) vectors: u64,
    pub(super) places: Vec<Stored>,
}

impl Arrangement {
    /// Matrices that one of these steps reads share a buffer where they fit a binding together.
    ///
    /// # Errors
    /// As [`cut`].
    pub(super) fn new(plan: &Plan, steps: &[Step], room: Room) -> Result<Self> {
        let mut places: Vec<Option<Stored>> = plan.weights.iter().map(|_| None).collect();
        let mut buffers = Vec::new();
        for step in steps {
            let weights = together(step);
            let is_new = |w: &WeightId| places[w.0 as usize].is_none();
            if weights.len() < 2 || !weights.iter().all(is_new) {
                continue;
            }
            let mut end = 0;
            let mut found = Vec::new();
            for id in &weights {
                let weight = plan.weight(*id);
                let (packing, cut) = cut(weight, room)?;
                if cut.rows == weight.rows {
                    let part = cut.part(weight, 0, buffers.len(), end, room);
                    end = part.end();
                    found.push(Stored::Matrix { packing, parts: vec![part] });
                }
            }
            if found.len() == weights.len() && end <= room.most() {
                buffers.push(end);
                weights.iter().zip(found).for_each(|(id, place)| places[id.0 as usize] = Some(place));
            }
        }

        let mut vectors: u64 = 0;
        let mut all = Vec::with_capacity(places.len());
        for (weight, place) in plan.weights.iter().zip(places) {
            all.push(match (place, weight.kind) {
                (Some(place), _) => place,
                (None, WeightKind::Vector) => {
                    let at = vectors.next_multiple_of(room.align);
                    vectors = at + buffer_size(u64::from(weight.cols) * 4);
                    Stored::Vector { at }
                }
                (None, WeightKind::Matrix) => {
                    let (packing, cut) = cut(weight, room)?;
                    let mut parts = Vec::new();
                    for first_row in (0..weight.rows).step_by(cut.rows as usize) {
                        let part = cut.part(weight, first_row, buffers.len(), 0, room);
                        buffers.push(part.end());
                        parts.push(part);
                    }
                    Stored::Matrix { packing, parts }
                }
            });
        }
        Ok(Self { buffers, vectors, places: all })
    }

    /// Bytes of all buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().chain([&self.vectors]).map(|&bytes| buffer_size(bytes)).sum()
    }
}

/// Matrices that a step would read at once.
fn together(step: &Step) -> Vec<WeightId> {
    match &step.fusion {
        Fusion::Project { products, .. } => products.iter().map(|p| p.weight).collect(),
        Fusion::Gated { gate, up, .. } => vec![*gate, *up],
        Fusion::Single | Fusion::Attend { .. } => Vec::new(),
    }
}
