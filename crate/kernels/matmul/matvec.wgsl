// Few lines: {{ lanes }} weight rows beside each other, {{ splits }} threads share the groups of a row, and their sums
// meet in workgroup memory. Neighbouring threads read neighbouring words of the weight.
{% if gated %}
// The rows of segment 0 are gates for those of segment 1.
{% else %}
// A workgroup's rows are of one of up to three weights, the segments, which lie in one buffer.
{% endif %}
{% set rows = lanes * tiles %}
{% set weights = tiles * (2 if gated else 1) %}
const LANES = {{ lanes }}u;
var<workgroup> sums: array<f32, {{ lanes * weights * splits }}>;
{% set threads = lanes * splits %}
{% set chunk = 128 if integer else 64 %}
{% if integer %}
// The line, rounded to bytes once for all rows of the workgroup, so many groups at a time.
var<workgroup> x_lo: array<vec4<u32>, {{ chunk }}>;
var<workgroup> x_hi: array<vec4<u32>, {{ chunk }}>;
var<workgroup> x_scale: array<f32, {{ chunk }}>;
var<workgroup> x_sums: array<vec2<f32>, {{ chunk }}>;
{% else %}
// The line, read once for all rows of the workgroup, so many groups at a time. A group takes a ninth place, so that
// threads that read the same part of several groups meet different banks.
var<workgroup> x_tile: array<vec4<f32>, {{ 9 * chunk }}>;
{% endif %}
{% if norm %}
// Whoever reads a part of the line adds up its squares.
var<workgroup> squares: array<f32, {{ threads }}>;
{% endif %}

