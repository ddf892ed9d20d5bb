//! Which products are clearly faster on this device with activations rounded to bytes: found by trying both forms. Whether a
//! GPU multiplies bytes faster than floats is not in what a browser tells of it.

use std::sync::Arc;

use web_time::Instant;

use super::batch;
use super::draft::FEW_LINES;
use super::{Prepared, WebGpuBackend};
use crate::backend::RunLimits;
use crate::error::Result;
use crate::kernels::shader::UNPACKS;
use crate::plan::state::{PAGE_TOKENS, PageId};
use crate::plan::{Batch, Plan, Row};
use crate::quant::GgmlType;

/// What rounding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// Products of few lines, which decode.
    pub(super) few: bool,
    /// Products of many lines, which prefill.
    pub(super) many: bool,
}

impl Rounds {
    pub(crate) const NONE: Self = Self { few: false, many: false };

    pub(crate) fn any(self) -> bool {
        self.few || self.many
    }

    /// What a user is told.
    pub(super) fn features(self) -> Vec<String> {
        let named = [(self.few, "int8-decode"), (self.many, "int8-prefill")];
        named.into_iter().filter(|(rounds, _)| *rounds).map(|(_, name)| name.to_owned()).collect()
    }

    /// Whether activations are rounded for a product of so many lines with a weight of this format.
    pub(crate) fn hold(self, lines: usize, format: GgmlType) -> bool {
        let asked = if lines <= FEW_LINES as usize { self.few } else { self.many };
        asked && UNPACKS[format as usize].packed.is_some()
    }
}

/// How much faster is clearly faster.
const CLEARLY: f64 = 1.15;
/// Each form has so many turns; its best one counts.
const TURNS: usize = 5;
/// Seconds that a turn takes at least, beside which the price of submitting is small, and runs of it at most.
const TURN: f64 = 4e-3;
const MAX_RUNS: u32 = 64;
/// A turn is so many steps of the clock, which browsers make coarse.
const STEPS: f64 = 20.0;
/// Seconds from which on nothing can be measured: between steps of the clock, or until a device with nothing to do says
/// that it is done, which Firefox tells ten times a second.
const LATE: f64 = 1e-2;

/// One turn is enough where it takes longer.
const LONG: f64 = 0.1;
/// Rows of a run that prefills.
const PREFILL: usize = 128;

impl WebGpuBackend {
    /// Finds out what to round, with plans like parts of the real one: for decoding and for prefilling. What is prepared
    /// is lost.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) async fn race(&mut self, decode: &Arc<Plan>, prefill: &Arc<Plan>) -> Result<()> {
        if !self.rounds.any() {
            return Ok(());
        }
        let mut rounds = Rounds::NONE;
        let step = step_of_clock();
        if step < LATE && self.answers_after().await? < LATE {
            let turn = TURN.max(STEPS * step);
            let [exact, rounded] = self.times(decode, 1, turn).await?;
            rounds.few = rounded * CLEARLY < exact;
            let [exact, rounded] = self.times(prefill, PREFILL, turn).await?;
            rounds.many = rounded * CLEARLY < exact;
            self.prepared = None;
        }
        self.rounds = rounds;
        self.info.features = self.rounds.features();
        Ok(())
    }

    /// Seconds that runs of so many rows take, exact and rounded.
    async fn times(&mut self, plan: &Arc<Plan>, n_rows: usize, turn: f64) -> Result<[f64; 2]> {
        let n_pages = n_rows.div_ceil(PAGE_TOKENS);
        let limits =
            RunLimits { max_rows: n_rows, max_outputs: 1, max_sequences: 1, n_pages, keep_buffers: false };
        let row = |position| Row { token: 0, sequence: 0, position, output: false };
        let rows: Vec<Row> = (0..n_rows as u32).map(row).collect();
        let table: Vec<PageId> = (0..n_pages as u32).map(PageId).collect();
        let batch = Batch { rows: &rows, tables: &[&table] };
        let counts = batch::write(&batch, limits, 1, false, batch::splits, &mut Vec::new())?;
        let mut forms: Vec<Option<Prepared>> = Vec::new();
        for rounded in [false, true] {
            self.rounds = Rounds { few: rounded, many: rounded };
            self.allocate(plan, limits)?;
            // Others would take long to compile.
            self.make_kernels_for(Some(counts))?;
            self.allocated().await?;
            self.compiled().await?;
            forms.push(self.prepared.take());
        }
        let mut best = [f64::INFINITY; 2];
        let (mut runs, mut turns) = (1, TURNS);
        // How many runs are long enough, once pipelines and caches are paid for.
        for form in &mut forms {
            std::mem::swap(&mut self.prepared, form);
            self.turn(&batch, 1).await?;
            let mut seconds = self.turn(&batch, runs).await?;
            while seconds < turn && runs < MAX_RUNS {
                runs *= 2;
                seconds = self.turn(&batch, runs).await?;
            }
            if seconds > LONG {
                turns = 1;
            }
            std::mem::swap(&mut self.prepared, form);
        }
        for _ in 0..turns {
            for (form, best) in forms.iter_mut().zip(&mut best) {
                std::mem::swap(&mut self.prepared, form);
                *best = best.min(self.turn(&batch, runs).await?);
                std::mem::swap(&mut self.prepared, form);
            }
        }
        Ok(best)
    }

    /// Seconds until it says that it has nothing to do.
    async fn answers_after(&self) -> Result<f64> {
        self.gpu.idle().await?;
        let start = Instant::now();
        self.gpu.idle().await?;
        Ok(start.elapsed().as_secs_f64())
    }

    async fn turn(&mut self, batch: &Batch<'_>, runs: u32) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..runs {
            self.submit(batch, None)?;
        }
        self.gpu.idle().await?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Seconds.
fn step_of_clock() -> f64 {
    let start = Instant::now();
    loop {
        let step = start.elapsed();
        if !step.is_zero() {
            return step.as_secs_f64();
        }
    }
}
