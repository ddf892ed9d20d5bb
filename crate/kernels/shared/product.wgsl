
// 32 weights of format {{ nth }} times as many activations.
fn product{{ nth }}(w: Packed, x: Rounded) -> f32 {
{% if halves %}
    let products = vec2<f32>(vec2<i32>(dot16(w.lo, x.lo), dot16(w.hi, x.hi)));
    return x.scale * dot(w.scale, products) + dot(w.offset, x.sums);
{% else %}
    return x.scale * w.scale.x * f32(dot16(w.lo, x.lo) + dot16(w.hi, x.hi)){{ " + w.offset.x * (x.sums.x + x.sums.y)" if offset else "" }};
{% endif %}
}