{# Adds the products of some groups to the thread's sums, {{ unroll }} at a time, so that several loads are under way: what
   lies behind the end is read as the last group and left out. #}
{% macro products(first, end) %}
{% for f in range(1 if gated else formats) %}
    {{ "if segment.format == " ~ f ~ "u " if formats > 1 and not gated else "" }}{
        let planes = vec2<u32>(segment.quants_at, segment.scales_at);
{% for i in range(tiles) %}
        let at{{ i }} = planes + weight_row{{ f }}(first_row + {{ i * lanes }}u + lane);
{% endfor %}
{% if gated %}
        let up_planes = vec2<u32>(params.segment1.quants_at, params.segment1.scales_at);
{% for i in range(tiles) %}
        let at{{ tiles + i }} = up_planes + weight_row{{ formats - 1 }}(first_row + {{ i * lanes }}u + lane);
{% endfor %}
{% endif %}
        for (var next = {{ first }}; next < {{ end }}; next += {{ splits * unroll }}u) {
{% for u in range(unroll) %}
        {
{% if unroll > 1 %}
            let inside = next + {{ u * splits }}u < {{ end }};
            let group = min(next + {{ u * splits }}u, {{ end }} - 1u);
{% else %}
            let group = next;
{% endif %}
{% if integer %}
            let i = group - first;
            let r = Rounded(x_lo[i], x_hi[i], x_scale[i], x_sums[i]);
{% for i in range(weights) %}
{% set nth = f if i < tiles else formats - 1 %}
{% set product = "product" ~ nth ~ "(packed" ~ nth ~ "(at" ~ i ~ ", group), r)" %}
            sum{{ i }} += {{ "select(0.0, " ~ product ~ ", inside)" if unroll > 1 else product }};
{% endfor %}
{% else %}
            let i = (group - first) * 9u;
{% for k in range(8) %}
            let x{{ k }} = x_tile[i + {{ k }}u];
{% endfor %}
{% for i in range(weights) %}
            {
                let w = unpack{{ f if i < tiles else formats - 1 }}(at{{ i }}, group);
                let lo = dot(w.w0, x0) + dot(w.w1, x1) + dot(w.w2, x2) + dot(w.w3, x3);
                let hi = dot(w.w4, x4) + dot(w.w5, x5) + dot(w.w6, x6) + dot(w.w7, x7);
                let product = w.lo * lo + w.hi * hi;
                sum{{ i }} += {{ "select(0.0, product, inside)" if unroll > 1 else "product" }};
            }
{% endfor %}
{% endif %}
        }
{% endfor %}
        }
    }
{% endfor %}
{% endmacro %}

@compute @workgroup_size({{ threads }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let split = thread / LANES;
    let line = workgroup.y;
    var x_line = line;
    if params.select != 0u {
        x_line = output_row(line);
    }
    let x_at = params.x_offset + x_line * params.x_stride;
    var segment = params.segment0;
{% if not gated %}
    if workgroup.x >= params.segment1.first_group {
        segment = params.segment1;
    }
    if workgroup.x >= params.segment2.first_group {
        segment = params.segment2;
    }
{% endif %}
    let first_row = (workgroup.x - segment.first_group) * {{ rows }}u;
{% for i in range(weights) %}
    var sum{{ i }} = 0.0;
{% endfor %}
{% if norm %}
    var square = 0.0;
{% endif %}
    for (var first = 0u; first < params.groups; first += {{ chunk }}u) {
        let end = min(first + {{ chunk }}u, params.groups);
        // Nobody reads the chunk before any more.
        workgroupBarrier();
{% if integer %}
        for (var group = first + thread; group < end; group += {{ threads }}u) {
{% for k in range(8) %}
            {{ "let v" if norm else "let x" }}{{ k }} = x[x_at + group * 8u + {{ k }}u];
{% endfor %}
{% if norm %}
{% for k in range(8) %}
            square += dot(v{{ k }}, v{{ k }});
            let x{{ k }} = v{{ k }} * vectors[params.norm_at + group * 8u + {{ k }}u];
{% endfor %}
{% endif %}
            let r = round32(x0, x1, x2, x3, x4, x5, x6, x7);
            x_lo[group - first] = r.lo;
            x_hi[group - first] = r.hi;
            x_scale[group - first] = r.scale;
            x_sums[group - first] = r.sums;
        }
{% else %}
        for (var i = thread; i < (end - first) * 8u; i += {{ threads }}u) {
            let value = x[x_at + first * 8u + i];
{% if norm %}
            square += dot(value, value);
            x_tile[i / 8u * 9u + i % 8u] = value * vectors[params.norm_at + first * 8u + i];
{% else %}
            x_tile[i / 8u * 9u + i % 8u] = value;
{% endif %}
        }
{% endif %}
        workgroupBarrier();
{{ products("first + split", "end") }}
    }
{% for i in range(weights) %}
    sums[(split * {{ weights }}u + {{ i }}u) * LANES + lane] = sum{{ i }};
{% endfor %}
{% if norm %}
    squares[thread] = square;
{% if threads > lanes %}
    workgroupBarrier();
    if thread < {{ lanes }}u {
{% for i in range(1, splits) %}
        square += squares[thread + {{ i * lanes }}u];
{% endfor %}
        squares[thread] = square;
    }
{% endif %}
{% endif %}
    workgroupBarrier();
{% if norm %}
    // The norm's factor is the same for the whole line: it waits until the products are added up.
    var total = 0.0;
{% for i in range(lanes) %}
    total += squares[{{ i }}];
{% endfor %}
    let factor = 1.0 / sqrt(total / f32(params.groups * 32u) + params.eps);
{% endif %}
    for (var nth = thread; nth < {{ rows }}u; nth += {{ threads }}u) {
        let row = first_row + nth;
        if row >= segment.n_rows {
            return;
        }
        var sum = sum_of(nth){{ " * factor" if norm else "" }};
{% if gated %}
        // sigmoid from exp of a value that is never positive: no overflow.
        let e = exp(-abs(sum));
        sum *= select(e, 1.0, sum >= 0.0) / (1.0 + e) * (sum_of({{ rows }}u + nth) * factor);
{% endif %}
        if segment.has_bias != 0u {
            let at = segment.bias_at + row;
            sum += vectors[at / 4u][at % 4u];
        }
        let at = segment.out_offset + line * params.out_stride + row;
        if params.accumulate != 0u {
            sum += out[at];
        }
        out[at] = sum;
    }
}

// What the threads that share a row have of it.
fn sum_of(nth: u32) -> f32 {
    var sum = 0.0;
{% for i in range(splits) %}
    sum += sums[{{ i * lanes * weights }}u + nth];
{% endfor %}
    return sum;
}
