//! The tokens still in the race, narrowed step by step without sorting a whole vocabulary.

use std::cmp::Ordering;

use super::settings;

/// A token and its logit, bias and penalties included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) score: f32,
}

/// Values that are looked at together: the largest of a stretch is found several lanes at once, and tells of most
/// stretches that nothing in them matters.
pub(super) const STRETCH: usize = 256;

/// The largest value; NaN where one is.
pub(super) fn largest(scores: &[f32]) -> f32 {
    // Once there, NaN stays: nothing is greater.
    let greater = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    let (lanes, rest) = scores.as_chunks::<8>();
    let mut greatest = [f32::NEG_INFINITY; 8];
    for lane in lanes {
        for (a, &b) in greatest.iter_mut().zip(lane) {
            *a = greater(*a, b);
        }
    }
    greatest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, greater)
}

/// Better first; equal scores by id. Scores are never NaN.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// A list that keeps its memory from token to token.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
}

impl Candidates {
    pub(super) fn kept(&self) -> &[Candidate] {
        &self.list
    }

    /// Every token that is possible at all.
    pub(super) fn take_all(&mut self, scores: &[f32]) {
        self.list.clear();
        self.list.extend(
            (0..)
                .zip(scores)
                .filter(|(_, s)| **s > f32::NEG_INFINITY)
                .map(|(id, &score)| Candidate { id, score }),
        );
    }

    /// The `k` best, in no order. One pass: whatever beats the worst of the best `k` so far is collected, and the
    /// collection is cut back to `k` when it has grown to twice that.
    pub(super) fn take_best(&mut self, scores: &[f32], k: usize) {
        self.list.clear();
        if k == 0 {
            return;
        }
        if k >= scores.len() {
            return self.take_all(scores);
        }
        let full = (2 * k).max(64);
        let mut threshold = f32::NEG_INFINITY;
        for (first, stretch) in (0..).step_by(STRETCH).zip(scores.chunks(STRETCH)) {
            // Equal to the threshold loses: the one already in has the smaller id.
            if largest(stretch) <= threshold {
                continue;
            }
            for (id, &score) in (first..).zip(stretch) {
                if score > threshold {
                    self.list.push(Candidate { id, score });
                    if self.list.len() == full {
                        threshold = self.cut(k).unwrap_or(threshold);
                    }
                }
            }
        }
        self.cut(k);
    }

    /// Keeps the `k` best; the score of the worst of them.
    fn cut(&mut self, k: usize) -> Option<f32> {
        if self.list.len() <= k {
            return None;
        }
        let (_, worst, _) = self.list.select_nth_unstable_by(k - 1, order);
        let score = worst.score;
        self.list.truncate(k);
        Some(score)
    }

    /// Best first.
    pub(super) fn sort(&mut self) {
        self.list.sort_unstable_by(order);
    }

    /// Keeps the shortest run of best tokens whose probabilities reach `p`, in 2⁻³², at least one.
    pub(super) fn keep_top_p(&mut self, p: u32) {
        let Some(max) = self.list.iter().map(|c| c.score).max_by(f32::total_cmp) else { return };
        let weight = |c: &Candidate| u64::from(settings::weight(max, c.score));
        let goal = settings::goal(self.list.iter().map(weight).sum(), p);
        // The run is nearly always short: sort a growing front instead of everything.
        let (mut sorted, mut reached) = (0, 0);
        while sorted < self.list.len() {
            let front = (sorted * 4).clamp(64, self.list.len().max(64)).min(self.list.len());
            if front < self.list.len() {
                self.list[sorted..].select_nth_unstable_by(front - sorted - 1, order);
            }
            self.list[sorted..front].sort_unstable_by(order);
            for i in sorted..front {
                reached += weight(&self.list[i]);
                if reached >= goal {
                    self.list.truncate(i + 1);
                    return;
                }
            }
            sorted = front;
        }
    }

    /// Keeps tokens at most so far below the best one.
    pub(super) fn keep_within(&mut self, distance: f32) {
        let Some(max) = self.list.iter().map(|c| c.score).max_by(f32::total_cmp) else { return };
        self.list.retain(|c| max - c.score <= distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores with many ties.
    fn scores(n: u32) -> Vec<f32> {
        (0..n).map(|i| ((i.wrapping_mul(2_654_435_761) >> 20) % 97) as f32 / 7.0 - 6.0).collect()
    }

    fn sorted(scores: &[f32]) -> Vec<Candidate> {
        let mut all: Vec<_> = (0..).zip(scores).map(|(id, &score)| Candidate { id, score }).collect();
        all.sort_by(order);
        all
    }

    #[test]
    fn the_best_k_are_those_of_a_full_sort() {
        let scores = scores(5000);
        let all = sorted(&scores);
        let mut candidates = Candidates::default();
        for k in [1, 2, 20, 63, 64, 65, 700, 4999, 5000, 9000] {
            candidates.take_best(&scores, k);
            candidates.sort();
            assert_eq!(candidates.kept(), &all[..k.min(5000)], "k = {k}");
        }
        candidates.take_best(&scores, 0);
        assert!(candidates.kept().is_empty());
    }

    #[test]
    fn top_p_is_the_shortest_prefix_that_reaches_it() {
        let scores = scores(3000);
        let all = sorted(&scores);
        let weights: Vec<f64> =
            all.iter().map(|c| (f64::from(c.score) - f64::from(all[0].score)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut candidates = Candidates::default();
        for p in [1e-9, 0.1, 0.5, 0.9, 0.999] {
            let mut reached = 0.0;
            let short = |&&w: &&f64| {
                let short = reached < p * sum;
                reached += w;
                short
            };
            let n = weights.iter().take_while(short).count();
            candidates.take_all(&scores);
            candidates.keep_top_p((p * 2f64.powi(32)) as u32);
            assert_eq!(candidates.kept(), &all[..n], "p = {p}");
        }
    }

    #[test]
    fn impossible_tokens_are_never_candidates() {
        let mut candidates = Candidates::default();
        let scores = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY, 0.0];
        for k in [3, 4, 10] {
            candidates.take_best(&scores, k);
            candidates.sort();
            assert_eq!(candidates.kept().iter().map(|c| c.id).collect::<Vec<_>>(), [1, 3], "k = {k}");
        }
    }
}
