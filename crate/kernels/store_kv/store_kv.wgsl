// One workgroup a row and head: the head's key, normed and rotated where it is, and its value.
var<workgroup> largest: array<vec2<u32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) part: u32) {
    let head = workgroup.x;
    let row = workgroup.y;
    let position = row_position(row);
    var key = vec4<f32>();
    var value = vec4<f32>();
    if part < params.head_dim {
        let k_at = params.k_offset + row * params.k_stride + head * params.head_dim;
        key = head_quarter(k_at, part, position, params.normed, params.norm_at, params.eps);
        value = v[params.v_offset + row * params.v_stride + head * params.head_dim + part];
    }
    largest[part] = vec2<u32>(magnitude(key), magnitude(value));
    workgroupBarrier();
    var most = vec2<u32>();
    for (var i = 0u; i < params.head_dim; i++) {
        most = max(most, largest[i]);
    }
    if part >= params.head_dim {
        return;
    }
    let page = row_page(row, position);
    let slot = position % PAGE_TOKENS;
    let key_scale = scale_of(most.x);
    let value_scale = scale_of(most.y);
    keys[key_at(page, head, part, slot)] = words_of(key, key_scale);
    values[value_at(page, head, part, slot)] = words_of(value, value_scale);
    if part == 0u {
        scales[key_scale_at(page, head, slot)] = key_scale;
        scales[value_scale_at(page, head, slot)] = value_scale;
    }
}
