//! What layers keep of sequences: pages of keys and values, f32 for now. Only this file knows the layout and the type.
//!
//! A page is one allocation for all layers, made when a run first touches it and kept for the next sequence. In it a
//! layer has its keys, then its values, `[kv head, slot, head_dim]` each, so that a head reads contiguous memory.

use crate::error::{Error, Result};
use crate::plan::LayerState;
use crate::plan::state::{PAGE_TOKENS, PageCopy, PageId};

/// The pages of all layers.
#[derive(Debug, Default)]
pub(super) struct State {
    layers: Vec<Layer>,
    /// f32 values a page.
    page_len: usize,
    /// Empty until touched.
    pages: Vec<Vec<f32>>,
}

/// Where a layer's keys lie in a page; its values follow.
#[derive(Debug, Clone, Copy)]
struct Layer {
    offset: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Layer {
    /// Values of the keys (or of the values) of a page.
    fn len(self) -> usize {
        self.n_kv_heads * PAGE_TOKENS * self.head_dim
    }
}

/// One layer's keys and values, by page.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerPages<'a> {
    state: &'a State,
    layer: Layer,
}

impl State {
    pub(super) fn new(layers: &[LayerState], n_pages: usize) -> Result<Self> {
        let mut page_len = 0;
        let layers = layers
            .iter()
            .map(|LayerState::Attention { n_kv_heads, head_dim }| {
                let layer = Layer {
                    offset: page_len,
                    n_kv_heads: *n_kv_heads as usize,
                    head_dim: *head_dim as usize,
                };
                page_len += 2 * layer.len();
                layer
            })
            .collect();
        Ok(Self { layers, page_len, pages: vec![Vec::new(); n_pages] })
    }

    pub(super) fn n_pages(&self) -> usize {
        self.pages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.pages.iter().map(|p| 4 * p.len()).sum()
    }

    fn index(&self, page: PageId) -> Result<usize> {
        let i = page.0 as usize;
        if i < self.pages.len() {
            Ok(i)
        } else {
            Err(Error::internal(format!("page {i} of {}", self.pages.len())))
        }
    }

    /// Makes sure that a page has memory.
    pub(super) fn touch(&mut self, page: PageId) -> Result<()> {
        let i = self.index(page)?;
        if self.pages[i].is_empty() {
            self.pages[i] = super::zeros(self.page_len, || "a page of state".to_owned())?;
        }
        Ok(())
    }

    fn layer(&self, layer: u32) -> Result<Layer> {
        let found = self.layers.get(layer as usize).copied();
        found.ok_or_else(|| Error::internal(format!("state of layer {layer} of {}", self.layers.len())))
    }

    /// `n_kv_heads` and `head_dim` of a layer.
    pub(super) fn shape(&self, layer: u32) -> Result<(usize, usize)> {
        self.layer(layer).map(|l| (l.n_kv_heads, l.head_dim))
    }

    /// Writes one position's key and value, `[n_kv_heads, head_dim]` each, to a page that was touched.
    pub(super) fn store(
        &mut self,
        layer: u32,
        page: PageId,
        slot: usize,
        k: &[f32],
        v: &[f32],
    ) -> Result<()> {
        let layer = self.layer(layer)?;
        let page = &mut self.pages[page.0 as usize];
        for (line, start) in [(k, layer.offset), (v, layer.offset + layer.len())] {
            for (head, line) in line.chunks_exact(layer.head_dim).enumerate() {
                let at = start + (head * PAGE_TOKENS + slot) * layer.head_dim;
                page[at..at + layer.head_dim].copy_from_slice(line);
            }
        }
        Ok(())
    }

    pub(super) fn layer_pages(&self, layer: u32) -> Result<LayerPages<'_>> {
        Ok(LayerPages { state: self, layer: self.layer(layer)? })
    }

    pub(super) fn copy(&mut self, copy: PageCopy) -> Result<()> {
        let (from, to) = (self.index(copy.from)?, self.index(copy.to)?);
        if from == to || self.pages[from].is_empty() {
            return Ok(());
        }
        self.touch(copy.to)?;
        let mut target = std::mem::take(&mut self.pages[to]);
        target.copy_from_slice(&self.pages[from]);
        self.pages[to] = target;
        Ok(())
    }

    /// A page's values, little-endian.
    pub(super) fn read(&mut self, page: PageId) -> Result<Vec<u8>> {
        self.touch(page)?;
        Ok(bytemuck::cast_slice(&self.pages[page.0 as usize]).to_vec())
    }

    pub(super) fn write(&mut self, page: PageId, bytes: &[u8]) -> Result<()> {
        self.touch(page)?;
        let target: &mut [u8] = bytemuck::cast_slice_mut(&mut self.pages[page.0 as usize]);
        if target.len() != bytes.len() {
            return Err(Error::internal(format!("a page of {} bytes, not {}", bytes.len(), target.len())));
        }
        target.copy_from_slice(bytes);
        Ok(())
    }
}

impl LayerPages<'_> {
    /// Keys and values of a head in a page that was touched, `[slot, head_dim]` each.
    pub(super) fn head(&self, page: PageId, head: usize) -> (&[f32], &[f32]) {
        let len = PAGE_TOKENS * self.layer.head_dim;
        let at = self.layer.offset + head * len;
        let page = &self.state.pages[page.0 as usize];
        (&page[at..at + len], &page[at + self.layer.len()..][..len])
    }
}
