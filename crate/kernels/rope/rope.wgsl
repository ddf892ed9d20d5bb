// One thread a line, head and pair. WGSL's sin and cos are not exact for large angles, so the angle of a position is
// put together from two tables made in f64: positions 0..255 first, then multiples of 256.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.x / params.pairs;
    let pair = id.x % params.pairs;
    if head >= params.n_heads {
        return;
    }
    let position = row_position(id.y);
    let low = rotations[(position % 256u) * params.pairs + pair];
    let high = rotations[(256u + position / 256u) * params.pairs + pair];
    let c = low.x * high.x - low.y * high.y;
    let s = low.y * high.x + low.x * high.y;
    let at = params.x_offset + id.y * params.x_stride + head * params.head_dim + pair;
    let a = x[at];
    let b = x[at + params.pairs];
    x[at] = a * c - b * s;
    x[at + params.pairs] = b * c + a * s;
}
