//! Choosing tokens on the GPU, and how they come back: two kernels behind the model's own, and a ring of small buffers
//! that are mapped while later runs are under way.

use std::collections::VecDeque;

use futures_channel::oneshot;

use super::device::{Buffer, Gpu, buffer_size, take_mapped};
use super::memory::Memory;
use super::pipelines::Pipelines;
use super::program::{bind, whole};
use crate::error::{Error, Result};
use crate::kernels::shader::draw::{BLOCK, MAX_BLOCKS, MAX_VOCAB};
use crate::kernels::shader::params::{self, Field};
use crate::kernels::shader::{self, FIRST_BUFFER, Kernel, run};
use crate::plan::Plan;
use crate::sampler::settings::UNIT;
use crate::sampler::{Sampler, broken_logit, no_candidate, tables};

/// Choices that may be under way at once: enough for a step of 2 ms where a read-back takes 100.
const MAX_WAITING: usize = 64;
/// Bytes of a choice: the token, and what is wrong with it.
pub(super) const CHOICE: u64 = 8;

/// Choices on their way back.
#[derive(Debug)]
struct Waiting {
    slot: usize,
    mapped: oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    submission: wgpu::SubmissionIndex,
}

/// Everything that choosing needs, made once.
#[derive(Debug)]
pub(super) struct Sampling {
    pipelines: [wgpu::ComputePipeline; 2],
    bind_groups: [wgpu::BindGroup; 2],
    params: Buffer,
    marks: Buffer,
    chosen: Buffer,
    /// What the kernels alone read and write.
    _kept: [Buffer; 3],
    slots: Vec<Buffer>,
    waiting: VecDeque<Waiting>,
    next_slot: usize,
    n_vocab: usize,
    block: usize,
    started: bool,
}

/// Logits of a block.
fn block_of(n_vocab: usize) -> usize {
    n_vocab.div_ceil(MAX_BLOCKS).next_multiple_of(BLOCK)
}

fn param_words() -> usize {
    // A uniform struct is a multiple of 16 bytes.
    params::Sample::N_WORDS.next_multiple_of(4)
}

/// Sizes of parameters, marks, tables, keys, best of blocks, choice.
fn sizes(n_vocab: usize) -> [u64; 6] {
    let n_blocks = n_vocab.div_ceil(block_of(n_vocab));
    let words = [
        param_words(),
        2 * n_vocab,
        tables::tables().len(),
        n_blocks * block_of(n_vocab),
        2 * n_blocks,
        CHOICE as usize / 4,
    ];
    words.map(|n| 4 * n as u64)
}

/// Bytes of all buffers.
pub(super) fn bytes(plan: &Plan) -> u64 {
    let n_vocab = plan.buffer(plan.logits).width as usize;
    let ring = MAX_WAITING as u64 * buffer_size(CHOICE);
    sizes(n_vocab).map(buffer_size).iter().sum::<u64>() + ring
}

