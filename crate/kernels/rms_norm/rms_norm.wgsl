// One workgroup a line and group of `cols` values.
var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let quads = params.cols / 4u;
    let from_at = params.x_offset + workgroup.y * params.x_stride + workgroup.x * quads;
    var sum = 0.0;
    for (var i = thread; i < quads; i += 64u) {
        let v = x[from_at + i];
        sum += dot(v, v);
    }
    sums[thread] = sum;
    workgroupBarrier();
    // One barrier and 64 broadcast reads a thread are cheaper than a tree of six barriers.
    var total = 0.0;
    for (var i = 0u; i < 64u; i++) {
        total += sums[i];
    }
    let factor = 1.0 / sqrt(total / f32(params.cols) + params.eps);
    let to_at = params.out_offset + workgroup.y * params.out_stride + workgroup.x * quads;
    for (var i = thread; i < quads; i += 64u) {
        out[to_at + i] = x[from_at + i] * factor * weight[i];
    }
}
