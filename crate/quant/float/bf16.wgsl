fn upper_halves(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
{% for i in range(4) %}
    let q{{ i }} = quant_word(at, group * 4u + {{ i }}u);
{% endfor %}
    return Group(
{% for i in range(4) %}
        upper_halves(q{{ i }}.x, q{{ i }}.y),
        upper_halves(q{{ i }}.z, q{{ i }}.w),
{% endfor %}
        1.0,
        1.0,
    );
}
