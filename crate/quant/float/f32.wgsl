fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    return Group(
{% for i in range(8) %}
        bitcast<vec4<f32>>(quant_word(at, group * 8u + {{ i }}u)),
{% endfor %}
        1.0,
        1.0,
    );
}
