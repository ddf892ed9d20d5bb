
// How keys and values of a layer lie in pages; the only place that knows it. Four values are four integers of 16 bits,
// and each head of a position has a scale for its key and one for its value: f16 would take as much memory, be less
// precise where a key's largest values count, and overflow.
// Keys: page, head, quarter of the head, token; threads with a token each read neighbouring words.
// Values: page, head, token, quarter of the head; threads with a quarter each read neighbouring words.
// Scales: page, head, of keys before those of values, token.
fn key_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {
    return ((page * params.n_kv_heads + head) * params.head_dim + part) * PAGE_TOKENS + slot;
}

fn value_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {
    return ((page * params.n_kv_heads + head) * PAGE_TOKENS + slot) * params.head_dim + part;
}

fn key_scale_at(page: u32, head: u32, slot: u32) -> u32 {
    return (page * params.n_kv_heads + head) * 2u * PAGE_TOKENS + slot;
}

fn value_scale_at(page: u32, head: u32, slot: u32) -> u32 {
    return key_scale_at(page, head, slot) + PAGE_TOKENS;
}

const LARGEST = {{ largest }}.0;

// Four integers of two words each way.
fn integers(words: vec2<u32>) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4<u32>(words.x << 16u, words.x, words.y << 16u, words.y));
    return vec4<f32>(high >> vec4<u32>(16u));
}

fn words_of(values: vec4<f32>, scale: f32) -> vec2<u32> {
    // A scale so small that its reciprocal overflows stands for zeros.
    let inverse = select(1.0 / scale, 0.0, scale < 1.1754944e-38);
    let rounded = bitcast<vec4<u32>>(vec4<i32>(round(values * inverse)));
    return (rounded.xz & vec2<u32>(0xffffu)) | (rounded.yw << vec2<u32>(16u));
}

// The largest magnitude of four values as bits, which have the order of the numbers they stand for: what is infinite or
// no number is above the rest.
fn magnitude(values: vec4<f32>) -> u32 {
    let bits = bitcast<vec4<u32>>(values) & vec4<u32>(0x7fffffffu);
    return max(max(bits.x, bits.y), max(bits.z, bits.w));
}

// The scale of a head with this largest magnitude; no number where it has one that is infinite or none, so that it shows
// in the result.
fn scale_of(largest: u32) -> f32 {
    if largest >= 0x7f800000u {
        return bitcast<f32>(largest | 0x400000u);
    }
    return bitcast<f32>(largest) / LARGEST;
}
