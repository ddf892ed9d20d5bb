// A unit's words: d and dmin, then for each group the bytes (scale, minimum as nibbles) of its two halves. Quants are two
// words a group, 16 weights each.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let dm = half2(scale_word(at, unit * 5u));
    let bytes = scale_word(at, unit * 5u + 1u + j / 2u) >> (16u * (j % 2u));
    let s = vec2<f32>(vec2<u32>(bytes, bytes >> 8u) & vec2<u32>(15u)) * dm.x;
    let m = vec2<f32>(vec2<u32>(bytes >> 4u, bytes >> 12u) & vec2<u32>(15u)) * dm.y;
    let both = quant_word(at, unit * 4u + j / 2u);
    let q = select(both.xy, both.zw, j % 2u == 1u);
{% if integer %}
    return Packed(pair_words(q.x), pair_words(q.y), s, -m);
{% else %}
    return Group(
{% for i in range(4) %}
        floats(four_pairs(q.x, {{ 4 * i }}u), 0.0) * s.x - vec4<f32>(m.x),
{% endfor %}
{% for i in range(4) %}
        floats(four_pairs(q.y, {{ 4 * i }}u), 0.0) * s.y - vec4<f32>(m.y),
{% endfor %}
        1.0,
        1.0,
    );
{% endif %}
}
