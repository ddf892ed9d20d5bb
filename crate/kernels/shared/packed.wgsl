
// 32 weights of a row as signed bytes in their order, four a word: those of `lo` times scale.x plus offset.x are the first
// 16 weights, those of `hi` with y the others.
struct Packed {
    lo: vec4<u32>,
    hi: vec4<u32>,
    scale: vec2<f32>,
    offset: vec2<f32>,
}

// 32 activations rounded to signed bytes; `sums` is what each half adds up to.
struct Rounded {
    lo: vec4<u32>,
    hi: vec4<u32>,
    scale: f32,
    sums: vec2<f32>,
}

// 16 nibbles: byte b of a word holds one low, and 4 further on one high.
fn nibble_words(q: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(q.x, q.x >> 4u, q.y, q.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
}

// 16 single bits, one a byte.
fn bit_words(bits: u32) -> vec4<u32> {
    // The four copies that the factor makes of four bits do not overlap.
    let fours = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return (fours * vec4<u32>(0x00204081u)) & vec4<u32>(0x01010101u);
}

// 16 fields of two bits, one a byte.
fn pair_words(pairs: u32) -> vec4<u32> {
    let p = (vec4<u32>(pairs) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
    let all = p | (p << vec4<u32>(6u)) | (p << vec4<u32>(12u)) | (p << vec4<u32>(18u));
    return all & vec4<u32>(0x03030303u);
}

fn five_bit_words(q: vec4<u32>, fifth: u32, scale: f32, offset: f32) -> Packed {
    let four = vec4<u32>(4u);
    return Packed(
        nibble_words(q.xy) | (bit_words(fifth) << four),
        nibble_words(q.zw) | (bit_words(fifth >> 16u) << four),
        vec2<f32>(scale),
        vec2<f32>(offset),
    );
}

fn iq4_words(q: vec4<u32>, d: f32) -> Packed {
    let first = vec4<u32>(
        pack4xI8(vec4<i32>(iq4_values(low_nibbles(q.x)))),
        pack4xI8(vec4<i32>(iq4_values(high_nibbles(q.x)))),
        pack4xI8(vec4<i32>(iq4_values(low_nibbles(q.y)))),
        pack4xI8(vec4<i32>(iq4_values(high_nibbles(q.y)))),
    );
    let second = vec4<u32>(
        pack4xI8(vec4<i32>(iq4_values(low_nibbles(q.z)))),
        pack4xI8(vec4<i32>(iq4_values(high_nibbles(q.z)))),
        pack4xI8(vec4<i32>(iq4_values(low_nibbles(q.w)))),
        pack4xI8(vec4<i32>(iq4_values(high_nibbles(q.w)))),
    );
    return Packed(first, second, vec2<f32>(d), vec2<f32>());
}

// Products of 16 bytes, added up.
fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// Rounds 32 values to 127 steps of the largest magnitude each way.
fn round32(
{% for k in range(8) %}
    v{{ k }}: vec4<f32>,
{% endfor %}
) -> Rounded {
    // As bits, which have the order of the numbers they stand for: what is infinite or no number is above the rest.
    let mask = vec4<u32>(0x7fffffffu);
    var peak = bitcast<vec4<u32>>(v0) & mask;
{% for k in range(1, 8) %}
    peak = max(peak, bitcast<vec4<u32>>(v{{ k }}) & mask);
{% endfor %}
    let largest = max(max(peak.x, peak.y), max(peak.z, peak.w));
    let value = bitcast<f32>(largest);
    // A value so small that its reciprocal overflows stands for zero.
    let inverse = select(127.0 / value, 0.0, value < 1e-30);
    // No number where one of the values is infinite or none, so that it shows in the result.
    let scale = select(value / 127.0, bitcast<f32>(largest | 0x400000u), largest >= 0x7f800000u);
{% for k in range(8) %}
    let w{{ k }} = pack4xI8(vec4<i32>(round(v{{ k }} * inverse)));
{% endfor %}
    let lo = vec4<u32>(w0, w1, w2, w3);
    let hi = vec4<u32>(w4, w5, w6, w7);
    let ones = vec4<u32>(0x01010101u);
    return Rounded(lo, hi, scale, vec2<f32>(vec2<i32>(dot16(lo, ones), dot16(hi, ones))) * scale);
}
