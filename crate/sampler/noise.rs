//! Random numbers without a state, and the draw that uses them.
//!
//! Each token of each step has its own random number, a hash of (seed, step, token). The token drawn is the one that
//! wins an exponential race: the largest `logit / temperature - ln(-ln(u))`, which is token `i` with probability
//! softmax(logits / temperature)[i] (Gumbel 1954). Unlike a walk along the cumulative distribution, the winner does not
//! depend on the order of the candidates or of a sum: a GPU finds it with a plain argmax over the same hash, and a
//! small difference between two backends' logits seldom changes it. The race is run in integers ([`super::tables`]).

use super::Settings;
use super::candidates::Candidate;
use super::tables;
use crate::kernels::shader::draw::REACH;

/// Four words mixed so that each depends on all (pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering",
/// JCGT 9(3), 2020): 32-bit multiplications and shifts only, the same in WGSL.
fn pcg4d(v: [u32; 4]) -> [u32; 4] {
    let [mut x, mut y, mut z, mut w] = v.map(|a| a.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |x: &mut u32, y: &mut u32, z: &mut u32, w: &mut u32| {
        *x = x.wrapping_add(y.wrapping_mul(*w));
        *y = y.wrapping_add(z.wrapping_mul(*x));
        *z = z.wrapping_add(x.wrapping_mul(*y));
        *w = w.wrapping_add(y.wrapping_mul(*z));
    };
    mix(&mut x, &mut y, &mut z, &mut w);
    [x, y, z, w] = [x, y, z, w].map(|a| a ^ (a >> 16));
    mix(&mut x, &mut y, &mut z, &mut w);
    [x, y, z, w]
}

/// The random number of a token at a step.
fn hash(seed: u64, step: u32, token: u32) -> u32 {
    pcg4d([seed as u32, (seed >> 32) as u32, step, token])[0]
}

/// Draws one of the candidates by softmax of score / temperature; `best` is the largest score. `None` where there are
/// none.
pub(super) fn race(candidates: &[Candidate], best: f32, settings: &Settings, step: u32) -> Option<u32> {
    let mut first: Option<(i32, u32)> = None;
    for c in candidates {
        let behind = settings.behind(best, c.score);
        if behind >= REACH as f32 {
            continue;
        }
        let value = tables::noise(hash(settings.seed, step, c.id)) - behind as i32;
        if first.is_none_or(|(most, id)| value > most || (value == most && c.id < id)) {
            first = Some((value, c.id));
        }
    }
    first.map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_pinned() {
        // A change of these changes every seeded answer, and must be made in WGSL too.
        let cases =
            [(0, 0, 0), (1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1), (u64::MAX, u32::MAX, u32::MAX)];
        let numbers = cases.map(|(seed, step, token)| hash(seed, step, token));
        assert_eq!(
            numbers.map(|n| (n >> 9) * 2 + 1),
            [983_801, 736_495, 2_792_817, 3_070_573, 9_281_279, 9_916_121]
        );
    }

    #[test]
    fn numbers_are_uniform_and_unrelated_to_their_neighbours() {
        let n = 100_000u32;
        let mut buckets = [0u32; 64];
        let (mut sum, mut by_token, mut by_step) = (0.0, 0.0, 0.0);
        for i in 0..n {
            let u = |step, token| f64::from(hash(7, step, token)) / f64::from(u32::MAX);
            buckets[(hash(7, 3, i) >> 26) as usize] += 1;
            sum += u(3, i);
            by_token += (u(3, i) - 0.5) * (u(3, i + 1) - 0.5);
            by_step += (u(i, 5) - 0.5) * (u(i + 1, 5) - 0.5);
        }
        let expected = f64::from(n) / 64.0;
        let chi2: f64 = buckets.iter().map(|&b| (f64::from(b) - expected).powi(2) / expected).sum();
        // 63 degrees of freedom: above 120 with probability 2e-5.
        assert!(chi2 < 120.0, "{chi2}");
        // Five standard deviations each.
        assert!((sum / f64::from(n) - 0.5).abs() < 5.0 / (12.0 * f64::from(n)).sqrt());
        for correlation in [by_token, by_step] {
            assert!((12.0 * correlation / f64::from(n)).abs() < 5.0 / f64::from(n).sqrt(), "{correlation}");
        }
    }
}