impl Sampling {
    /// # Errors
    /// A template error of a shader.
    pub(super) fn new(gpu: &Gpu, plan: &Plan, memory: &Memory, pipelines: &mut Pipelines) -> Result<Self> {
        let n_vocab = plan.buffer(plan.logits).width as usize;
        let storage = wgpu::BufferUsages::STORAGE;
        let written = wgpu::BufferUsages::COPY_DST;
        let usages = [
            wgpu::BufferUsages::UNIFORM | written,
            storage | written,
            storage | written,
            storage,
            storage,
            storage | wgpu::BufferUsages::COPY_SRC,
        ];
        let mut at = 0;
        let [params, marks, tables, keys, blocks, chosen] = sizes(n_vocab).map(|bytes| {
            let usage = usages[at];
            at += 1;
            gpu.buffer("sampling", bytes, usage)
        });
        gpu.queue.write_buffer(&tables, 0, bytemuck::cast_slice(tables::tables()));
        let slots = (0..MAX_WAITING)
            .map(|_| gpu.buffer("choice read back", CHOICE, wgpu::BufferUsages::MAP_READ | written))
            .collect();

        let mut group = |kernel: &'static Kernel, buffers: &[&wgpu::Buffer]| {
            let mut entries = vec![bind(0, whole(&params)), bind(1, whole(&memory.run))];
            entries.extend(buffers.iter().zip(FIRST_BUFFER..).map(|(b, at)| bind(at, whole(b))));
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name),
                layout: &pipelines.layout(gpu, kernel),
                entries: &entries,
            })
        };
        let logits = memory.slot(plan.logits);
        let bind_groups = [
            group(&shader::SCORE, &[logits, &marks, &keys, &blocks]),
            group(&shader::CHOOSE, &[&keys, &blocks, &tables, &marks, &chosen]),
        ];
        let pipelines = [pipelines.get(gpu, &shader::SCORE, &[])?, pipelines.get(gpu, &shader::CHOOSE, &[])?];
        Ok(Self {
            pipelines,
            bind_groups,
            params,
            marks,
            chosen,
            _kept: [tables, keys, blocks],
            slots,
            waiting: VecDeque::new(),
            next_slot: 0,
            n_vocab,
            block: block_of(n_vocab),
            started: false,
        })
    }

    /// Whether a plan's vocabulary is one that the kernels take.
    pub(super) fn is_possible(plan: &Plan, n_tokens: u32) -> bool {
        let n_vocab = plan.buffer(plan.logits).width;
        (1..=n_tokens).contains(&n_vocab) && n_vocab as usize <= MAX_VOCAB
    }

    pub(super) fn n_buffers(&self) -> u64 {
        6 + self.slots.len() as u64
    }

    pub(super) fn n_bind_groups(&self) -> u64 {
        self.bind_groups.len() as u64
    }

    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// Chooses as `sampler` would from now on; gives how many choices may wait, and the bytes that this wrote.
    pub(super) fn start(&mut self, gpu: &Gpu, sampler: &Sampler) -> (usize, u64) {
        self.forget();
        self.started = true;
        let marks = sampler.marks();
        let s = sampler.settings();
        let words = params::Sample {
            n_vocab: self.n_vocab as u32,
            block: self.block as u32,
            n_blocks: self.n_vocab.div_ceil(self.block) as u32,
            zero: 0,
            marked: u32::from(marks.is_some()),
            repetition: s.repetition[1],
            repetition_inverse: s.repetition[0],
            frequency: s.frequency,
            presence: s.presence,
            greedy: u32::from(s.greedy),
            top_k: s.top_k,
            top_p: s.top_p,
            min_p_distance: s.min_p_distance,
            factor: s.factor,
            unit: UNIT,
            seed_low: s.seed as u32,
            seed_high: (s.seed >> 32) as u32,
        }
        .words();
        gpu.queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&words));
        let mut written = size_of_val(words.as_slice());
        if let Some(marks) = marks {
            gpu.queue.write_buffer(&self.marks, 0, bytemuck::cast_slice(&marks));
            written += size_of_val(marks.as_slice());
        }
        (MAX_WAITING, written as u64)
    }

    /// # Errors
    /// `internal` where nothing says how to choose, or too many choices wait.
    pub(super) fn check(&self) -> Result<()> {
        if self.started && self.waiting.len() < MAX_WAITING {
            return Ok(());
        }
        Err(Error::internal(format!("{} choices wait to be taken", self.waiting.len())))
    }

    /// Records the two dispatches.
    pub(super) fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatched: &mut impl FnMut(&mut wgpu::ComputePass<'_>, &'static str, u64),
    ) -> u64 {
        let groups = [self.n_vocab.div_ceil(self.block) as u32, 1];
        let names = [shader::SCORE.name, shader::CHOOSE.name];
        for (((pipeline, bind_group), n), name) in
            self.pipelines.iter().zip(&self.bind_groups).zip(groups).zip(names)
        {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(n, 1, 1);
            dispatched(pass, name, u64::from(n));
        }
        self.pipelines.len() as u64
    }

    /// Records the copies of the choice to where the next run finds it, and to where the CPU does.
    pub(super) fn record_copies(&self, encoder: &mut wgpu::CommandEncoder, run: &wgpu::Buffer) {
        encoder.copy_buffer_to_buffer(&self.chosen, 0, run, 4 * run::CHOSEN as u64, 4);
        encoder.copy_buffer_to_buffer(&self.chosen, 0, &self.slots[self.next_slot], 0, CHOICE);
    }

    /// Asks for the choice of the run that was just submitted.
    pub(super) fn submitted(&mut self, submission: wgpu::SubmissionIndex) {
        let (done, mapped) = oneshot::channel();
        self.slots[self.next_slot].slice(..CHOICE).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone where the choice was forgotten.
            let _ = done.send(result);
        });
        self.waiting.push_back(Waiting { slot: self.next_slot, mapped, submission });
        self.next_slot = (self.next_slot + 1) % MAX_WAITING;
    }

    /// The oldest choice that waits. Where this is given up half-way, the choice still waits.
    ///
    /// # Errors
    /// `internal` where none waits, or for logits that are not numbers, as the sampler; `gpu` or `device-lost`.
    pub(super) async fn choice(&mut self, gpu: &Gpu) -> Result<u32> {
        let Some(waiting) = self.waiting.front_mut() else {
            return Err(Error::internal("no choice is under way"));
        };
        let submission = waiting.submission.clone();
        let mapped = gpu.wait(&mut waiting.mapped, Some(submission)).await?;
        let slot = &self.slots[waiting.slot];
        let mut words = [0u32; 2];
        let read = take_mapped(slot, CHOICE, mapped, |bytes| {
            bytemuck::cast_slice_mut(&mut words).copy_from_slice(bytes);
        });
        slot.unmap();
        self.waiting.pop_front();
        read?;
        match words {
            [id, 0] => Ok(id),
            [_, 1] => Err(no_candidate()),
            [id, 0xff80_0000] => Err(broken_logit(id, f32::INFINITY)),
            [id, _] => Err(broken_logit(id, f32::NAN)),
        }
    }

    /// Gives up the choices that wait.
    pub(super) fn forget(&mut self) {
        for waiting in self.waiting.drain(..) {
            self.slots[waiting.slot].unmap();
        }
        self.started = false;
    }
}
