// A unit's words: d with the high pairs of eight scales, then their low nibbles.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let first = scale_word(at, unit * 2u);
    let low = (scale_word(at, unit * 2u + 1u) >> (4u * j)) & 15u;
    let high = (first >> (16u + 2u * j)) & 3u;
    let s = (f32(low | (high << 4u)) - 32.0) * half1(first, 0u);
{% if integer %}
    return iq4_words(quant_word(at, group), s);
{% else %}
    return iq4_group(quant_word(at, group), s);
{% endif %}
}
