//! A run: its data written, its dispatches recorded and submitted; and ranges of buffers read back.

use super::batch::{self, Counts};
use super::device::Buffer;
use super::sampling::Sampling;
use super::{WebGpuBackend, no_sampling, not_prepared};
use crate::error::{Error, Result};
use crate::kernels::shader::run;
use crate::plan::Batch;

/// Multiplications after which a run is submitted so far: drivers end what takes seconds (two on Windows, on Android and
/// with amdgpu), and a page is drawn between submissions. A token has fewer.
const MAX_SUBMISSION: u64 = 16 << 30;

impl WebGpuBackend {
    /// Submits a run, with the choice of a token where a draw is given.
    pub(super) fn submit(&mut self, batch: &Batch<'_>, draw: Option<u32>) -> Result<()> {
        self.gpu.check()?;
        let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
        p.last = Counts::NONE;
        let program = p.program.as_ref().ok_or_else(not_prepared)?;
        let may_choose = p.sampling.as_ref().is_some_and(Sampling::is_started);
        let splits = self.options.splits.unwrap_or(batch::splits);
        let counts = batch::write(batch, p.limits, p.n_tokens, may_choose, splits, &mut p.words)?;
        let mut sampling = match draw {
            None => None,
            Some(draw) => {
                let sampling = p.sampling.as_mut().ok_or_else(no_sampling)?;
                sampling.check()?;
                if counts.outputs != 1 {
                    return Err(Error::internal(format!("a choice among {} rows of logits", counts.outputs)));
                }
                p.words[run::DRAW] = draw;
                Some(sampling)
            }
        };
        if counts.rows == 0 {
            return Ok(());
        }
        p.last = counts;
        // The first word is the GPU's own.
        let at = run::CHOSEN + 1;
        let bytes: &[u8] = bytemuck::cast_slice(&p.words[at..]);
        self.gpu.queue.write_buffer(&p.memory.run, 4 * at as u64, bytes);
        let written = bytes.len() as u64;
        // A profile takes the times of one pass.
        let most = match (&self.profile, self.options.max_submission) {
            (Some(_), _) => u64::MAX,
            (None, most) => most.unwrap_or(MAX_SUBMISSION),
        };
        let (mut dispatches, mut weight_bytes, mut submits) = (0, 0, 0);
        let mut from = Some(0);
        while let Some(at) = from {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let profile = &mut self.profile;
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                if let Some(profile) = profile {
                    profile.start(&mut pass);
                }
                let mut dispatched = |pass: &mut wgpu::ComputePass<'_>, kernel, groups| {
                    if let Some(profile) = profile {
                        profile.dispatched(pass, kernel, groups);
                    }
                };
                let recorded;
                (recorded, from) = program.record(&mut pass, counts, (at, most), &mut dispatched);
                dispatches += recorded.dispatches;
                weight_bytes += recorded.weight_bytes;
                if let (Some(sampling), None) = (&sampling, from) {
                    dispatches += sampling.record(&mut pass, &mut dispatched);
                }
            }
            if let Some(profile) = &self.profile {
                profile.end(&mut encoder);
            }
            if from.is_none() {
                // Here and not when it is asked for: no submit of its own.
                if let Some(sampling) = &sampling {
                    sampling.record_copies(&mut encoder, &p.memory.run);
                } else if counts.outputs > 0 {
                    let bytes = u64::from(p.plan.buffer(p.plan.logits).width) * 4 * u64::from(counts.outputs);
                    let logits = p.memory.slot(p.plan.logits);
                    encoder.copy_buffer_to_buffer(logits, 0, &p.memory.readback, 0, bytes);
                }
            }
            let submission = self.gpu.queue.submit([encoder.finish()]);
            submits += 1;
            if let (Some(sampling), None) = (&mut sampling, from) {
                sampling.submitted(submission);
            }
        }
        if let Some(profile) = &mut self.profile {
            profile.collect(&self.gpu)?;
        }
        self.count(|s| {
            s.submits += submits;
            s.dispatches += dispatches;
            s.weight_bytes_read += weight_bytes;
            s.bytes_written += written;
        });
        Ok(())
    }

    /// Copies ranges one after the other into a buffer that can be mapped, and hands out what it then holds.
    pub(super) async fn read_ranges(
        &self,
        ranges: &[(&Buffer, u64, u64)],
        take: impl FnOnce(&[u8]),
    ) -> Result<()> {
        let bytes: u64 = ranges.iter().map(|r| r.2).sum();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.gpu.checked(|| Ok(self.gpu.buffer("read back", bytes, usage))).await?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for &(buffer, offset, n) in ranges {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, at, n);
            at += n;
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.count(|s| {
            s.submits += 1;
            s.buffers_created += 1;
            s.bytes_read_back += bytes;
        });
        self.gpu.read(&staging, bytes, take).await
    }
}
