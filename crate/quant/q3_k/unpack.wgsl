// A unit's words: the high bit of each weight (8 words), d, then 16 scales of 6 bits: low nibbles (2 words), high pairs.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let high = scale_word(at, unit * 12u + j);
    let d = half1(scale_word(at, unit * 12u + 8u), 0u);
    let nibbles = scale_word(at, unit * 12u + 9u + j / 4u) >> (8u * (j % 4u));
    let pairs = scale_word(at, unit * 12u + 11u) >> (4u * j);
    let low = vec2<u32>(nibbles, nibbles >> 4u) & vec2<u32>(15u);
    let six = low | ((vec2<u32>(pairs, pairs >> 2u) & vec2<u32>(3u)) << vec2<u32>(4u));
    let s = (vec2<f32>(six) - vec2<f32>(32.0)) * d;
    let both = quant_word(at, unit * 4u + j / 2u);
    let q = select(both.xy, both.zw, j % 2u == 1u);
    let two = vec4<u32>(2u);
{% if integer %}
    return Packed(
        pair_words(q.x) | (bit_words(high) << two),
        pair_words(q.y) | (bit_words(high >> 16u) << two),
        s,
        -4.0 * s,
    );
{% else %}
    return Group(
{% for i in range(8) %}
        floats(four_pairs(q[{{ i // 4 }}], {{ 4 * (i % 4) }}u) | (four_bits(high, {{ 4 * i }}u) << two), -4.0),
{% endfor %}
        s.x,
        s.y,
    );
{% endif %}
}
