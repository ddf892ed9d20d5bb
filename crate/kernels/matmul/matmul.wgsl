// Many rows: a workgroup makes 64 weight rows times {{ lines }} lines, 32 columns at a time from workgroup
// memory. Each of its 8 x 8 threads makes 8 weight rows times {{ lines // 8 }} lines.
{% set quads = lines // 4 %}
{% set mine = lines // 32 %}
// Weights: [row][column / 4], the column rotated by the row so that a read of 8 rows meets 8 different banks.
var<workgroup> w_tile: array<vec4<f32>, 512>;
// Activations: [column][line / 4].
var<workgroup> x_tile: array<vec4<f32>, {{ 32 * quads }}>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let n_lines = run[params.count_at];
    let first_line = workgroup.y * {{ lines }}u;
    let first_row = workgroup.x * 64u;
    let weight_at = weight_row0(first_row + thread);
    let tn = thread % 8u;
    let tm = thread / 8u;
{% for n in range(8) %}
{% for j in range(mine) %}
    var sum{{ n }}_{{ j }} = vec4<f32>();
{% endfor %}
{% endfor %}
    // What the next turn writes to workgroup memory is under way while this one multiplies.
    var next_w = unpack0(weight_at, 0u);
{% for j in range(mine) %}
    // Four lines times four columns.
{% for c in range(4) %}
    let at{{ j }}_{{ c }} =
        params.x_offset + tn + min(first_line + (tm + {{ 8 * j }}u) * 4u + {{ c }}u, n_lines - 1u) * params.x_stride;
    var next{{ j }}_{{ c }} = x[at{{ j }}_{{ c }}];
{% endfor %}
{% endfor %}
    for (var group = 0u; group < params.groups; group++) {
{% for k in range(8) %}
        w_tile[thread * 8u + ({{ k }}u ^ tn)] = next_w.w{{ k }} * next_w.{{ "lo" if k < 4 else "hi" }};
{% endfor %}
{% for j in range(mine) %}
{% for c in range(4) %}
        x_tile[(tn * 4u + {{ c }}u) * {{ quads }}u + tm + {{ 8 * j }}u] =
            vec4<f32>(next{{ j }}_0[{{ c }}], next{{ j }}_1[{{ c }}], next{{ j }}_2[{{ c }}], next{{ j }}_3[{{ c }}]);
{% endfor %}
{% endfor %}
        let next = min(group + 1u, params.groups - 1u);
        next_w = unpack0(weight_at, next);
{% for j in range(mine) %}
{% for c in range(4) %}
        next{{ j }}_{{ c }} = x[at{{ j }}_{{ c }} + next * 8u];
{% endfor %}
{% endfor %}
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
{% for n in range(8) %}
            let w{{ n }} = w_tile[(tn + {{ 8 * n }}u) * 8u + (k ^ tn)];
{% endfor %}
{% for c in range(4) %}
{% for j in range(mine) %}
            let x{{ c }}_{{ j }} = x_tile[(k * 4u + {{ c }}u) * {{ quads }}u + tm + {{ 8 * j }}u];
{% for n in range(8) %}
            sum{{ n }}_{{ j }} += x{{ c }}_{{ j }} * w{{ n }}[{{ c }}];
{% endfor %}
{% endfor %}
{% endfor %}
        }
        workgroupBarrier();
    }
{% for n in range(8) %}
{% for j in range(mine) %}
    store(first_row + tn + {{ 8 * n }}u, first_line + (tm + {{ 8 * j }}u) * 4u, n_lines, sum{{ n }}_{{ j }});
{% endfor %}
{% endfor %}
}

fn store(row: u32, line: u32, n_lines: u32, sums: vec4<f32>) {
    if row >= params.n_rows {
        return;
    }
    var values = sums;
    if params.has_bias != 0u {
        values += vec4<f32>(bias[params.first_row + row]);
    }
    let at = params.out_offset + line * params.out_stride + params.first_row + row;
{% for c in range(4) %}
    if line + {{ c }}u < n_lines {
        let to = at + {{ c }}u * params.out_stride;
        if params.accumulate != 0u {
            values[{{ c }}] += out[to];
        }
        out[to] = values[{{ c }}];
    }
{% endfor %}
}
