//! Weights in GPU memory: matrices in parts that fit a binding, packed as they stream in.

use super::device::{Gpu, buffer_size};
use crate::error::{Code, Error, Result};
use crate::kernels::shader::TILE_ROWS;
use crate::plan::{Weight, WeightKind};
use crate::quant::gpu::{GROUP, Packing};
use crate::quant::{self, GgmlType};

/// Rows of a matrix that one binding a plane can hold.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) buffer: wgpu::Buffer,
    place: Place,
}

impl std::ops::Deref for Part {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// What a part holds, and where in its buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) first_row: u32,
    pub(super) n_rows: u32,
    /// Bytes of the plane of quants, at the buffer's start.
    pub(super) quant_bytes: u64,
    /// The plane of scales; empty where the format has none.
    pub(super) scales_at: u64,
    pub(super) scale_bytes: u64,
}

impl Place {
    fn bytes(&self) -> u64 {
        if self.scale_bytes == 0 { self.quant_bytes } else { self.scales_at + self.scale_bytes }
    }
}

/// Where a weight is kept.
#[derive(Debug)]
pub(super) enum Stored {
    Matrix { packing: Packing, parts: Vec<Part> },
    Vector { buffer: wgpu::Buffer },
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

/// The parts of a matrix, in the order of its rows.
fn places(weight: &Weight, cut: Cut, room: Room) -> impl Iterator<Item = Place> {
    let rows = weight.rows;
    (0..rows).step_by(cut.rows as usize).map(move |first_row| {
        let n_rows = cut.rows.min(rows - first_row);
        let tiles = u64::from(n_rows).div_ceil(TILE_ROWS as u64);
        let quant_bytes = cut.tile.0 * tiles;
        let scales_at = quant_bytes.next_multiple_of(room.align);
        Place { first_row, n_rows, quant_bytes, scales_at, scale_bytes: cut.tile.1 * tiles }
    })
}

impl Stored {
    pub(super) fn new(gpu: &Gpu, weight: &Weight, room: Room) -> Result<Self> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        if weight.kind == WeightKind::Vector {
            return Ok(Stored::Vector {
                buffer: gpu.buffer(&weight.name, u64::from(weight.cols) * 4, usage),
            });
        }
        let (packing, cut) = cut(weight, room)?;
        let part = |place: Place| Part { buffer: gpu.buffer(&weight.name, place.bytes(), usage), place };
        Ok(Stored::Matrix { packing, parts: places(weight, cut, room).map(part).collect() })
    }

    /// Bytes that [`Stored::new`] takes.
    pub(super) fn bytes_of(weight: &Weight, room: Room) -> Result<u64> {
        if weight.kind == WeightKind::Vector {
            return Ok(buffer_size(u64::from(weight.cols) * 4));
        }
        let (_, cut) = cut(weight, room)?;
        Ok(places(weight, cut, room).map(|place| buffer_size(place.bytes())).sum())
    }

    pub(super) fn buffers(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let (parts, vector) = match self {
            Stored::Matrix { parts, .. } => (parts.as_slice(), None),
            Stored::Vector { buffer } => (&[][..], Some(buffer)),
        };
        parts.iter().map(|p| &p.buffer).chain(vector)
    }
}

/// Bytes of packed words that are made before they are handed to the queue.
const CHUNK_BYTES: usize = 1 << 20;

/// How far a weight has come, and the rows that do not fill a tile yet.
#[derive(Debug, Default)]
pub(super) struct Progress {
    rows: u32,
    rest: Vec<u8>,
}

impl Progress {
    pub(super) fn is_complete(&self, weight: &Weight) -> bool {
        self.rows == weight.rows
    }
}

/// Packs rows and hands them to the queue; its scratch is reused.
#[derive(Debug, Default)]
pub(super) struct Uploader {
    quants: Vec<u32>,
    scales: Vec<u32>,
    values: Vec<f32>,
    /// Bytes handed to the queue since [`Uploader::take_queued`].
    queued: u64,
}

impl Uploader {
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    pub(super) fn take_queued(&mut self) -> u64 {
        std::mem::take(&mut self.queued)
    }

