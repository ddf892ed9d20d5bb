fn halves(a: u32, b: u32) -> vec4<f32> {
    return half4(vec4<u32>(a & 0xffffu, a >> 16u, b & 0xffffu, b >> 16u));
}

fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
{% for i in range(4) %}
    let q{{ i }} = quant_word(at, group * 4u + {{ i }}u);
{% endfor %}
    return Group(
{% for i in range(4) %}
        halves(q{{ i }}.x, q{{ i }}.y),
        halves(q{{ i }}.z, q{{ i }}.w),
{% endfor %}
        1.0,
        1.0,
    );
}
