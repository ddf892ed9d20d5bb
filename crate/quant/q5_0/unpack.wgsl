// A unit's words: fifth bits of its two groups, then their two scales.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 2u * 3u;
    let d = half1(scale_word(at, unit + 2u), group % 2u);
{% if integer %}
    return five_bit_words(quant_word(at, group), scale_word(at, unit + group % 2u), d, -16.0 * d);
{% else %}
    return five_bit_group(quant_word(at, group), scale_word(at, unit + group % 2u), 1.0, -16.0, d);
{% endif %}
}
