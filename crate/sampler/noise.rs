//! Random numbers without a state, and the draw that uses them.
//!
//! Each token of each step has its own random number, a hash of (seed, step, token). The token drawn is the one that
//! wins an exponential race: the largest `logit / temperature - ln(-ln(u))`, which is token `i` with probability
//! softmax(logits / temperature)[i] (Gumbel 1954). Unlike a walk along the cumulative distribution, the winner does not
//! depend on the order of the candidates or of a sum: a GPU finds it with a plain argmax over the same hash, and a
//! small difference between two backends' logits seldom changes it. Logarithms are libm's, the same code on every
//! target, so native and wasm runs agree to the last bit.

use super::candidates::Candidate;

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

/// A number in (0, 1), an odd multiple of 2⁻²⁴ and so exact in f32.
pub(super) fn uniform(seed: u64, step: u32, token: u32) -> f32 {
    let [hash, ..] = pcg4d([seed as u32, (seed >> 32) as u32, step, token]);
    ((hash >> 9) * 2 + 1) as f32 / (1u32 << 24) as f32
}

/// What [`gumbel`] gives at most: for `u = 1 - 2⁻²⁴`.
const LARGEST_NOISE: f64 = 16.64;

/// Noise whose largest value, added to logits, falls on each with the softmax's probability.
fn gumbel(u: f32) -> f64 {
    -libm::log(-libm::log(f64::from(u)))
}

/// Draws one of the candidates by softmax of score / temperature; `None` where there are none.
pub(super) fn race(candidates: &[Candidate], temperature: f64, seed: u64, step: u32) -> Option<u32> {
    let mut best: Option<(f64, u32)> = None;
    for c in candidates {
        let score = f64::from(c.score) / temperature;
        if best.is_some_and(|(value, _)| score + LARGEST_NOISE < value) {
            continue;
        }
        let value = score + gumbel(uniform(seed, step, c.id));
        if best.is_none_or(|(best, id)| value > best || (value == best && c.id < id)) {
            best = Some((value, c.id));
        }
    }
    best.map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_pinned() {
        // A change of these changes every seeded answer, and must be made in WGSL too.
        let numbers: Vec<u32> =
            [(0, 0, 0), (1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1), (u64::MAX, u32::MAX, u32::MAX)]
                .map(|(seed, step, token)| (uniform(seed, step, token) * (1u32 << 24) as f32) as u32)
                .to_vec();
        assert_eq!(numbers, [983_801, 736_495, 2_792_817, 3_070_573, 9_281_279, 9_916_121]);
    }

    #[test]
    fn noise_is_bounded() {
        let (least, most) = (1.0 / (1u32 << 24) as f32, 1.0 - 1.0 / (1u32 << 24) as f32);
        assert!(gumbel(least).is_finite() && gumbel(most) < LARGEST_NOISE);
    }

    #[test]
    fn numbers_are_uniform_and_unrelated_to_their_neighbours() {
        let n = 100_000u32;
        let mut buckets = [0u32; 64];
        let (mut sum, mut by_token, mut by_step) = (0.0, 0.0, 0.0);
        for i in 0..n {
            let u = |step, token| f64::from(uniform(7, step, token));
            buckets[(u(3, i) * 64.0) as usize] += 1;
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
