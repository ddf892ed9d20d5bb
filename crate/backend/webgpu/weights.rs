//! Weights on their way into GPU memory: packed as they stream in.

use super::arrange::{Arrangement, Part, Stored};
use super::device::{Buffer, Gpu};
use crate::error::{Error, Result};
use crate::kernels::shader::TILE_ROWS;
use crate::plan::{Weight, WeightId};
use crate::quant::gpu::Packing;
use crate::quant::{self, GgmlType};

/// Weights in GPU memory, and where each is.
#[derive(Debug)]
pub(super) struct Weights {
    /// Of matrices.
    pub(super) buffers: Vec<Buffer>,
    /// Every vector.
    pub(super) vectors: Buffer,
    /// By weight.
    pub(super) places: Vec<Stored>,
}

impl Weights {
    pub(super) fn new(gpu: &Gpu, arrangement: Arrangement) -> Self {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let Arrangement { buffers, vectors, places } = arrangement;
        Self {
            buffers: buffers.iter().map(|&bytes| gpu.buffer("weights", bytes, usage)).collect(),
            vectors: gpu.buffer("vectors", vectors, usage),
            places,
        }
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

/// The parts of one matrix.
struct Parts<'a> {
    weights: &'a Weights,
    parts: &'a [Part],
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
    #[cfg(not(target_arch = "wasm32"))]
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
        weights: &Weights,
        (id, weight): (WeightId, &Weight),
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
        match &weights.places[id.0 as usize] {
            Stored::Vector { at } => self.vector(gpu, weight.ty, &weights.vectors, *at, bytes),
            Stored::Matrix { packing, parts } => {
                let parts = Parts { weights, parts };
                let tile_bytes = TILE_ROWS * row_bytes;
                // Fill up the tile that was begun, then take whole tiles from where they are, then keep the rest.
                let held = progress.rest.len();
                let (head, tail) = bytes.split_at(((tile_bytes - held) % tile_bytes).min(bytes.len()));
                progress.rest.extend_from_slice(head);
                let last = progress.is_complete(weight);
                let first_tile = (first_row as usize - held / row_bytes) / TILE_ROWS;
                let mut next_tile = first_tile;
                if progress.rest.len() == tile_bytes || (last && tail.is_empty()) {
                    self.tiles(gpu, packing, &parts, next_tile, row_bytes, &progress.rest);
                    next_tile += progress.rest.len().div_ceil(tile_bytes);
                    progress.rest.clear();
                }
                let ready = if last { tail.len() } else { tail.len() / tile_bytes * tile_bytes };
                self.tiles(gpu, packing, &parts, next_tile, row_bytes, &tail[..ready]);
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
        to: &Parts<'_>,
        mut tile: usize,
        row_bytes: usize,
        mut bytes: &[u8],
    ) {
        let (q, s) = (packing.tile_quants(), packing.tile_scales());
        let at_once = (CHUNK_BYTES / (4 * (q + s))).max(1);
        while !bytes.is_empty() {
            let row = (tile * TILE_ROWS) as u32;
            let Some(part) = to.parts.iter().find(|p| row >= p.first_row && row - p.first_row < p.n_rows)
            else {
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
            let buffer = &to.weights.buffers[part.buffer];
            gpu.queue.write_buffer(buffer, part.quants_at + (local * q * 4) as u64, quants);
            let scales: &[u8] = bytemuck::cast_slice(&self.scales);
            if !scales.is_empty() {
                gpu.queue.write_buffer(buffer, part.scales_at + (local * s * 4) as u64, scales);
            }
            self.queued += (quants.len() + scales.len()) as u64;
            tile += n;
            bytes = later;
        }
    }

    fn vector(
        &mut self,
        gpu: &Gpu,
        ty: GgmlType,
        buffer: &wgpu::Buffer,
        at: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let format = ty.format();
        self.values.resize(bytes.len() / format.block_bytes * format.block_elems, 0.0);
        quant::decode(ty, bytes, &mut self.values)?;
        let values: &[u8] = bytemuck::cast_slice(&self.values);
        gpu.queue.write_buffer(buffer, at, values);
        self.queued += values.len() as u64;
        Ok(())
    }
}
