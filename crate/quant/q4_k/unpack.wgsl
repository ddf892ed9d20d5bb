// A unit's words: d and dmin, then a byte of scale and a byte of minimum a group.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let dm = half2(scale_word(at, unit * 5u));
    let bytes = scale_word(at, unit * 5u + 1u + j / 2u) >> (16u * (j % 2u));
    let s = f32(bytes & 0xffu) * dm.x;
    let m = f32((bytes >> 8u) & 0xffu) * dm.y;
    let q = quant_word(at, group);
{% if integer %}
    return Packed(nibble_words(q.xy), nibble_words(q.zw), vec2<f32>(s), vec2<f32>(-m));
{% else %}
    return nibble_group(q, s, -m);
{% endif %}
}
