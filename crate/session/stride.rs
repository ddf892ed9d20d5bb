//! How many rows of a prompt to run at once: many keep a large GPU busy, few leave a small one to the page in between,
//! and an abort waits for few runs.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use web_time::Instant;

use crate::error::Result;

/// Runs that may wait behind one: enough for a browser that tells late what is done. Behind a long one waits one.
const BEHIND: usize = 2;
/// Rows to begin with.
const FIRST: usize = 128;
/// Fewer would read every weight more often than they multiply with it.
const FEWEST: usize = 64;
/// A run that takes no longer may be made twice as large.
const SHORT: Duration = Duration::from_millis(150);
/// One that takes longer keeps a page, or an abort, waiting.
const LONG: Duration = Duration::from_millis(400);
/// How much faster each row has to be where twice as many run at once.
const CLEARLY: f64 = 1.1;

#[derive(Debug)]
pub(super) struct Stride {
    rows: usize,
    most: usize,
    /// Rows a second with half as many.
    below: Option<f64>,
    /// More would be no faster.
    settled: bool,
    behind: usize,
}

/// A run that may still be under way.
pub(super) struct Started {
    rows: usize,
    since: Instant,
    done: LocalBoxFuture<'static, Result<()>>,
}

impl Started {
    pub(super) fn new(rows: usize, since: Instant, done: LocalBoxFuture<'static, Result<()>>) -> Self {
        Self { rows, since, done }
    }
}

impl Stride {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: most.min(FIRST), most, below: None, settled: false, behind: BEHIND }
    }

    /// Runs that may wait behind the one that is under way.
    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Waits for a run; it began once the one before it was done, at `before`, which becomes when this one was.
    ///
    /// # Errors
    /// What the backend reports.
    pub(super) async fn wait(&mut self, run: Started, before: &mut Instant) -> Result<()> {
        run.done.await?;
        let now = Instant::now();
        self.took(run.rows, now - run.since.max(*before));
        *before = now;
        Ok(())
    }

    /// Doubles and halves only, so that the same prompt is nearly always cut in the same places.
    fn took(&mut self, rows: usize, time: Duration) {
        if rows != self.rows {
            return;
        }
        self.behind = if time > LONG { 1 } else { BEHIND };
        let rate = rows as f64 / time.as_secs_f64().max(1e-6);
        let no_faster = rows > FIRST && self.below.is_some_and(|below| rate < below * CLEARLY);
        if no_faster || (time > LONG && rows > FEWEST) {
            (self.rows, self.below, self.settled) = (rows / 2, None, true);
        } else if time <= SHORT && (!self.settled || rows < FIRST) && 2 * rows <= self.most {
            (self.rows, self.below) = (2 * rows, Some(rate));
        } else {
            self.below = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows after some runs on a device that does `rate` rows a second and takes `alone` ms beside for any run.
    fn settled(most: usize, rate: f64, alone: f64) -> usize {
        let mut stride = Stride::new(most);
        for _ in 0..12 {
            stride.took(stride.rows(), Duration::from_secs_f64(stride.rows() as f64 / rate + alone / 1e3));
            // What is left of a prompt says nothing.
            stride.took(stride.rows() - 1, Duration::ZERO);
        }
        stride.rows()
    }

    #[test]
    fn devices_that_many_rows_fill_better_take_many() {
        // Few rows take as long as many.
        assert_eq!(settled(512, 40_000.0, 15.0), 512);
        // Too long for more.
        assert_eq!(settled(512, 2000.0, 60.0), 256);
        // As fast with few.
        assert_eq!(settled(512, 2000.0, 1.0), 128);
        // Slow.
        assert_eq!(settled(512, 100.0, 1.0), 64);
        // A context shorter than the fewest rows, and a backend with no room for more.
        assert_eq!(settled(64, 100.0, 1.0), 64);
        assert_eq!(settled(128, 1e6, 10.0), 128);
    }

    #[test]
    fn a_device_that_becomes_slow_gets_fewer() {
        let mut stride = Stride::new(512);
        for _ in 0..3 {
            stride.took(stride.rows(), Duration::from_millis(50));
        }
        assert_eq!(stride.rows(), 512);
        stride.took(512, Duration::from_secs(1));
        assert_eq!((stride.rows(), stride.behind()), (256, 1));
        stride.took(256, Duration::from_secs(1));
        stride.took(128, Duration::from_secs(1));
        stride.took(64, Duration::from_secs(1));
        assert_eq!((stride.rows(), stride.behind()), (64, 1));
        // It may have been busy with something else.
        stride.took(64, Duration::from_millis(50));
        assert_eq!((stride.rows(), stride.behind()), (128, 2));
        stride.took(128, Duration::from_millis(50));
        assert_eq!(stride.rows(), 128);
    }
}
