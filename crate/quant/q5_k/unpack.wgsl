// A unit's words: the fifth bit of each weight (8 words), d and dmin, then a byte of scale and a byte of minimum a group.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let unit = group / 8u;
    let j = group % 8u;
    let fifth = scale_word(at, unit * 13u + j);
    let dm = half2(scale_word(at, unit * 13u + 8u));
    let bytes = scale_word(at, unit * 13u + 9u + j / 2u) >> (16u * (j % 2u));
    let s = f32(bytes & 0xffu) * dm.x;
    let m = f32((bytes >> 8u) & 0xffu) * dm.y;
{% if integer %}
    return five_bit_words(quant_word(at, group), fifth, s, -m);
{% else %}
    return five_bit_group(quant_word(at, group), fifth, s, -m, 1.0);
{% endif %}
}
