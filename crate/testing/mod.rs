//! What unit tests share: seeded random numbers, random blocks of every format, the golden data's place.

#[cfg(all(feature = "checks", target_arch = "wasm32"))]
pub(crate) mod checks;
#[cfg(test)]
pub(crate) mod interpreter;
#[cfg(test)]
mod model;

#[cfg(test)]
pub(crate) use model::TestModel;

#[cfg(test)]
use std::path::PathBuf;

use crate::quant::GgmlType;

/// SplitMix64: small, seeded, the same on every platform.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In `-1 .. 1`.
    pub(crate) fn value(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }
}

/// f16 scales of every kind that a file may hold: ordinary ones mostly, then zeros, subnormals, the largest.
fn scale(rng: &mut Rng) -> [u8; 2] {
    let bits = match rng.below(12) {
        0 => 0x0000,
        1 => 0x8000,
        2 => 0x0001,
        3 => 0x83ff,
        4 => 0x7bff,
        5 => 0xfbff,
        _ => half::f16::from_f32(rng.value() * 0.1).to_bits(),
    };
    bits.to_le_bytes()
}

/// `n` blocks of random quants under finite scales, ordinary and hostile.
pub(crate) fn random_blocks(rng: &mut Rng, ty: GgmlType, n: usize) -> Vec<u8> {
    blocks(rng, ty, n, scale)
}

/// `n` blocks of random quants under ordinary scales, so that a sum over them is well-conditioned.
#[cfg(test)]
pub(crate) fn ordinary_blocks(rng: &mut Rng, ty: GgmlType, n: usize) -> Vec<u8> {
    blocks(rng, ty, n, |rng| half::f16::from_f32(0.05 + 0.05 * rng.value()).to_bits().to_le_bytes())
}

fn blocks(rng: &mut Rng, ty: GgmlType, n: usize, mut scale: impl FnMut(&mut Rng) -> [u8; 2]) -> Vec<u8> {
    // Where a block's f16 fields lie.
    let fields: &[usize] = match ty {
        GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => &[],
        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 | GgmlType::Iq4Nl | GgmlType::Iq4Xs => &[0],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4K | GgmlType::Q5K => &[0, 2],
        GgmlType::Q2K => &[80, 82],
        GgmlType::Q3K => &[108],
        GgmlType::Q6K => &[208],
    };
    let mut out = Vec::new();
    for _ in 0..n {
        match ty {
            GgmlType::F32 => out.extend(rng.value().to_le_bytes()),
            GgmlType::F16 => out.extend(half::f16::from_f32(rng.value()).to_le_bytes()),
            GgmlType::Bf16 => out.extend(half::bf16::from_f32(rng.value()).to_le_bytes()),
            _ => {
                let at = out.len();
                out.extend((0..ty.format().block_bytes).map(|_| rng.next() as u8));
                for field in fields {
                    out[at + field..][..2].copy_from_slice(&scale(rng));
                }
            }
        }
    }
    out
}

/// `|got - want| / |want|`.
pub(crate) fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |v: f64| v * v;
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = want.iter().map(|b| square(f64::from(*b))).sum();
    (difference / size).sqrt()
}

/// The golden data, where it is present; says so where it is not.
#[cfg(test)]
pub(crate) fn fixtures() -> Option<PathBuf> {
    let dir = std::env::var_os("QWENLET_FIXTURES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/dev")),
        PathBuf::from,
    );
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: ../shared/fixtures is absent");
    None
}
