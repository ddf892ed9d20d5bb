// One thread a row of the run and group of 32 values. A table in parts has one dispatch a part; each writes the rows
// whose tokens lie in it.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let group = id.x;
    let row = row_token(id.y) - params.first_row;
    if group >= params.groups || row >= params.n_rows {
        return;
    }
    let w = unpack0(weight_row0(row), group);
    let at = params.out_offset + id.y * params.out_stride + group * 8u;
{% for i in range(8) %}
    out[at + {{ i }}u] = w.w{{ i }} * w.{{ "lo" if i < 4 else "hi" }};
{% endfor %}
}
