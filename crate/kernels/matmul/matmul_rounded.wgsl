// Many rows on activations rounded to bytes: a workgroup makes 64 weight rows times {{ lines }} lines, 32 columns at a
// time from workgroup memory. Each of its 16 x 4 threads makes 4 weight rows times {{ lines // 4 }} lines.
{% set mine = lines // 4 %}
var<workgroup> w_lo: array<vec4<u32>, 64>;
var<workgroup> w_hi: array<vec4<u32>, 64>;
var<workgroup> w_scale: array<vec2<f32>, 64>;
var<workgroup> w_offset: array<vec2<f32>, 64>;
var<workgroup> x_lo: array<vec4<u32>, {{ lines }}>;
var<workgroup> x_hi: array<vec4<u32>, {{ lines }}>;
var<workgroup> x_scale: array<f32, {{ lines }}>;
var<workgroup> x_sums: array<vec2<f32>, {{ lines }}>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let n_lines = run[params.count_at];
    let first_line = workgroup.y * {{ lines }}u;
    let first_row = workgroup.x * 64u;
    let weight_at = weight_row0(first_row + thread);
    let x_at = params.x_offset + min(first_line + thread, n_lines - 1u) * params.x_stride;
    let tn = thread % 16u;
    let tm = thread / 16u;
{% for j in range(mine) %}
    var sum{{ j }} = vec4<f32>();
{% endfor %}
    for (var group = 0u; group < params.groups; group++) {
        let w = packed0(weight_at, group);
        w_lo[thread] = w.lo;
        w_hi[thread] = w.hi;
        w_scale[thread] = w.scale;
        w_offset[thread] = w.offset;
        if thread < {{ lines }}u {
            let at = x_at + group * 8u;
            let r = round32(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
            x_lo[thread] = r.lo;
            x_hi[thread] = r.hi;
            x_scale[thread] = r.scale;
            x_sums[thread] = r.sums;
        }
        workgroupBarrier();
{% for n in range(4) %}
        let w{{ n }} = Packed(
            w_lo[tn + {{ 16 * n }}u], w_hi[tn + {{ 16 * n }}u], w_scale[tn + {{ 16 * n }}u], w_offset[tn + {{ 16 * n }}u],
        );
{% endfor %}
{% for j in range(mine) %}
        {
            let line = tm + {{ 4 * j }}u;
            let r = Rounded(x_lo[line], x_hi[line], x_scale[line], x_sums[line]);
            sum{{ j }} += vec4<f32>(product0(w0, r), product0(w1, r), product0(w2, r), product0(w3, r));
        }
{% endfor %}
        workgroupBarrier();
    }
{% for j in range(mine) %}
    store(first_row + tn, first_line + tm + {{ 4 * j }}u, n_lines, sum{{ j }});
{% endfor %}
}

// Sums of rows that are 16 apart.
fn store(first_row: u32, line: u32, n_lines: u32, sums: vec4<f32>) {
    if line >= n_lines {
        return;
    }
{% for n in range(4) %}
    {
        let row = first_row + {{ 16 * n }}u;
        if row < params.n_rows {
            var value = sums[{{ n }}];
            if params.has_bias != 0u {
                value += bias[params.first_row + row];
            }
            let to = params.out_offset + line * params.out_stride + params.first_row + row;
            if params.accumulate != 0u {
                value += out[to];
            }
            out[to] = value;
        }
    }
{% endfor %}
}
