fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let dm = half2(scale_word(at, group));
    let q = quant_word(at, group);
{% if integer %}
    return Packed(nibble_words(q.xy), nibble_words(q.zw), vec2<f32>(dm.x), vec2<f32>(dm.y));
{% else %}
    return nibble_group(q, dm.x, dm.y);
{% endif %}
}
