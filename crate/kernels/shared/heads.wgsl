
// A head of x as it is used: normed where it is, then rotated.

// WGSL's sin and cos are not exact for large angles, so the angle of a position is put together from two tables made in
// f64: positions 0..255 first, then multiples of 256.
fn rotation(position: u32, pair: u32) -> vec2<f32> {
    let low = rotations[(position % 256u) * params.pairs + pair];
    let high = rotations[(256u + position / 256u) * params.pairs + pair];
    return vec2<f32>(low.x * high.x - low.y * high.y, low.y * high.x + low.x * high.y);
}

// Four values from 4 * part on of the head that starts at `at`, as a norm leaves them but for its factor.
fn weighed(at: u32, part: u32, normed: u32, norm_at: u32) -> vec4<f32> {
    let values = x[at + part];
    if normed == 0u {
        return values;
    }
    return values * vectors[norm_at + part];
}

// The factor of a head's norm.
fn norm_factor(at: u32, normed: u32, eps: f32) -> f32 {
    if normed == 0u {
        return 1.0;
    }
    var sum = 0.0;
    for (var i = 0u; i < params.head_dim; i += 2u) {
        let v0 = x[at + i];
        let v1 = x[at + i + 1u];
        sum += dot(v0, v0) + dot(v1, v1);
    }
    return 1.0 / sqrt(sum / f32(params.head_dim * 4u) + eps);
}

// Four values of a head at a position but for its norm's factor. Units: quarters of a head; pairs are a multiple of four,
// so that what four values are rotated with are four values too.
fn turned(at: u32, part: u32, position: u32, normed: u32, norm_at: u32) -> vec4<f32> {
    let values = weighed(at, part, normed, norm_at);
    let half = params.pairs / 4u;
    if part >= 2u * half {
        return values;
    }
    let is_first = part < half;
    let opposite = weighed(at, select(part - half, part + half, is_first), normed, norm_at);
    let pair = select(part - half, part, is_first) * 4u;
{% for c in range(4) %}
    let turn{{ c }} = rotation(position, pair + {{ c }}u);
{% endfor %}
    let cosines = vec4<f32>(turn0.x, turn1.x, turn2.x, turn3.x);
    let sines = vec4<f32>(turn0.y, turn1.y, turn2.y, turn3.y);
    return values * cosines + opposite * select(sines, -sines, is_first);
}

// Four values of a head at a position.
fn head_quarter(at: u32, part: u32, position: u32, normed: u32, norm_at: u32, eps: f32) -> vec4<f32> {
    return turned(at, part, position, normed, norm_at) * norm_factor(at, normed, eps);
}
