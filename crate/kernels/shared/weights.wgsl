
const TILE_ROWS = {{ tile_rows }}u;

// 32 weights of a row: `lo` times w0..w3, `hi` times w4..w7.
struct Group {
    w0: vec4<f32>,
    w1: vec4<f32>,
    w2: vec4<f32>,
    w3: vec4<f32>,
    w4: vec4<f32>,
    w5: vec4<f32>,
    w6: vec4<f32>,
    w7: vec4<f32>,
    lo: f32,
    hi: f32,
}

fn quant_word(at: vec2<u32>, i: u32) -> vec4<u32> {
    return quants[at.x + i * TILE_ROWS];
}

fn scale_word(at: vec2<u32>, i: u32) -> u32 {
    return scales[at.y + i * TILE_ROWS];
}

// f16 bits to f32, exactly: integer arithmetic, because a device may flush subnormal f16 to zero.
fn half4(bits: vec4<u32>) -> vec4<f32> {
    let magnitude = bits & vec4<u32>(0x7fffu);
    let normal = bitcast<vec4<f32>>((magnitude << vec4<u32>(13u)) + vec4<u32>(0x38000000u));
    let subnormal = vec4<f32>(magnitude) * vec4<f32>(5.9604644775390625e-8);
    let special = bitcast<vec4<f32>>((magnitude << vec4<u32>(13u)) | vec4<u32>(0x7f800000u));
    var value = select(normal, subnormal, magnitude < vec4<u32>(0x400u));
    value = select(value, special, magnitude >= vec4<u32>(0x7c00u));
    return select(value, -value, (bits & vec4<u32>(0x8000u)) != vec4<u32>(0u));
}

fn half2(word: u32) -> vec2<f32> {
    return half4(vec4<u32>(word & 0xffffu, word >> 16u, 0u, 0u)).xy;
}

// One of the two f16 of a word.
fn half1(word: u32, odd: u32) -> f32 {
    return half2(word >> (16u * odd)).x;
}

// Integers below 2^23 as floats, plus `offset`, exactly: they are the low bits of the floats from 2^23 on. Several GPUs
// convert integers at a fraction of the rate at which they add.
fn floats(n: vec4<u32>, offset: f32) -> vec4<f32> {
    return bitcast<vec4<f32>>(n | vec4<u32>(0x4b000000u)) + vec4<f32>(offset - 8388608.0);
}

fn byte_of(word: u32, i: u32) -> u32 {
    return (word >> (8u * i)) & 0xffu;
}

// Two fields of each half of a word as floats, plus `offset`, exactly: each is left where it stands, times the power of two
// that brings it back.
fn standing(word: u32, mask: vec2<u32>, back: vec2<f32>, offset: f32) -> vec4<f32> {
    let half = word >> 16u;
    let bits = (vec4<u32>(word, word, half, half) & mask.xyxy) | vec4<u32>(0x4b000000u);
    return bitcast<vec4<f32>>(bits) * back.xyxy + (vec4<f32>(offset) - 8388608.0 * back.xyxy);
}

fn signed_bytes(word: u32) -> vec4<f32> {
    return standing(word ^ 0x80808080u, vec2<u32>(0xffu, 0xff00u), vec2<f32>(1.0, 0x1p-8), -128.0);
}

// The low and the high nibble of each byte.
fn low_nibbles(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
}

fn high_nibbles(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(4u, 12u, 20u, 28u)) & vec4<u32>(15u);
}

// The same as floats, plus `offset`.
fn low_floats(word: u32, offset: f32) -> vec4<f32> {
    return standing(word, vec2<u32>(0xfu, 0xf00u), vec2<f32>(1.0, 0x1p-8), offset);
}

fn high_floats(word: u32, offset: f32) -> vec4<f32> {
    return standing(word, vec2<u32>(0xf0u, 0xf000u), vec2<f32>(0x1p-4, 0x1p-12), offset);
}

// Four bits from bit `i` on, each as 0 or 1.
fn four_bits(word: u32, i: u32) -> vec4<u32> {
    return (vec4<u32>(word >> i) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
}

// Four 2-bit fields from field `i` on.
fn four_pairs(word: u32, i: u32) -> vec4<u32> {
    return (vec4<u32>(word >> (2u * i)) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
}

// Nibbles of 16 bytes: byte b of word c holds weights 8c + b (low) and 8c + 4 + b (high), each plus `offset`.
fn plain_nibble_group(q: vec4<u32>, offset: f32, d: f32) -> Group {
    return Group(
{% for i in range(8) %}
        {{ "low" if i % 2 == 0 else "high" }}_floats(q[{{ i // 2 }}], offset),
{% endfor %}
        d,
        d,
    );
}

// The same, each as `n * scale + offset`.
fn nibble_group(q: vec4<u32>, scale: f32, offset: f32) -> Group {
    let o = vec4<f32>(offset);
    return Group(
{% for i in range(8) %}
        {{ "low" if i % 2 == 0 else "high" }}_floats(q[{{ i // 2 }}], 0.0) * scale + o,
{% endfor %}
        1.0,
        1.0,
    );
}

// The same with a fifth bit a weight, bit i of `fifth` for weight i.
fn five_bit_group(q: vec4<u32>, fifth: u32, scale: f32, offset: f32, d: f32) -> Group {
    let o = vec4<f32>(offset);
    let four = vec4<u32>(4u);
    return Group(
{% for i in range(8) %}
        floats({{ "low" if i % 2 == 0 else "high" }}_nibbles(q[{{ i // 2 }}]) | (four_bits(fifth, {{ 4 * i }}u) << four), 0.0) * scale + o,
{% endfor %}
        d,
        d,
    );
}

// IQ4's sixteen values, a byte each, looked up without memory.
fn iq4_values(index: vec4<u32>) -> vec4<f32> {
    let low = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), (index & vec4<u32>(4u)) != vec4<u32>(0u));
    let high = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), (index & vec4<u32>(4u)) != vec4<u32>(0u));
    let word = select(low, high, (index & vec4<u32>(8u)) != vec4<u32>(0u));
    let byte = (word >> ((index & vec4<u32>(3u)) * 8u)) << vec4<u32>(24u);
    return vec4<f32>(bitcast<vec4<i32>>(byte) >> vec4<u32>(24u));
}

fn iq4_group(q: vec4<u32>, d: f32) -> Group {
    return Group(
{% for i in range(8) %}
        iq4_values({{ "low" if i % 2 == 0 else "high" }}_nibbles(q[{{ i // 2 }}])),
{% endfor %}
        d,
        d,
    );
}

