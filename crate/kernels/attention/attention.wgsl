// One workgroup a row and block of {{ queries }} query heads that read the same key head: each key and value is loaded
// once for the block. A chunk of pages at a time, first a key a thread for the scores, then a quarter of the head a
// thread for the sums of values, with a running maximum (online softmax).
{% set vec = "vec" ~ queries ~ "<f32>" %}
const THREADS = {{ threads }}u;
const QUERIES = {{ queries }}u;
const CHUNK_PAGES = {{ chunk_pages }}u;
const LOWEST = -3.0e38;

// [part][query]; at most 256 values a head.
var<workgroup> query: array<vec4<f32>, {{ 64 * queries }}>;
// Of the chunk's keys, one component a query.
var<workgroup> scores: array<{{ vec }}, {{ chunk_pages * page_tokens }}>;
var<workgroup> highest: array<atomic<u32>, QUERIES>;
var<workgroup> sums: array<vec4<f32>, THREADS>;
// At least 32 values a head: at most so many shares.
var<workgroup> weights: array<{{ vec }}, {{ threads // 8 }}>;

// Unsigned integers in the order of the floats.
fn to_ordered(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_ordered(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let group = params.n_heads / params.n_kv_heads;
    let blocks = (group + QUERIES - 1u) / QUERIES;
    let kv_head = workgroup.x / blocks;
    let first_query = workgroup.x % blocks * QUERIES;
    let row = workgroup.y;
    let n_keys = row_position(row) + 1u;
    let n_pages = (n_keys + PAGE_TOKENS - 1u) / PAGE_TOKENS;
    let slot = thread % PAGE_TOKENS;

    let q_at = params.q_offset + row * params.q_stride + kv_head * group * params.head_dim;
    for (var i = thread; i < params.head_dim * QUERIES; i += THREADS) {
        // A block that is not full computes its last query again.
        let head = min(first_query + i % QUERIES, group - 1u);
        query[i] = q[q_at + head * params.head_dim + i / QUERIES] * params.scale;
    }

    // For the sums of values: this thread's quarter of the head, and which share of a page's tokens it takes.
    let part = thread % params.head_dim;
    let n_shares = THREADS / params.head_dim;
    let share = thread / params.head_dim;
{% for i in range(queries) %}
    var sum{{ i }} = vec4<f32>();
{% endfor %}
    var weight = {{ vec }}();
    var maximum = {{ vec }}(LOWEST);

    for (var first = 0u; first < n_pages; first += CHUNK_PAGES) {
        let n = min(CHUNK_PAGES, n_pages - first);
        workgroupBarrier();
        var best = {{ vec }}(LOWEST);
        for (var p = thread / PAGE_TOKENS; p < n; p += THREADS / PAGE_TOKENS) {
            let key = (first + p) * PAGE_TOKENS;
            let at = key_at(row_page(row, key), kv_head, 0u, slot);
            var score = {{ vec }}();
            for (var d = 0u; d < params.head_dim; d++) {
                let k = keys[at + d * PAGE_TOKENS];
                score += {{ vec }}(
{% for i in range(queries) %}
                    dot(query[d * QUERIES + {{ i }}u], k),
{% endfor %}
                );
            }
            score = select({{ vec }}(LOWEST), score, key + slot < n_keys);
            scores[p * PAGE_TOKENS + slot] = score;
            best = max(best, score);
        }
{% for i in range(queries) %}
        atomicMax(&highest[{{ i }}], to_ordered(best[{{ i }}]));
{% endfor %}
        workgroupBarrier();
        let new_maximum = {{ vec }}(
{% for i in range(queries) %}
            from_ordered(atomicLoad(&highest[{{ i }}])),
{% endfor %}
        );
        for (var p = thread / PAGE_TOKENS; p < n; p += THREADS / PAGE_TOKENS) {
            let at = p * PAGE_TOKENS + slot;
            scores[at] = exp(scores[at] - new_maximum);
        }
        workgroupBarrier();
        let shrink = exp(maximum - new_maximum);
        maximum = new_maximum;
        weight *= shrink;
{% for i in range(queries) %}
        sum{{ i }} *= shrink[{{ i }}];
{% endfor %}
        if share < n_shares {
            for (var p = 0u; p < n; p++) {
                let key = (first + p) * PAGE_TOKENS;
                let tokens = min(PAGE_TOKENS, n_keys - key);
                let at = value_at(row_page(row, key), kv_head, part, 0u);
                for (var i = share; i < tokens; i += n_shares) {
                    let s = scores[p * PAGE_TOKENS + i];
                    let v = values[at + i * params.head_dim];
                    weight += s;
{% for i in range(queries) %}
                    sum{{ i }} += s[{{ i }}] * v;
{% endfor %}
                }
            }
        }
    }

    if part == 0u && share < n_shares {
        weights[share] = weight;
    }
    let out_at = params.out_offset + row * params.out_stride + kv_head * group * params.head_dim;
{% for i in range(queries) %}
    sums[thread] = sum{{ i }};
    workgroupBarrier();
    if thread < params.head_dim && first_query + {{ i }}u < group {
        var total = vec4<f32>();
        var total_weight = 0.0;
        for (var i = 0u; i < n_shares; i++) {
            total += sums[i * params.head_dim + thread];
            total_weight += weights[i][{{ i }}];
        }
        out[out_at + (first_query + {{ i }}u) * params.head_dim + thread] = total / total_weight;
    }
    workgroupBarrier();
{% endfor %}
}
