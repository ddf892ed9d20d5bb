//! Making a plan ready, in two halves: room for it, so that weights can arrive, and its kernels.

use std::cell::Cell;
use std::rc::Rc;

use super::arrange::Room;
use super::batch::Counts;
use super::device::Reports;
use super::memory::{self, Memory};
use super::program::{Choice, Matvec, Program};
use super::sampling::Sampling;
use super::weights::{Progress, Uploader};
use super::{Prepared, Splits, WebGpuBackend, WebGpuOptions, draft, not_prepared};
use crate::backend::RunLimits;
use crate::error::{Error, Result};
use crate::plan::fuse::Fusion;
use crate::plan::merge::{Merged, merge};
use crate::plan::{Op, Plan};

impl WebGpuBackend {
    /// The same device with the same kernels, for another plan; attention is split otherwise.
    pub(crate) fn beside(&self, splits: Splits) -> Self {
        Self {
            gpu: self.gpu.clone(),
            info: self.info.clone(),
            options: WebGpuOptions { splits: Some(splits), ..self.options.clone() },
            rounds: self.rounds,
            pipelines: Rc::clone(&self.pipelines),
            prepared: None,
            stats: Cell::default(),
            profile: None,
        }
    }

    /// The first half of `prepare`: makes room, so that weights can be uploaded.
    ///
    /// # Errors
    /// `internal` for more rows than a dispatch has, and what [`Memory::new`] says.
    pub(crate) fn allocate(&mut self, plan: &Plan, limits: RunLimits) -> Result<()> {
        // What an earlier plan holds is free before the next takes its place.
        self.prepared = None;
        self.gpu.check()?;
        let device_limits = self.gpu.device.limits();
        let most = device_limits.max_compute_workgroups_per_dimension as usize;
        if limits.max_rows > most || limits.max_outputs > limits.max_rows {
            return Err(Error::internal(format!(
                "{} rows and {} with logits a run; at most {most} are possible",
                limits.max_rows, limits.max_outputs
            )));
        }
        let room = self.room();
        let tables = plan.ops.iter().filter_map(|op| match op {
            Op::Embed { table, .. } => Some(plan.weight(*table).rows),
            _ => None,
        });
        let n_tokens = tables.min().unwrap_or(u32::MAX);
        let gpu = &self.gpu;
        let for_weights =
            Room { binding: self.options.max_weight_binding.unwrap_or(u64::MAX).min(room.binding), ..room };
        let Merged { plan, places } = merge(plan);
        let steps = memory::steps(&plan, self.options.plain || (limits.keep_buffers && !self.options.fuse));
        let (memory, allocated) = gpu.watched(|| Memory::new(gpu, &plan, &steps, limits, room, for_weights));
        let memory = memory?;
        self.count(|s| s.buffers_created += memory.n_buffers);
        let mut passed = vec![0; plan.buffers.len()];
        for step in &steps {
            let lines =
                if matches!(step.fusion, Fusion::Attend { .. }) { u32::MAX } else { draft::FEW_LINES };
            step.passes(&plan).iter().for_each(|id| passed[id.0 as usize] = lines);
        }
        let progress = plan.weights.iter().map(|_| Progress::default()).collect();
        self.prepared = Some(Prepared {
            plan,
            places,
            passed,
            limits,
            memory,
            steps,
            program: None,
            sampling: None,
            allocated: Some(allocated),
            compiled: None,
            progress,
            uploader: Uploader::default(),
            words: Vec::new(),
            last: Counts::NONE,
            n_tokens,
        });
        Ok(())
    }

    /// The second half of `prepare`: kernels and how they are bound. They are compiled while weights arrive.
    ///
    /// # Errors
    /// `internal` before [`WebGpuBackend::allocate`], or for a plan that the kernels do not take.
    pub(crate) fn make_kernels(&mut self) -> Result<()> {
        self.make_kernels_for(None)
    }

    /// The same, but `only` for runs like one, without a choice of tokens.
    pub(super) fn make_kernels_for(&mut self, only: Option<Counts>) -> Result<()> {
        let p = self.prepared.as_mut().ok_or_else(not_prepared)?;
        let gpu = &self.gpu;
        let software = gpu.adapter.device_type == wgpu::DeviceType::Cpu;
        #[cfg(test)]
        let software = software && !self.options.as_hardware;
        let serial = (self.options.plain || software).then_some(Matvec::Serial);
        let choice = Choice { matvec: self.options.matvec.or(serial), rounds: self.rounds };
        let possible =
            only.is_none() && !self.options.no_choosing && Sampling::is_possible(&p.plan, p.n_tokens);
        let pipelines = &mut *self.pipelines.borrow_mut();
        let n_pipelines = pipelines.len();
        let (made, compiled) = gpu.watched(|| {
            let program = Program::new(gpu, &p.plan, &p.steps, &p.memory, choice, only, pipelines)?;
            let sampling = possible.then(|| Sampling::new(gpu, &p.plan, &p.memory, pipelines)).transpose()?;
            Ok((program, sampling))
        });
        let n_pipelines = pipelines.len() - n_pipelines;
        p.compiled = Some(compiled);
        let (program, sampling) = made?;
        let mut stats = self.stats.get();
        stats.buffers_created += 1 + sampling.as_ref().map_or(0, Sampling::n_buffers);
        stats.bind_groups_created += program.n_bind_groups() as u64;
        stats.bind_groups_created += sampling.as_ref().map_or(0, Sampling::n_bind_groups);
        stats.pipelines_created += n_pipelines as u64;
        self.stats.set(stats);
        p.program = Some(program);
        p.sampling = sampling;
        Ok(())
    }

    /// Waits until the device has said whether there was room.
    ///
    /// # Errors
    /// `out-of-memory` or `gpu`.
    pub(crate) fn allocated(&mut self) -> impl Future<Output = Result<()>> + use<> {
        let reports = self.prepared.as_mut().and_then(|p| p.allocated.take());
        self.reported(reports)
    }

    /// Waits until the device has said whether it could compile the kernels.
    ///
    /// # Errors
    /// `gpu`.
    pub(super) fn compiled(&mut self) -> impl Future<Output = Result<()>> + use<> {
        let reports = self.prepared.as_mut().and_then(|p| p.compiled.take());
        self.reported(reports)
    }

    fn reported(&self, reports: Option<Reports>) -> impl Future<Output = Result<()>> + use<> {
        let gpu = self.gpu.clone();
        async move {
            match reports {
                Some(reports) => gpu.settled(reports).await,
                None => Ok(()),
            }
        }
    }
}
