use half::{bf16, f16};

use super::*;
use crate::testing::{Rng, fixtures, random_blocks};

#[test]
fn the_table_is_in_the_order_of_the_enum() {
    for (i, f) in FORMATS.iter().enumerate() {
        assert_eq!(f.ty as usize, i, "{}", f.name);
        assert_eq!(GgmlType::from_id(f.id).unwrap(), f.ty);
    }
    assert_eq!(GgmlType::from_id(16).unwrap_err().code(), Code::UnsupportedQuantization);
}

/// Element `i` of a block, written down from the layout tables one element at a time.
fn element(ty: GgmlType, block: &[u8], i: usize) -> f64 {
    let f16_at = |at: usize| f64::from(f16::from_le_bytes([block[at], block[at + 1]]).to_f32());
    let nibble = |at: usize| u32::from(block[at + i % 32 % 16] >> (4 * (i % 32 / 16)) & 15);
    let fifth = |at: usize| u32::from(block[at + i / 8] >> (i % 8) & 1) << 4;
    // For blocks of 256: sub-block of 32 and place in it, half and quarter of a half.
    let (s, l, h, c) = (i / 32, i % 32, i / 128, i % 128 / 32);
    let two_bits = |at: usize| u32::from(block[at + 32 * h + l] >> (2 * c) & 3);
    let k_scales = || {
        let (scale, min) = q4_k::scale_min(block[4..16].try_into().unwrap());
        (f64::from(scale[s]), f64::from(min[s]))
    };
    let k_nibble = |at: usize| u32::from(block[at + 32 * (s / 2) + l] >> (4 * (s % 2)) & 15);
    match ty {
        GgmlType::F32 => f64::from(f32::from_le_bytes(block.try_into().unwrap())),
        GgmlType::F16 => f16_at(0),
        GgmlType::Bf16 => f64::from(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
        GgmlType::Q4_0 => f16_at(0) * (f64::from(nibble(2)) - 8.0),
        GgmlType::Q4_1 => f16_at(0) * f64::from(nibble(4)) + f16_at(2),
        GgmlType::Q5_0 => f16_at(0) * (f64::from(nibble(6) + fifth(2)) - 16.0),
        GgmlType::Q5_1 => f16_at(0) * f64::from(nibble(8) + fifth(4)) + f16_at(2),
        GgmlType::Q8_0 => f16_at(0) * f64::from(block[2 + i] as i8),
        GgmlType::Q2K => {
            let scale = block[i / 16];
            f16_at(80) * f64::from(scale & 15) * f64::from(two_bits(16)) - f16_at(82) * f64::from(scale >> 4)
        }
        GgmlType::Q3K => {
            let j = i / 16;
            let low = block[96 + j % 8] >> (4 * (j / 8)) & 15;
            let scale = low | (block[104 + j % 4] >> (2 * (j / 4)) & 3) << 4;
            let q = two_bits(32) + 4 * u32::from(block[l] >> s & 1);
            f16_at(108) * (f64::from(scale) - 32.0) * (f64::from(q) - 4.0)
        }
        GgmlType::Q4K => f16_at(0) * k_scales().0 * f64::from(k_nibble(16)) - f16_at(2) * k_scales().1,
        GgmlType::Q5K => {
            let q = k_nibble(48) + (u32::from(block[16 + l] >> s & 1) << 4);
            f16_at(0) * k_scales().0 * f64::from(q) - f16_at(2) * k_scales().1
        }
        GgmlType::Q6K => {
            let low = block[64 * h + 32 * (c % 2) + l] >> (4 * (c / 2)) & 15;
            let q = u32::from(low) + two_bits(128) * 16;
            f16_at(208) * f64::from(block[192 + i / 16] as i8) * (f64::from(q) - 32.0)
        }
        GgmlType::Iq4Nl => f16_at(0) * f64::from(iq4_nl::LEVELS[nibble(2) as usize]),
        GgmlType::Iq4Xs => {
            let low = block[4 + s / 2] >> (4 * (s % 2)) & 15;
            let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * s) & 3;
            let q = block[8 + 16 * s + l % 16] >> (4 * (l / 16)) & 15;
            f16_at(0) * (f64::from(u16::from(low) | high << 4) - 32.0) * f64::from(iq4_nl::LEVELS[q as usize])
        }
    }
}

#[test]
fn every_format_decodes_as_its_layout_says() {
    let mut rng = Rng::new(1);
    for f in &FORMATS {
        let bytes = random_blocks(&mut rng, f.ty, 64);
        let mut out = vec![0.0; 64 * f.block_elems];
        decode(f.ty, &bytes, &mut out).unwrap();
        for (block, got) in bytes.chunks_exact(f.block_bytes).zip(out.chunks_exact(f.block_elems)) {
            let want: Vec<f64> = (0..f.block_elems).map(|i| element(f.ty, block, i)).collect();
            let largest = want.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            for (i, (&got, want)) in got.iter().zip(want).enumerate() {
                let error = (f64::from(got) - want).abs();
                assert!(error <= 1e-6 * largest, "{} element {i}: {got}, not {want}", f.name);
            }
        }
    }
}

#[test]
fn a_wrong_length_is_refused() {
    for f in &FORMATS {
        let mut out = vec![0.0; f.block_elems];
        let error = decode(f.ty, &vec![0; f.block_bytes - 1], &mut out).unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{}", f.name);
    }
}

#[test]
fn golden_blocks_decode_to_their_golden_values() {
    let Some(dir) = fixtures() else { return };
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("blocks.json")).unwrap()).unwrap();
    let data = std::fs::read(dir.join("blocks.bin")).unwrap();
    let mut checked = 0;
    for entry in index["types"].as_array().unwrap() {
        let number = |key: &str| entry[key].as_u64().unwrap() as usize;
        let name = entry["type"].as_str().unwrap();
        let Some(f) = FORMATS.iter().find(|f| f.name == name) else { continue };
        assert_eq!(f.id as usize, number("ggml_type"));
        let (elems, n) = (number("block_elems"), number("n_blocks"));
        let raw = &data[number("raw_offset")..][..n * number("block_bytes")];
        let mut out = vec![0.0; n * elems];
        decode(f.ty, raw, &mut out).unwrap();
        let want = &data[number("f32_offset")..][..n * elems * 4];
        let want: Vec<f32> = want.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let exact = ["F16", "BF16", "Q8_0", "Q4_0", "Q5_0"].contains(&name);
        for (b, (got, want)) in out.chunks(elems).zip(want.chunks(elems)).enumerate() {
            let largest = want.iter().fold(0.0f32, |a, v| a.max(v.abs()));
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                let close = if exact {
                    got.to_bits() == want.to_bits() || (*got == 0.0 && *want == 0.0)
                } else {
                    (got - want).abs() <= 1e-6 * largest
                };
                assert!(close, "{name} block {b} ({}) element {i}: {got}, not {want}", entry["notes"][b]);
            }
        }
        checked += 1;
    }
    assert_eq!(checked, 14, "every golden type but MXFP4, which this build does not run");
}
