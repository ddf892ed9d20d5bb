//! What layers keep of sequences: pages of keys and values. Only this file knows what lies where in a page;
//! [`crate::kernels::store_kv::cpu`] knows how a head's part of it is held.
//!
//! A page is memory for all layers, made when a run first touches it and kept for the next sequence. A layer's heads
//! follow each other in it, so that a head reads contiguous memory.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernels::store_kv::cpu::{self as store_kv, HEAD_SCALES, HeadPage};
use crate::kernels::zeros;
use crate::plan::LayerState;
use crate::plan::state::{PageCopy, PageId};

/// The pages of all layers.
#[derive(Debug, Default)]
pub(super) struct State {
    layers: Vec<Layer>,
    /// Integers and scales of a page.
    len: usize,
    n_scales: usize,
    pages: Vec<Page>,
}

/// Empty until touched.
#[derive(Debug, Default)]
struct Page {
    data: Vec<i16>,
    scales: Vec<f32>,
}

/// Where a layer's heads start in a page.
#[derive(Debug, Clone, Copy)]
struct Layer {
    data: usize,
    scales: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Layer {
    /// Where a head's integers and scales are.
    fn head(self, head: usize) -> (Range<usize>, Range<usize>) {
        let len = store_kv::head_len(self.head_dim);
        let (data, scales) = (self.data + head * len, self.scales + head * HEAD_SCALES);
        (data..data + len, scales..scales + HEAD_SCALES)
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
        let (mut len, mut n_scales) = (0, 0);
        let layers = layers
            .iter()
            .map(|LayerState::Attention { n_kv_heads, head_dim }| {
                let (n_kv_heads, head_dim) = (*n_kv_heads as usize, *head_dim as usize);
                let layer = Layer { data: len, scales: n_scales, n_kv_heads, head_dim };
                len += n_kv_heads * store_kv::head_len(head_dim);
                n_scales += n_kv_heads * HEAD_SCALES;
                layer
            })
            .collect();
        let mut pages = Vec::new();
        pages.resize_with(n_pages, Page::default);
        Ok(Self { layers, len, n_scales, pages })
    }

    pub(super) fn n_pages(&self) -> usize {
        self.pages.len()
    }

    /// Bytes with every page touched.
    pub(super) fn bytes_when_full(&self) -> u64 {
        let page = self.len * size_of::<i16>() + self.n_scales * size_of::<f32>();
        page as u64 * self.pages.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.pages.iter().map(|p| size_of_val(p.data.as_slice()) + size_of_val(p.scales.as_slice())).sum()
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
        if self.pages[i].data.is_empty() {
            let what = || "a page of state".to_owned();
            self.pages[i] = Page { data: zeros(self.len, what)?, scales: zeros(self.n_scales, what)? };
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
        let heads = k.chunks_exact(layer.head_dim).zip(v.chunks_exact(layer.head_dim));
        for (head, (k, v)) in heads.enumerate() {
            let (data, scales) = layer.head(head);
            store_kv::store(&mut page.data[data], &mut page.scales[scales], slot, k, v);
        }
        Ok(())
    }

    pub(super) fn layer_pages(&self, layer: u32) -> Result<LayerPages<'_>> {
        Ok(LayerPages { state: self, layer: self.layer(layer)? })
    }

    pub(super) fn copy(&mut self, copy: PageCopy) -> Result<()> {
        let (from, to) = (self.index(copy.from)?, self.index(copy.to)?);
        if from == to || self.pages[from].data.is_empty() {
            return Ok(());
        }
        self.touch(copy.to)?;
        let mut target = std::mem::take(&mut self.pages[to]);
        target.data.copy_from_slice(&self.pages[from].data);
        target.scales.copy_from_slice(&self.pages[from].scales);
        self.pages[to] = target;
        Ok(())
    }

    /// A page as bytes: the scales, then the integers.
    pub(super) fn read(&mut self, page: PageId) -> Result<Vec<u8>> {
        self.touch(page)?;
        let page = &self.pages[page.0 as usize];
        Ok([bytemuck::cast_slice::<f32, u8>(&page.scales), bytemuck::cast_slice(&page.data)].concat())
    }

    pub(super) fn write(&mut self, page: PageId, bytes: &[u8]) -> Result<()> {
        self.touch(page)?;
        let page = &mut self.pages[page.0 as usize];
        let scales: &mut [u8] = bytemuck::cast_slice_mut(&mut page.scales);
        let data: &mut [u8] = bytemuck::cast_slice_mut(&mut page.data);
        let (expected, given) = (scales.len() + data.len(), bytes.len());
        if expected != given {
            return Err(Error::internal(format!("a page of {given} bytes, not {expected}")));
        }
        let (of_scales, of_data) = bytes.split_at(scales.len());
        scales.copy_from_slice(of_scales);
        data.copy_from_slice(of_data);
        Ok(())
    }
}

impl LayerPages<'_> {
    /// Keys and values of a head in a page that was touched.
    pub(super) fn head(&self, page: PageId, head: usize) -> HeadPage<'_> {
        let (data, scales) = self.layer.head(head);
        let page = &self.state.pages[page.0 as usize];
        HeadPage::new(&page.data[data], &page.scales[scales])
    }
}