    /// # Errors
    /// `internal` where rows come out of order, twice, or in pieces.
    pub(super) fn upload(
        &mut self,
        gpu: &Gpu,
        weight: &Weight,
        stored: &Stored,
        progress: &mut Progress,
        first_row: u32,
        bytes: &[u8],
    ) -> Result<()> {
        let row_bytes = weight.ty.row_bytes(u64::from(weight.cols)).unwrap_or(0) as usize;
        let whole = row_bytes > 0 && bytes.len().is_multiple_of(row_bytes);
        let n = if whole { (bytes.len() / row_bytes) as u64 } else { 0 };
        if !whole || first_row != progress.rows || u64::from(first_row) + n > u64::from(weight.rows) {
            return Err(Error::internal(format!(
                "tensor {}: {} bytes from row {first_row} on, but row {} of {} ({row_bytes} bytes each) is next",
                weight.name,
                bytes.len(),
                progress.rows,
                weight.rows,
            )));
        }
        progress.rows += n as u32;
        match stored {
            Stored::Vector { buffer } => self.vector(gpu, weight.ty, buffer, bytes),
            Stored::Matrix { packing, parts } => {
                let tile_bytes = TILE_ROWS * row_bytes;
                // Fill up the tile that was begun, then take whole tiles from where they are, then keep the rest.
                let held = progress.rest.len();
                let (head, tail) = bytes.split_at(((tile_bytes - held) % tile_bytes).min(bytes.len()));
                progress.rest.extend_from_slice(head);
                let last = progress.is_complete(weight);
                let first_tile = (first_row as usize - held / row_bytes) / TILE_ROWS;
                let mut next_tile = first_tile;
                if progress.rest.len() == tile_bytes || (last && tail.is_empty()) {
                    self.tiles(gpu, packing, parts, next_tile, row_bytes, &progress.rest);
                    next_tile += progress.rest.len().div_ceil(tile_bytes);
                    progress.rest.clear();
                }
                let ready = if last { tail.len() } else { tail.len() / tile_bytes * tile_bytes };
                self.tiles(gpu, packing, parts, next_tile, row_bytes, &tail[..ready]);
                progress.rest.extend_from_slice(&tail[ready..]);
                if last {
                    progress.rest = Vec::new();
                }
                Ok(())
            }
        }
    }

    /// Packs whole tiles (the weight's last may be short) from `tile` on.
    fn tiles(
        &mut self,
        gpu: &Gpu,
        packing: &Packing,
        parts: &[Part],
        mut tile: usize,
        row_bytes: usize,
        mut bytes: &[u8],
    ) {
        let (q, s) = (packing.tile_quants(), packing.tile_scales());
        let at_once = (CHUNK_BYTES / (4 * (q + s))).max(1);
        while !bytes.is_empty() {
            let row = (tile * TILE_ROWS) as u32;
            let Some(part) = parts.iter().find(|p| row >= p.first_row && row - p.first_row < p.n_rows) else {
                return;
            };
            let local = (row - part.first_row) as usize / TILE_ROWS;
            let in_part = (part.n_rows as usize).div_ceil(TILE_ROWS) - local;
            let n = in_part.min(at_once).min(bytes.len().div_ceil(TILE_ROWS * row_bytes));
            let (now, later) = bytes.split_at((n * TILE_ROWS * row_bytes).min(bytes.len()));
            self.quants.resize(n * q, 0);
            self.scales.resize(n * s, 0);
            for (i, rows) in now.chunks(TILE_ROWS * row_bytes).enumerate() {
                let scales = &mut self.scales[i * s..(i + 1) * s];
                packing.pack_tile(rows, row_bytes, &mut self.quants[i * q..(i + 1) * q], scales);
            }
            let quants: &[u8] = bytemuck::cast_slice(&self.quants);
            gpu.queue.write_buffer(&part.buffer, (local * q * 4) as u64, quants);
            let scales: &[u8] = bytemuck::cast_slice(&self.scales);
            if !scales.is_empty() {
                gpu.queue.write_buffer(&part.buffer, part.scales_at + (local * s * 4) as u64, scales);
            }
            self.queued += (quants.len() + scales.len()) as u64;
            tile += n;
            bytes = later;
        }
    }

    fn vector(&mut self, gpu: &Gpu, ty: GgmlType, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        let format = ty.format();
        self.values.resize(bytes.len() / format.block_bytes * format.block_elems, 0.0);
        quant::decode(ty, bytes, &mut self.values)?;
        let values: &[u8] = bytemuck::cast_slice(&self.values);
        gpu.queue.write_buffer(buffer, 0, values);
        self.queued += values.len() as u64;
        Ok(())
    }
}
