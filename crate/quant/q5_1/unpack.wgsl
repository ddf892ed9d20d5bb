// A unit's words: fifth bits, then scale and minimum.
fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let dm = half2(scale_word(at, group * 2u + 1u));
{% if integer %}
    return five_bit_words(quant_word(at, group), scale_word(at, group * 2u), dm.x, dm.y);
{% else %}
    return five_bit_group(quant_word(at, group), scale_word(at, group * 2u), dm.x, dm.y, 1.0);
{% endif %}
}
