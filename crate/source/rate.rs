//! How fast bytes come.

use std::collections::VecDeque;

/// Milliseconds that a rate is taken over.
const WINDOW: f64 = 5000.0;
/// Milliseconds before there is one to tell.
const LEAST: f64 = 700.0;

/// Bytes a second, over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// Time and bytes by then.
    samples: VecDeque<(f64, u64)>,
}

impl Rate {
    /// Begins anew: what comes from elsewhere comes at another rate.
    pub(crate) fn reset(&mut self) {
        self.samples.clear();
    }

    /// Notes that at `now` there are so many bytes.
    pub(crate) fn add(&mut self, now: f64, bytes: u64) {
        if self.samples.back().is_some_and(|&(_, last)| bytes < last) {
            self.reset();
        }
        self.samples.push_back((now, bytes));
        // The one before the window stays: the rate is of all of it.
        while self.samples.len() > 2 && now - self.samples[1].0 >= WINDOW {
            self.samples.pop_front();
        }
    }

    pub(crate) fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let ms = last.0 - first.0;
        (ms >= LEAST).then(|| (last.1 - first.1) as f64 * 1000.0 / ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        rate.add(0.0, 0);
        rate.add(500.0, 1000);
        assert_eq!(rate.per_second(), None);
        rate.add(1000.0, 2000);
        assert_eq!(rate.per_second(), Some(2000.0));
        for i in 2..=20 {
            rate.add(1000.0 * f64::from(i), 2000 + 100 * (u64::from(i as u32) - 1));
        }
        assert_eq!(rate.per_second(), Some(100.0));
        rate.add(21_000.0, 5); // another file
        assert_eq!(rate.per_second(), None);
    }
}
