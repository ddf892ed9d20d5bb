//! What unit tests share: seeded random blocks of every format, the golden data's place.

#[cfg(all(feature = "checks", target_arch = "wasm32"))]
pub(crate) mod checks;
#[cfg(test)]
mod model;

#[cfg(test)]
pub(crate) use model::TestModel;

#[cfg(test)]
use std::path::PathBuf;

pub(crate) use crate::check::random::Rng;
use crate::check::random::blocks;
pub(crate) use crate::check::relative_l2;
use crate::quant::GgmlType;

impl Rng {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
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
