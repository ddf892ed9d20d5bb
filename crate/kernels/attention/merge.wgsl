// One workgroup a row and query head: the shares of its pages, each with sums under a maximum of its own, become one.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) part: u32) {
    if part >= params.head_dim {
        return;
    }
    let row = workgroup.y;
    let n_splits = run[{{ splits_at }}u];
    let stride = params.n_heads * (params.head_dim + 1u);
    let at = row * n_splits * stride + workgroup.x * (params.head_dim + 1u);
    var maximum = -3.0e38;
    for (var i = 0u; i < n_splits; i++) {
        maximum = max(maximum, parts[at + i * stride + params.head_dim].x);
    }
    var total = vec4<f32>();
    var weight = 0.0;
    for (var i = 0u; i < n_splits; i++) {
        let own = parts[at + i * stride + params.head_dim];
        let factor = exp(own.x - maximum);
        total += factor * parts[at + i * stride + part];
        weight += factor * own.y;
    }
    out[params.out_offset + row * params.out_stride + workgroup.x * params.head_dim + part] = total / weight;
}
