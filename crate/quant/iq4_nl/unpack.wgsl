fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
{% if integer %}
    return iq4_words(quant_word(at, group), half1(scale_word(at, group / 2u), group % 2u));
{% else %}
    return iq4_group(quant_word(at, group), half1(scale_word(at, group / 2u), group % 2u));
{% endif %}
}
