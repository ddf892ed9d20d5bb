// One thread a row and quarter of a head.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.x / params.head_dim;
    let part = id.x % params.head_dim;
    if head >= params.n_kv_heads {
        return;
    }
    let position = row_position(id.y);
    let page = row_page(id.y, position);
    let slot = position % PAGE_TOKENS;
    keys[key_at(page, head, part, slot)] = k[params.k_offset + id.y * params.k_stride + id.x];
    values[value_at(page, head, part, slot)] = v[params.v_offset + id.y * params.v_stride + id.x];
}
