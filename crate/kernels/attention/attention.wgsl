// One workgroup a row, block of {{ queries }} query heads that read the same key head, and share of the row's pages: each
// key and value is loaded once for the block. A chunk of pages at a time, first a key a thread for the scores, then a
// quarter of the head a thread for the sums of values, with a running maximum (online softmax).
{% if own %}
// The row's own key and value are not in the state yet: the workgroups with the last share of pages take them from where
// the product left them, one of them writes them to the state, and nobody reads them there.
{% endif %}
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
{% if own %}
var<workgroup> own_key: array<vec4<f32>, 64>;
{% endif %}

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
    let position = row_position(row);
    let n_keys = position + {{ 0 if own else 1 }}u;
    let n_pages = (n_keys + PAGE_TOKENS - 1u) / PAGE_TOKENS;
    let n_splits = select(1u, run[{{ splits_at }}u], params.split != 0u);
    let pages_each = (n_pages + n_splits - 1u) / n_splits;
    let first_page = workgroup.z * pages_each;
    let end_page = min(first_page + pages_each, n_pages);
    let slot = thread % PAGE_TOKENS;

    let x_at = row * params.x_stride;
    let q_at = x_at + params.q_offset + kv_head * group * params.head_dim;
    for (var i = thread; i < params.head_dim * QUERIES; i += THREADS) {
        // A block that is not full computes its last query again.
        let at = q_at + min(first_query + i % QUERIES, group - 1u) * params.head_dim;
        let part = i / QUERIES;
        query[i] = params.scale
            * head_quarter(at, part, position, params.q_normed, params.q_norm_at, params.q_eps);
    }
{% if own %}
    let has_own = workgroup.z + 1u == n_splits;
    let k_at = x_at + params.k_offset + kv_head * params.head_dim;
    let v_at = x_at + params.v_offset + kv_head * params.head_dim;
    if has_own && thread < params.head_dim {
        own_key[thread] =
            head_quarter(k_at, thread, position, params.k_normed, params.k_norm_at, params.k_eps);
    }
{% endif %}

    // For the sums of values: this thread's quarter of the head, and which share of a page's tokens it takes.
    let part = thread % params.head_dim;
    let n_shares = THREADS / params.head_dim;
    let share = thread / params.head_dim;
{% for i in range(queries) %}
    var sum{{ i }} = vec4<f32>();
{% endfor %}
    var weight = {{ vec }}();
    var maximum = {{ vec }}(LOWEST);
{% if own %}
    workgroupBarrier();
    if has_own {
        // As the state will hold them, so that a row sees the same whether or not others are stored with it.
        var most = vec2<u32>();
        for (var i = 0u; i < params.head_dim; i++) {
            most = max(most, vec2<u32>(magnitude(own_key[i]), magnitude(x[v_at + i])));
        }
        let key_scale = scale_of(most.x);
        let value_scale = scale_of(most.y);
        var score = {{ vec }}();
        for (var d = 0u; d < params.head_dim; d++) {
            let k = integers(words_of(own_key[d], key_scale));
            score += {{ vec }}(
{% for i in range(queries) %}
                dot(query[d * QUERIES + {{ i }}u], k),
{% endfor %}
            );
        }
        maximum = score * key_scale;
        let value = words_of(x[v_at + part], value_scale);
        if share == 0u {
            weight = {{ vec }}(1.0);
{% for i in range(queries) %}
            sum{{ i }} = integers(value) * value_scale;
{% endfor %}
        }
        if first_query == 0u && share == 0u {
            let page = row_page(row, position);
            let at = position % PAGE_TOKENS;
            keys[key_at(page, kv_head, part, at)] = words_of(own_key[part], key_scale);
            values[value_at(page, kv_head, part, at)] = value;
            if part == 0u {
                scales[key_scale_at(page, kv_head, at)] = key_scale;
                scales[value_scale_at(page, kv_head, at)] = value_scale;
            }
        }
    }
{% endif %}

    for (var first = first_page; first < end_page; first += CHUNK_PAGES) {
        let n = min(CHUNK_PAGES, end_page - first);
        workgroupBarrier();
        var best = maximum;
        for (var p = thread / PAGE_TOKENS; p < n; p += THREADS / PAGE_TOKENS) {
            let key = (first + p) * PAGE_TOKENS;
            let page = row_page(row, key);
            let at = key_at(page, kv_head, 0u, slot);
            var score = {{ vec }}();
            for (var d = 0u; d < params.head_dim; d++) {
                let k = integers(keys[at + d * PAGE_TOKENS]);
                score += {{ vec }}(
{% for i in range(queries) %}
                    dot(query[d * QUERIES + {{ i }}u], k),
{% endfor %}
                );
            }
            score *= scales[key_scale_at(page, kv_head, slot)];
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
                let page = row_page(row, key);
                let at = value_at(page, kv_head, part, 0u);
                let scale_at = value_scale_at(page, kv_head, 0u);
                for (var i = share; i < tokens; i += n_shares) {
                    let s = scores[p * PAGE_TOKENS + i];
                    let v = integers(values[at + i * params.head_dim]);
                    weight += s;
                    let scaled = s * scales[scale_at + i];
{% for i in range(queries) %}
                    sum{{ i }} += scaled[{{ i }}] * v;
{% endfor %}
                }
            }
        }
    }

    if part == 0u && share < n_shares {
        weights[share] = weight;
    }
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
        let head = kv_head * group + first_query + {{ i }}u;
        if params.split == 0u {
            let at = params.out_offset + row * params.out_stride + head * params.head_dim;
            out[at + thread] = total / total_weight;
        } else {
            let at = ((row * n_splits + workgroup.z) * params.n_heads + head) * (params.head_dim + 1u);
            out[at + thread] = total;
            if thread == 0u {
                out[at + params.head_dim] = vec4<f32>(maximum[{{ i }}], total_weight, 0.0, 0.0);
            }
        }
    }
    workgroupBarrier();
{% endfor %}
}
