// One workgroup a tile of {{ queries }} queries of a key head, which are heads of consecutive rows of one sequence, and share
// of the pages: each key and value comes from memory once for all of them. A page at a time, first four queries and some
// keys a thread for the scores, then {{ 4 * quads }} queries and a quarter of the head for the sums of values, so that what a
// thread loads it uses several times; with a running maximum (online softmax) and the causal limit of each query.
{% set all_quads = queries // 4 %}
const THREADS = PAGE_TOKENS;
const QUERIES = {{ queries }}u;
const QUADS = {{ all_quads }}u;
// Threads that share a page's tokens, which is the distance of the tokens of each.
const SHARES = THREADS / QUADS;
const LOWEST = -3.0e38;

// [part][query]; at most {{ max_dim }} values a head.
var<workgroup> query: array<vec4<f32>, {{ max_dim // 4 * queries }}>;
// [four queries][token]
var<workgroup> scores: array<vec4<f32>, {{ all_quads * page_tokens }}>;
// [four queries][share]
var<workgroup> shares: array<vec4<f32>, THREADS>;
var<workgroup> highest: array<vec4<f32>, QUADS>;
// What sums under an earlier maximum are multiplied with; in the end the sums of weights.
var<workgroup> shrink: array<vec4<f32>, QUADS>;
var<workgroup> factors: array<f32, QUERIES>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let group = params.n_heads / params.n_kv_heads;
    let kv_head = workgroup.x / group;
    // As many rows as a tile has queries are `group` tiles, whose queries are counted row by row.
    let first = workgroup.x % group * QUERIES;
    let first_row = workgroup.y * QUERIES;
    let n_rows = run[{{ n_rows_at }}u];
    let low_row = first_row + first / group;
    if low_row >= n_rows {
        return;
    }
    // Queries beyond the last row compute one of its own again.
    let high_row = min(first_row + (first + QUERIES - 1u) / group, n_rows - 1u);
    var last = 0u;
    for (var row = low_row; row <= high_row; row++) {
        last = max(last, row_position(row));
    }
    let n_pages = last / PAGE_TOKENS + 1u;
    let n_splits = select(1u, run[{{ splits_at }}u], params.split != 0u);
    let pages_each = (n_pages + n_splits - 1u) / n_splits;
    let first_page = workgroup.z * pages_each;
    let end_page = min(first_page + pages_each, n_pages);

    let q_at = params.q_offset + kv_head * group * params.head_dim;
    if thread < QUERIES {
        let row = min(first_row + (first + thread) / group, high_row);
        let at = q_at + row * params.x_stride + (first + thread) % group * params.head_dim;
        factors[thread] = params.scale * norm_factor(at, params.q_normed, params.q_eps);
    }
    workgroupBarrier();
    for (var i = thread; i < params.head_dim * QUERIES; i += THREADS) {
        let q = i % QUERIES;
        let row = min(first_row + (first + q) / group, high_row);
        let at = q_at + row * params.x_stride + (first + q) % group * params.head_dim;
        query[i] = factors[q]
            * turned(at, i / QUERIES, row_position(row), params.q_normed, params.q_norm_at);
    }

    // For the scores: this thread's four queries, how many keys each sees, and its share of a page's tokens.
    let quad = thread / SHARES;
    let share = thread % SHARES;
    let n_keys = vec4<u32>(1u) + vec4<u32>(
{% for i in range(4) %}
        row_position(min(first_row + (first + quad * 4u + {{ i }}u) / group, high_row)),
{% endfor %}
    );
    var weight = vec4<f32>();
    // In the first threads, each of four queries.
    var maximum = vec4<f32>(LOWEST);

    // For the sums of values: this thread's quarter of the head, and the first of its queries, four at a time.
    let part = thread % params.head_dim;
    let first_quad = thread / params.head_dim * {{ quads }}u;
{% for i in range(4 * quads) %}
    var sum{{ i }} = vec4<f32>();
{% endfor %}

    workgroupBarrier();
    for (var p = first_page; p < end_page; p++) {
        let key = p * PAGE_TOKENS;
        let page = row_page(low_row, key);
        let keys_at = key_at(page, kv_head, 0u, share);
{% for t in range(all_quads) %}
        var score{{ t }} = vec4<f32>();
{% endfor %}
        for (var d = 0u; d < params.head_dim; d++) {
            let at = d * QUERIES + quad * 4u;
{% for i in range(4) %}
            let q{{ i }} = query[at + {{ i }}u];
{% endfor %}
{% for t in range(all_quads) %}
            let k{{ t }} = integers(keys[keys_at + d * PAGE_TOKENS + {{ t }}u * SHARES]);
            score{{ t }} += vec4<f32>(dot(q0, k{{ t }}), dot(q1, k{{ t }}), dot(q2, k{{ t }}), dot(q3, k{{ t }}));
{% endfor %}
        }
        let key_scales_at = key_scale_at(page, kv_head, share);
        var best = vec4<f32>(LOWEST);
{% for t in range(all_quads) %}
        let sees{{ t }} = vec4<u32>(key + share + {{ t }}u * SHARES) < n_keys;
        score{{ t }} *= scales[key_scales_at + {{ t }}u * SHARES];
        score{{ t }} = select(vec4<f32>(LOWEST), score{{ t }}, sees{{ t }});
        best = max(best, score{{ t }});
{% endfor %}
        shares[thread] = best;
        workgroupBarrier();
        if thread < QUADS {
            var new_maximum = maximum;
            for (var i = 0u; i < SHARES; i++) {
                new_maximum = max(new_maximum, shares[thread * SHARES + i]);
            }
            highest[thread] = new_maximum;
            shrink[thread] = exp(maximum - new_maximum);
            maximum = new_maximum;
        }
        workgroupBarrier();
        weight *= shrink[quad];
        let new_highest = highest[quad];
        let value_scales_at = value_scale_at(page, kv_head, share);
{% for t in range(all_quads) %}
        {
            let e = exp(score{{ t }} - new_highest);
            weight += select(vec4<f32>(), e, sees{{ t }});
            // Chosen last: what a query does not see may have a scale that is no number.
            let scaled = e * scales[value_scales_at + {{ t }}u * SHARES];
            scores[quad * PAGE_TOKENS + share + {{ t }}u * SHARES] = select(vec4<f32>(), scaled, sees{{ t }});
        }
{% endfor %}
        workgroupBarrier();

        // Nobody writes what this reads before all have met again at a barrier of the next page.
        if first_quad < QUADS {
            let values_at = value_at(page, kv_head, part, 0u);
            let scores_at = first_quad * PAGE_TOKENS;
{% for c in range(quads) %}
            let shrink{{ c }} = shrink[first_quad + {{ c }}u];
{% for i in range(4) %}
            sum{{ 4 * c + i }} *= shrink{{ c }}[{{ i }}];
{% endfor %}
{% endfor %}
            let tokens = min(PAGE_TOKENS, last + 1u - key);
            for (var t = 0u; t < tokens; t++) {
                let v = integers(values[values_at + t * params.head_dim]);
{% for c in range(quads) %}
                let s{{ c }} = scores[scores_at + {{ c }}u * PAGE_TOKENS + t];
{% for i in range(4) %}
                sum{{ 4 * c + i }} += s{{ c }}[{{ i }}] * v;
{% endfor %}
{% endfor %}
            }
        }
    }

    shares[thread] = weight;
    workgroupBarrier();
    if thread < QUADS {
        var total = vec4<f32>();
        for (var i = 0u; i < SHARES; i++) {
            total += shares[thread * SHARES + i];
        }
        highest[thread] = maximum;
        shrink[thread] = total;
    }
    workgroupBarrier();
    if first_quad >= QUADS {
        return;
    }
{% for c in range(quads) %}
    let maximum{{ c }} = highest[first_quad + {{ c }}u];
    let total{{ c }} = shrink[first_quad + {{ c }}u];
{% for i in range(4) %}
    {
        let nth = first + first_quad * 4u + {{ 4 * c + i }}u;
        let row = first_row + nth / group;
        let head = kv_head * group + nth % group;
        if row < n_rows {
            if params.split == 0u {
                let at = params.out_offset + row * params.out_stride + head * params.head_dim;
                out[at + part] = sum{{ 4 * c + i }} / total{{ c }}[{{ i }}];
            } else {
                let line = (row * n_splits + workgroup.z) * params.n_heads + head;
                let at = line * (params.head_dim + 1u);
                out[at + part] = sum{{ 4 * c + i }};
                if part == 0u {
                    out[at + params.head_dim] =
                        vec4<f32>(maximum{{ c }}[{{ i }}], total{{ c }}[{{ i }}], 0.0, 0.0);
                }
            }
        }
    }
{% endfor %}
{% endfor %}
}
