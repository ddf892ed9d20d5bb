// A unit's words: the two high bits of each weight (2 words a group), 16 signed bytes of scale (4 words), d.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let a = scale_word(at, unit * 21u + j * 2u);
    let b = scale_word(at, unit * 21u + j * 2u + 1u);
    let bytes = scale_word(at, unit * 21u + 16u + j / 2u) >> (16u * (j % 2u));
    let d = half1(scale_word(at, unit * 21u + 20u), 0u);
    let s = signed_bytes(bytes).xy * d;
    let q = quant_word(at, group);
    let four = vec4<u32>(4u);
{% if integer %}
    return Packed(
        nibble_words(q.xy) | (pair_words(a) << four),
        nibble_words(q.zw) | (pair_words(b) << four),
        s,
        -32.0 * s,
    );
{% else %}
    return Group(
{% for i in range(8) %}
        floats({{ "low" if i % 2 == 0 else "high" }}_nibbles(q[{{ i // 2 }}]) | (four_pairs({{ "a" if i < 4 else "b" }}, {{ 4 * (i % 4) }}u) << four), -32.0),
{% endfor %}
        s.x,
        s.y,
    );
{% endif %}
}
