//! In place of `profile.rs` in a browser, which tells no times within a pass.

use super::device::Gpu;
use crate::backend::DispatchTime;
use crate::error::Result;

pub(super) fn features() -> wgpu::Features {
    wgpu::Features::empty()
}

#[derive(Debug)]
pub(super) enum Profile {}

impl Profile {
    pub(super) fn new(_: &Gpu) -> Option<Self> {
        None
    }

    pub(super) fn start(&mut self, _: &mut wgpu::ComputePass<'_>) {
        match *self {}
    }

    pub(super) fn dispatched(&mut self, _: &mut wgpu::ComputePass<'_>, _: &'static str, _: u64) {
        match *self {}
    }

    pub(super) fn end(&self, _: &mut wgpu::CommandEncoder) {
        match *self {}
    }

    pub(super) fn collect(&mut self, _: &Gpu) -> Result<()> {
        match *self {}
    }

    pub(super) fn take(&mut self) -> Vec<DispatchTime> {
        match *self {}
    }
}
