//! Logarithms and powers of two in integers, so that every backend has the same to the last bit.
//!
//! Floating-point logarithms and exponentials differ between devices, and a device may fuse or reorder what surrounds
//! them. Here they are looked up in a table and interpolated, in integers throughout: the sampler's decisions on given
//! logits are the same on a CPU and on any GPU, by construction and not by luck. Everything is in powers of two.

use std::sync::LazyLock;

use crate::kernels::shader::draw::{HALF, ONE, POWER_BITS, POWERS, POWERS_AT, STEPS, WEIGHT_BITS};

/// Everything that is looked up, as a shader reads it too: the noise of `v` near 0, of `v` near 1, powers of two.
pub(crate) fn tables() -> &'static [i32] {
    static TABLES: LazyLock<Vec<i32>> = LazyLock::new(|| {
        let unit = f64::from(1u32 << ONE);
        let steps = |i: usize| (1.0 + (i % STEPS) as f64 / STEPS as f64) * 2f64.powi((i / STEPS) as i32 - 33);
        let noise = |log: f64| (-libm::log2(-log) * unit) as i32;
        let near_zero = (0..HALF).map(|i| noise(libm::log1p(-steps(i)) * std::f64::consts::LOG2_E));
        let near_one = (0..HALF).map(|i| noise(libm::log2(steps(i))));
        let power = |i: usize| libm::exp2(POWER_BITS as f64 - i as f64 / POWERS as f64) as i32;
        near_zero.chain(near_one).chain((0..=POWERS).map(power)).collect()
    });
    &TABLES
}

/// -log2(-log2(u)) of a number u in (0, 1) that a hash names, in 2⁻²⁰: the lower half of the hashes are small `1 - u`,
/// the upper half small `u`, so that both ends are fine.
pub(super) fn noise(hash: u32) -> i32 {
    // x / 2³³ is odd and in (0, 1/2).
    let x = hash << 1 | 1;
    let zeros = x.leading_zeros();
    let mantissa = x << zeros;
    let at = (hash >> 31) as usize * HALF + (31 - zeros) as usize * STEPS + (mantissa >> 24) as usize % STEPS;
    let (a, b) = (tables()[at], tables()[at + 1]);
    a + (((b - a) * (mantissa >> 8 & 0xffff) as i32) >> 16)
}

/// 2^-x for `x` in 2⁻²⁰, in 2⁻³⁰.
pub(super) fn weight(x: u32) -> u32 {
    let (octaves, at, fraction) = (x >> ONE, POWERS_AT + (x >> 12) as usize % POWERS, (x & 0xfff) as i32);
    if octaves > WEIGHT_BITS as u32 {
        return 0;
    }
    let (a, b) = (tables()[at], tables()[at + 1]);
    (((a - (((a - b) * fraction) >> 12)) as u32) << (WEIGHT_BITS - POWER_BITS)) >> octaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::shader::draw::REACH;

    fn exact(hash: u32) -> f64 {
        let x = f64::from(hash << 1 | 1) / 2f64.powi(33);
        let log = if hash >> 31 == 0 { (-x).ln_1p() / std::f64::consts::LN_2 } else { x.log2() };
        -(-log).log2()
    }

    #[test]
    fn noise_is_the_logarithm_of_a_logarithm() {
        let ends = [0, 1, 2, 3, u32::MAX >> 1, (u32::MAX >> 1) + 1, u32::MAX - 1, u32::MAX];
        let middle = (0..100_000u32).map(|i| i.wrapping_mul(2_654_435_761));
        for hash in ends.into_iter().chain(middle) {
            let got = f64::from(noise(hash)) / f64::from(1u32 << ONE);
            assert!((got - exact(hash)).abs() < 2e-5, "{hash:#x}: {got}, {}", exact(hash));
        }
        let range = exact(0) - exact(1 << 31);
        assert!(range < (REACH >> ONE) as f64 && range > 37.0, "{range}");
    }

    #[test]
    fn weights_are_powers_of_two() {
        let unit = f64::from(1u32 << WEIGHT_BITS);
        assert_eq!(weight(0), 1 << WEIGHT_BITS);
        assert_eq!(weight(3 << ONE), 1 << (WEIGHT_BITS - 3));
        assert_eq!((weight(30 << ONE), weight(31 << ONE), weight(u32::MAX)), (1, 0, 0));
        let mut last = u32::MAX;
        for x in (0..31 << ONE).step_by(997) {
            let (got, want) = (weight(x), (-f64::from(x) / f64::from(1u32 << ONE)).exp2() * unit);
            assert!((f64::from(got) - want).abs() <= want * 2e-6 + 1.0, "{x}: {got}, {want}");
            assert!(got <= last, "weights fall");
            last = got;
        }
    }
}
