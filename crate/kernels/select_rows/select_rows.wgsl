// One thread a line of logits and four values.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.width {
        return;
    }
    let from_at = params.x_offset + output_row(id.y) * params.x_stride + id.x;
    out[params.out_offset + id.y * params.out_stride + id.x] = x[from_at];
}
