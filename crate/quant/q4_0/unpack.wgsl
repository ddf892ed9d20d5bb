fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let d = half1(scale_word(at, group / 2u), group % 2u);
    let q = quant_word(at, group);
{% if integer %}
    return Packed(nibble_words(q.xy), nibble_words(q.zw), vec2<f32>(d), vec2<f32>(-8.0 * d));
{% else %}
    return plain_nibble_group(q, -8.0, d);
{% endif %}
}
