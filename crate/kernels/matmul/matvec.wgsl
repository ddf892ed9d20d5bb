// Few rows: {{ tile_rows }} weight rows a tile, {{ splits }} threads share the groups of a row, and their sums
// meet in workgroup memory. Neighbouring threads read neighbouring words of the weight.
var<workgroup> sums: array<f32, {{ tile_rows * tiles * splits }}>;

@compute @workgroup_size({{ tile_rows * splits }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % TILE_ROWS;
    let split = thread / TILE_ROWS;
    let line = workgroup.y;
    let x_at = params.x_offset + line * params.x_stride;
{% for i in range(tiles) %}
    let at{{ i }} = weight_row((workgroup.x * {{ tiles }}u + {{ i }}u) * TILE_ROWS + lane);
    var sum{{ i }} = 0.0;
{% endfor %}
    for (var group = split; group < params.groups; group += {{ splits }}u) {
{% for k in range(8) %}
        let x{{ k }} = x[x_at + group * 8u + {{ k }}u];
{% endfor %}
{% for i in range(tiles) %}
        {
            let w = unpack(at{{ i }}, group);
            let lo = dot(w.w0, x0) + dot(w.w1, x1) + dot(w.w2, x2) + dot(w.w3, x3);
            let hi = dot(w.w4, x4) + dot(w.w5, x5) + dot(w.w6, x6) + dot(w.w7, x7);
            sum{{ i }} += w.lo * lo + w.hi * hi;
        }
{% endfor %}
    }
{% for i in range(tiles) %}
    sums[(split * {{ tiles }}u + {{ i }}u) * TILE_ROWS + lane] = sum{{ i }};
{% endfor %}
    workgroupBarrier();
    let row = workgroup.x * {{ tile_rows * tiles }}u + thread;
    if thread >= {{ tile_rows * tiles }}u || row >= params.n_rows {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < {{ splits }}u; i++) {
        sum += sums[i * {{ tile_rows * tiles }}u + thread];
    }
    if params.has_bias != 0u {
        sum += bias[params.first_row + row];
    }
    let at = params.out_offset + line * params.out_stride + params.first_row + row;
    if params.accumulate != 0u {
        sum += out[at];
    }
    out[at] = sum;
}
