//! How far to decode ahead: far enough that the GPU never waits for the CPU, also where a read-back takes 100 ms, and
//! no further, so that little is queued before what the page draws.

use std::time::Duration;

use web_time::Instant;

/// What may be queued behind the step that runs.
const BUDGET: Duration = Duration::from_millis(30);
/// How long tokens are counted at least, to tell a rate.
const WINDOW: Duration = Duration::from_millis(50);
/// Steps that are taken one at a time before two are tried again.
const PATIENCE: usize = 32;

/// Watches when tokens are read.
///
/// The first step of an answer has nothing before it: it tells how long a step and its read-back take. The best rate of
/// the last few windows tells how many steps fit in that time and the budget. With few steps under way the rate is low
/// and the number that fits is still larger than they are; it stops growing where the GPU is never idle.
#[derive(Debug)]
pub(super) struct Pace {
    depth: usize,
    /// How long the first step took.
    alone: Duration,
    /// Steps a second, in the last windows.
    rates: [f64; 4],
    /// The first step that was started with this depth.
    since: usize,
    /// When the window began, and the tokens read since.
    window: Option<(Instant, u32)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { depth: 2, alone: Duration::ZERO, rates: [0.0; 4], since: 0, window: None }
    }
}

impl Pace {
    /// Steps to have under way.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The token of a step is read. Steps are counted from 1 in each answer; `last` is the last one started, `since`
    /// when this one was.
    pub(super) fn arrived(&mut self, step: usize, last: usize, since: Instant, now: Instant) {
        if step == 1 {
            self.alone = now - since;
            (self.depth, self.since, self.window) = (self.depth.max(2), 0, None);
        }
        if step < self.since {
            return;
        }
        let Some((begin, n)) = self.window else {
            self.window = Some((now, 0));
            return;
        };
        self.window = Some((begin, n + 1));
        let elapsed = now - begin;
        if elapsed < self.alone.max(WINDOW) {
            return;
        }
        self.window = Some((now, 0));
        self.rates.rotate_right(1);
        self.rates[0] = f64::from(n + 1) / elapsed.as_secs_f64();

        let rate = self.rates.iter().copied().fold(0.0, f64::max);
        let needed = self.alone.as_secs_f64() * rate;
        let fits = ((self.alone + BUDGET).as_secs_f64() * rate) as usize;
        let mut depth = fits.max((needed - 0.1).ceil() as usize).max(1);
        if self.depth == 1 {
            // A step alone does not tell whether the next one behind it would be faster: that is tried now and then.
            depth = depth.max(1 + usize::from(step >= self.since + PATIENCE));
        } else if self.depth as f64 <= needed * 1.05 {
            // Nothing waited in the queue: there is room for more.
            depth = depth.max(self.depth * 3 / 2);
        }
        depth = depth.min(2 * self.depth);
        if depth != self.depth {
            (self.depth, self.since, self.window) = (depth, last + 1, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A GPU whose steps take `step` ms, with half of `around` ms before each and half after, and a CPU that reads
    /// every `poll` ms. Gives, of the last of three answers of 300 steps, the share of the time that the GPU worked,
    /// and how long a step of the answer's second half waited in the queue on average, in ms.
    fn simulated(step: f64, around: f64, poll: f64) -> (f64, f64) {
        const STEPS: usize = 300;
        let start = Instant::now();
        let instant = |ms: f64| start + Duration::from_secs_f64(ms / 1e3);
        let mut pace = Pace::default();
        let (mut now, mut result) = (0.0, (0.0, 0.0));
        for _ in 0..3 {
            let (begin, mut free, mut queued) = (now, now, 0.0);
            let mut under_way = VecDeque::new();
            let (mut started, mut read) = (0, 0);
            while read < STEPS {
                while under_way.len() < pace.depth() && started < STEPS {
                    let at = f64::max(now + around / 2.0, free);
                    if started > STEPS / 2 {
                        queued += (at - now - around / 2.0) / (STEPS / 2) as f64;
                    }
                    free = at + step;
                    under_way.push_back((now, ((free + around / 2.0) / poll).ceil() * poll));
                    started += 1;
                }
                let (since, arrives) = under_way.pop_front().unwrap();
                now = f64::max(now, arrives);
                read += 1;
                pace.arrived(read, started, instant(since), instant(now));
            }
            // The GPU has nothing to do before the first step and after the last.
            result = (STEPS as f64 * step / (now - begin - around), queued);
        }
        result
    }

    #[test]
    fn the_gpu_is_busy_and_the_queue_short() {
        for (step, arounds) in [
            (0.5, &[0.3, 3.0, 20.0][..]),
            (1.0, &[0.3, 3.0, 20.0]),
            (2.0, &[0.3, 3.0, 20.0, 100.0]),
            (5.0, &[0.3, 3.0, 20.0, 100.0]),
            (12.0, &[0.3, 3.0, 20.0, 100.0]),
            (25.0, &[0.3, 3.0, 20.0, 100.0]),
            (90.0, &[100.0]),
        ] {
            for &around in arounds {
                let (busy, queued) = simulated(step, around, 0.01);
                assert!(busy > 0.97, "{step} + {around}: busy {busy}");
                // Where a step is longer than the budget, one.
                assert!(queued < step.max(32.0), "{step} + {around}: queued {queued}");
            }
        }
    }

    #[test]
    fn read_backs_that_come_in_bunches() {
        for step in [3.0, 8.0, 20.0] {
            let (busy, _) = simulated(step, 1.0, 100.0);
            assert!(busy > 0.9, "{step}: busy {busy}");
        }
    }

    #[test]
    fn a_slow_gpu_is_given_one_step_at_a_time() {
        let (busy, queued) = simulated(200.0, 1.0, 0.01);
        assert!(busy > 0.98 && queued < 30.0, "busy {busy}, queued {queued}");
    }
}
