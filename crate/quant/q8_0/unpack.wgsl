fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    let d = half1(scale_word(at, group / 2u), group % 2u);
    let a = quant_word(at, group * 2u);
    let b = quant_word(at, group * 2u + 1u);
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
}
