//! From f32 to the blocks of every format, and back. Candle's quantizers where it has the type, plain ones otherwise.

use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use qwenlet::quant::GgmlType;

/// Values that the four bits of IQ4 stand for.
const IQ4: [f32; 16] =
    [-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.];

fn candle_type(ty: GgmlType) -> Option<GgmlDType> {
    Some(match ty {
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q2K => GgmlDType::Q2K,
        GgmlType::Q3K => GgmlDType::Q3K,
        GgmlType::Q4K => GgmlDType::Q4K,
        GgmlType::Q5K => GgmlDType::Q5K,
        GgmlType::Q6K => GgmlDType::Q6K,
        GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 | GgmlType::Iq4Nl | GgmlType::Iq4Xs => return None,
    })
}

/// Blocks of `values`, whole rows of `cols`.
pub fn quantize(ty: GgmlType, values: &[f32], cols: usize) -> Vec<u8> {
    assert!(values.len().is_multiple_of(cols) && cols.is_multiple_of(ty.format().block_elems));
    match ty {
        GgmlType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        GgmlType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        GgmlType::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        GgmlType::Iq4Nl => values.chunks_exact(32).flat_map(iq4_nl).collect(),
        GgmlType::Iq4Xs => values.chunks_exact(256).flat_map(iq4_xs).collect(),
        _ => {
            let ty = candle_type(ty).expect("all others are candle's");
            let tensor =
                Tensor::from_slice(values, (values.len() / cols, cols), &Device::Cpu).expect("shape fits");
            let quantized = QTensor::quantize(&tensor, ty).expect("rows are whole blocks");
            quantized.data().expect("on the CPU").into_owned()
        }
    }
}

/// The values of whole blocks.
pub fn dequantize(ty: GgmlType, bytes: &[u8]) -> Vec<f32> {
    let n = bytes.len() / ty.format().block_bytes * ty.format().block_elems;
    match ty {
        GgmlType::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        GgmlType::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        GgmlType::Bf16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        GgmlType::Iq4Nl => bytes.as_chunks::<18>().0.iter().flat_map(un_iq4_nl).collect(),
        GgmlType::Iq4Xs => bytes.as_chunks::<136>().0.iter().flat_map(un_iq4_xs).collect(),
        _ => {
            let ty = candle_type(ty).expect("all others are candle's");
            qtensor_from_ggml(ty, bytes, vec![n], &Device::Cpu)
                .and_then(|t| t.dequantize(&Device::Cpu)?.to_vec1())
                .expect("whole blocks")
        }
    }
}

/// The value of the largest magnitude, with its sign.
fn largest(values: &[f32]) -> f32 {
    values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0)
}

/// The number of the table's value nearest to `v / d`.
fn nearest(v: f32, d: f32) -> u8 {
    let wanted = if d == 0.0 { 0.0 } else { v / d };
    (0..16u8)
        .min_by(|&a, &b| (IQ4[a as usize] - wanted).abs().total_cmp(&(IQ4[b as usize] - wanted).abs()))
        .unwrap_or(0)
}

/// 16 bytes of 32 values: the first 16 in the low halves, the others in the high ones.
fn nibbles(values: &[f32], d: f32) -> impl Iterator<Item = u8> {
    (0..16).map(move |j| nearest(values[j], d) | nearest(values[j + 16], d) << 4)
}

fn from_nibbles(qs: &[u8], d: f32) -> impl Iterator<Item = f32> {
    (0..32).map(move |j| d * IQ4[(qs[j % 16] >> (4 * (j / 16)) & 15) as usize])
}

/// `d` f16, then nibbles.
fn iq4_nl(values: &[f32]) -> Vec<u8> {
    let d = f16::from_f32(largest(values) / IQ4[0]);
    d.to_le_bytes().into_iter().chain(nibbles(values, d.to_f32())).collect()
}

fn un_iq4_nl(block: &[u8; 18]) -> Vec<f32> {
    from_nibbles(&block[2..], f16::from_le_bytes([block[0], block[1]]).to_f32()).collect()
}

/// `d` f16, then for 8 times 32 values a scale of 6 bits, less 32: the high two bits of all in a u16, the low four in 4
/// bytes; then nibbles.
fn iq4_xs(values: &[f32]) -> Vec<u8> {
    let scales: Vec<f32> = values.chunks_exact(32).map(|v| largest(v) / IQ4[0]).collect();
    let d = f16::from_f32(largest(&scales) / -32.0);
    let (mut high, mut low) = (0u16, [0u8; 4]);
    let mut qs = Vec::with_capacity(128);
    for (i, (part, scale)) in values.chunks_exact(32).zip(&scales).enumerate() {
        let s = if d.to_f32() == 0.0 { 0.0 } else { (scale / d.to_f32()).round().clamp(-32.0, 31.0) };
        let bits = (s + 32.0) as u16;
        high |= (bits >> 4) << (2 * i);
        low[i / 2] |= (bits as u8 & 15) << (4 * (i % 2));
        qs.extend(nibbles(part, d.to_f32() * s));
    }
    [d.to_le_bytes().as_slice(), &high.to_le_bytes(), &low, &qs].concat()
}

fn un_iq4_xs(block: &[u8; 136]) -> Vec<f32> {
    let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let high = u16::from_le_bytes([block[2], block[3]]);
    (0..8)
        .flat_map(|i| {
            let bits = (block[4 + i / 2] >> (4 * (i % 2)) & 15) as u16 | (high >> (2 * i) & 3) << 4;
            from_nibbles(&block[8 + 16 * i..][..16], d * (bits as f32 - 32.0)).collect::<Vec<_>>()
        })
        .collect()
}
