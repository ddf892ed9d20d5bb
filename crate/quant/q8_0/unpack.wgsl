fn {{ "packed" if integer else "unpack" }}{{ nth }}(at: vec2<u32>, group: u32) -> {{ "Packed" if integer else "Group" }} {
    let d = half1(scale_word(at, group / 2u), group % 2u);
    let a = quant_word(at, group * 2u);
    let b = quant_word(at, group * 2u + 1u);
{% if integer %}
    return Packed(a, b, vec2<f32>(d), vec2<f32>());
{% else %}
    return Group(
{% for i in range(4) %}
        signed_bytes(a[{{ i }}]),
{% endfor %}
{% for i in range(4) %}
        signed_bytes(b[{{ i }}]),
{% endfor %}
        d,
        d,
    );
{% endif %}
}
