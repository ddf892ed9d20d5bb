//! Random numbers and weights, the same everywhere.

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

    /// In `-1 .. 1`.
    pub(crate) fn value(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }
}

/// `n` blocks of random quants under scales of the caller's.
pub(crate) fn blocks(
    rng: &mut Rng,
    ty: GgmlType,
    n: usize,
    mut scale: impl FnMut(&mut Rng) -> [u8; 2],
) -> Vec<u8> {
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
