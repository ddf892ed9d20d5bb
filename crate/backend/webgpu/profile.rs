//! Where a run's time goes on the GPU, dispatch by dispatch: for tuning, natively, where a device tells the time within a
//! pass. A run is waited for, so that nothing is decoded ahead.

use std::collections::BTreeMap;

use super::device::{Buffer, Gpu};
use crate::backend::DispatchTime;
use crate::error::Result;

/// Dispatches of a run whose time is taken; further ones are left out.
const MAX_DISPATCHES: u32 = 1023;

/// What the device has to have.
pub(super) fn features() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
}

#[derive(Debug)]
pub(super) struct Profile {
    times: wgpu::QuerySet,
    resolved: Buffer,
    readback: Buffer,
    /// Kernel and workgroups of the run's dispatches.
    ran: Vec<(&'static str, u64)>,
    totals: BTreeMap<(&'static str, u64), DispatchTime>,
}

impl Profile {
    /// `None` where the device does not tell.
    pub(super) fn new(gpu: &Gpu) -> Option<Self> {
        gpu.device.features().contains(features()).then(|| {
            let bytes = u64::from(MAX_DISPATCHES + 1) * 8;
            let copied = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::QUERY_RESOLVE;
            let mapped = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            Self {
                times: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("times of dispatches"),
                    ty: wgpu::QueryType::Timestamp,
                    count: MAX_DISPATCHES + 1,
                }),
                resolved: gpu.buffer("times", bytes, copied),
                readback: gpu.buffer("times read back", bytes, mapped),
                ran: Vec::new(),
                totals: BTreeMap::new(),
            }
        })
    }

    pub(super) fn start(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.ran.clear();
        pass.write_timestamp(&self.times, 0);
    }

    pub(super) fn dispatched(&mut self, pass: &mut wgpu::ComputePass<'_>, kernel: &'static str, groups: u64) {
        if (self.ran.len() as u32) < MAX_DISPATCHES {
            self.ran.push((kernel, groups));
            pass.write_timestamp(&self.times, self.ran.len() as u32);
        }
    }

    pub(super) fn end(&self, encoder: &mut wgpu::CommandEncoder) {
        let n = self.ran.len() as u32 + 1;
        encoder.resolve_query_set(&self.times, 0..n, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readback, 0, u64::from(n) * 8);
    }

    /// Waits for the run that was just submitted.
    ///
    /// # Errors
    /// `gpu` or `device-lost`.
    pub(super) fn collect(&mut self, gpu: &Gpu) -> Result<()> {
        let period = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let bytes = (self.ran.len() as u64 + 1) * 8;
        let mut ticks = Vec::new();
        pollster::block_on(gpu.read(&self.readback, bytes, |b| {
            ticks.extend(b.as_chunks::<8>().0.iter().map(|t| u64::from_le_bytes(*t)));
        }))?;
        for (&(kernel, groups), t) in self.ran.iter().zip(ticks.windows(2)) {
            let total = self.totals.entry((kernel, groups)).or_insert(DispatchTime {
                kernel,
                groups,
                n: 0,
                seconds: 0.0,
            });
            total.n += 1;
            total.seconds += t[1].saturating_sub(t[0]) as f64 * period;
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Vec<DispatchTime> {
        std::mem::take(&mut self.totals).into_values().collect()
    }
}
