// One workgroup a row, block of {{ queries }} query heads that read the same key head, and share of the row's pages: each
// key and value is loaded once for the block. In turns of up to four pages, first a key or a piece of one a thread for the
// scores, then a quarter of the head and some of the tokens for the sums of values, with a running maximum (online softmax):
// threads wait for each other three times a turn, once more where they share keys.
{% if own %}
// The row's own key and value are not in the state yet: the workgroups whose share of pages has their place take them from
// where the product left them, one of them writes them to the state, and nobody uses what is there before.
{% endif %}
{% set vec = "vec" ~ queries ~ "<f32>" %}
const THREADS = {{ threads }}u;
const QUERIES = {{ queries }}u;
// Pages of a turn, at most: a thread has a key.
const MAX_PAGES = THREADS / PAGE_TOKENS;
// Threads that look for the largest score of a turn.
const SCOUTS = 16u;
// Threads that share a quarter of the values, each with some of the tokens; at most.
const MAX_SHARES = 32u;
const LOWEST = -3.0e38;

// [part][query]; at most 256 values a head.
var<workgroup> query: array<vec4<f32>, {{ 64 * queries }}>;
// Of the turn's keys, one component a query: what each piece has, then the products and the largest of them; the scores.
var<workgroup> pieces: array<{{ vec }}, THREADS>;
var<workgroup> scores: array<{{ vec }}, THREADS>;
{% if queries == 4 %}
// Sums of values take the place of pieces when all pages are done.
{% set sums = "pieces" %}
{% else %}
{% set sums = "sums" %}
var<workgroup> sums: array<vec4<f32>, THREADS>;
{% endif %}
var<workgroup> weights: array<{{ vec }}, MAX_SHARES>;
{% if own %}
// The row's key and value, at most 64 quarters each, as the state will hold them; their largest magnitudes, scales.
var<workgroup> own: array<vec2<u32>, 128>;
var<workgroup> magnitudes: array<u32, 128>;
var<workgroup> own_scales: array<f32, 2>;
{% endif %}

{# Adds the products of the block's queries with `n` quarters of a key from quarter d on. #}
{% macro key_parts(n) %}
{% for j in range(n) %}
                let stored{{ j }} = keys[at + (d + {{ j }}u) * PAGE_TOKENS];
                let k{{ j }} = integers({{ "select(stored" ~ j ~ ", own[d + " ~ j ~ "u], is_own)" if own else "stored" ~ j }});
{% endfor %}
{% for j in range(n) %}
                score += {{ vec }}(
{% for i in range(queries) %}
                    dot(query[(d + {{ j }}u) * QUERIES + {{ i }}u], k{{ j }}),
{% endfor %}
                );
{% endfor %}
{% endmacro %}
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let group = params.n_heads / params.n_kv_heads;
    let blocks = (group + QUERIES - 1u) / QUERIES;
    let kv_head = workgroup.x / blocks;
    let first_query = workgroup.x % blocks * QUERIES;
    let row = workgroup.y;
    let position = row_position(row);
    let n_keys = position + 1u;
    let n_pages = (n_keys + PAGE_TOKENS - 1u) / PAGE_TOKENS;
    let n_splits = select(1u, run[{{ splits_at }}u], params.split != 0u);
    let pages_each = (n_pages + n_splits - 1u) / n_splits;
    let first_page = workgroup.z * pages_each;
    let end_page = min(first_page + pages_each, n_pages);
    let end_key = min(n_keys, end_page * PAGE_TOKENS);

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
    let own_page = position / PAGE_TOKENS;
    let has_own = first_page <= own_page && own_page < end_page;
    // The first half of the threads has the key, the other one the value, a quarter each.
    let is_value = thread >= 64u;
    let quarter = select(thread % 64u, params.head_dim, thread >= 128u);
    var mine = vec4<f32>();
    if has_own && quarter < params.head_dim {
        if is_value {
            mine = x[x_at + params.v_offset + kv_head * params.head_dim + quarter];
        } else {
            let k_at = x_at + params.k_offset + kv_head * params.head_dim;
            mine = head_quarter(k_at, quarter, position, params.k_normed, params.k_norm_at, params.k_eps);
        }
    }
    if thread < 128u {
        magnitudes[thread] = magnitude(mine);
    }
{% endif %}

    // For the sums of values: this thread's quarter of the head, and which share of a page's tokens it takes.
    let part = thread % params.head_dim;
    let n_shares = min(THREADS / params.head_dim, MAX_SHARES);
    let share = thread / params.head_dim;
{% for i in range(queries) %}
    var sum{{ i }} = vec4<f32>();
{% endfor %}
    var weight = {{ vec }}();
    var maximum = {{ vec }}(LOWEST);
{% if own %}
    workgroupBarrier();
    if has_own && thread < 128u {
        // As the state will hold them, so that a row sees the same whether or not others are stored with it.
        var largest = 0u;
        for (var i = 0u; i < params.head_dim; i += 8u) {
{% for j in range(8) %}
            largest = max(largest, magnitudes[thread / 64u * 64u + i + {{ j }}u]);
{% endfor %}
        }
        let scale = scale_of(largest);
        let words = words_of(mine, scale);
        own[thread] = words;
        if quarter == 0u {
            own_scales[thread / 64u] = scale;
        }
        if first_query == 0u && quarter < params.head_dim {
            let page = row_page(row, position);
            let at = position % PAGE_TOKENS;
            if is_value {
                values[value_at(page, kv_head, quarter, at)] = words;
            } else {
                keys[key_at(page, kv_head, quarter, at)] = words;
            }
            if quarter == 0u {
                scales[key_scale_at(page, kv_head, at) + thread / 64u * PAGE_TOKENS] = scale;
            }
        }
    }
{% endif %}

    // Queries and what is the row's own are written.
    workgroupBarrier();
    var pages = 1u;
    for (var p = first_page; p < end_page; p += pages) {
        // A power of two: fewer pages than threads have keys leave several threads to a key.
        pages = min(end_page - p, MAX_PAGES);
        pages += u32(pages == 3u);
        let n_slots = pages * PAGE_TOKENS;
        let slot = thread % n_slots;
        let piece = thread / n_slots;
        let n_pieces = THREADS / n_slots;
        let quarters = (params.head_dim + n_pieces - 1u) / n_pieces;
        let first_quarter = min(piece * quarters, params.head_dim);
        let end_quarter = min(first_quarter + quarters, params.head_dim);
        let whole = first_quarter + (end_quarter - first_quarter) / {{ ahead }}u * {{ ahead }}u;
        let first_key = p * PAGE_TOKENS;
        let key = first_key + slot;
        // Threads with a key behind the last one compute that one's product, of which nothing is kept.
        let used_key = min(key, end_key - 1u);
        let page = row_page(row, used_key);
        let at = key_at(page, kv_head, 0u, used_key % PAGE_TOKENS);
        let scale_at = key_scale_at(page, kv_head, used_key % PAGE_TOKENS);
{% if own %}
        let is_own = used_key == position;
{% endif %}
        var score = {{ vec }}();
        // Several loads are under way at once.
        for (var d = first_quarter; d < whole; d += {{ ahead }}u) {
{{ key_parts(ahead) }}
        }
        for (var d = whole; d < end_quarter; d++) {
{{ key_parts(1) }}
        }
        if n_pieces > 1u {
            pieces[thread] = score;
            workgroupBarrier();
        }
        if piece == 0u {
            for (var i = slot + n_slots; i < THREADS; i += n_slots) {
                score += pieces[i];
            }
            let scale = scales[scale_at];
            score *= {{ "select(scale, own_scales[0], is_own)" if own else "scale" }};
            score = select({{ vec }}(LOWEST), score, key < end_key);
            pieces[slot] = score;
        }
        workgroupBarrier();
        if thread < SCOUTS {
            var best = maximum;
            for (var i = thread; i < n_slots; i += PAGE_TOKENS) {
{% for i in range(page_tokens // 16) %}
                best = max(best, pieces[i + {{ 16 * i }}u]);
{% endfor %}
            }
            pieces[thread] = best;
        }
        workgroupBarrier();
        var new_maximum = pieces[0];
{% for i in range(1, 16) %}
        new_maximum = max(new_maximum, pieces[{{ i }}]);
{% endfor %}
        if piece == 0u {
            scores[slot] = exp(score - new_maximum);
        }
        workgroupBarrier();
        let shrink = exp(maximum - new_maximum);
        maximum = new_maximum;
        weight *= shrink;
{% for i in range(queries) %}
        sum{{ i }} *= shrink[{{ i }}];
{% endfor %}
        if share < n_shares {
            for (var page_key = first_key; page_key < min(first_key + n_slots, end_key); page_key += PAGE_TOKENS) {
                let tokens = min(PAGE_TOKENS, end_key - page_key);
                let value_page = row_page(row, page_key);
                let values_at = value_at(value_page, kv_head, part, 0u);
                let scales_at = value_scale_at(value_page, kv_head, 0u);
                let page_slot = page_key - first_key;
                for (var i = share; i < tokens; i += {{ ahead }}u * n_shares) {
{% for j in range(ahead) %}
                    let i{{ j }} = min(i + {{ j }}u * n_shares, tokens - 1u);
                    let stored{{ j }} = values[values_at + i{{ j }} * params.head_dim];
                    let stored_scale{{ j }} = scales[scales_at + i{{ j }}];
{% if own %}
                    let is_own{{ j }} = page_key + i{{ j }} == position;
                    let v{{ j }} = integers(select(stored{{ j }}, own[64u + part], is_own{{ j }}));
                    let scale{{ j }} = select(stored_scale{{ j }}, own_scales[1], is_own{{ j }});
{% else %}
                    let v{{ j }} = integers(stored{{ j }});
                    let scale{{ j }} = stored_scale{{ j }};
{% endif %}
{% endfor %}
{% for j in range(ahead) %}
                    {
                        let sees = i + {{ j }}u * n_shares < tokens;
                        let s = select({{ vec }}(), scores[page_slot + i{{ j }}], sees);
                        weight += s;
                        let scaled = select({{ vec }}(), s * scale{{ j }}, sees);
{% for i in range(queries) %}
                        sum{{ i }} += scaled[{{ i }}] * v{{ j }};
{% endfor %}
                    }
{% endfor %}
                }
            }
        }
    }

    if part == 0u && share < n_shares {
        weights[share] = weight;
    }
{% for i in range(queries) %}
    {{ sums }}[thread] = sum{{ i }};
    workgroupBarrier();
    if thread < params.head_dim && first_query + {{ i }}u < group {
        var total = vec4<f32>();
        var total_weight = 0.0;
        for (var i = 0u; i < n_shares; i++) {
            total += {{ sums }}[i * params.head_dim + thread];
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
{% if not loop.last %}
    workgroupBarrier();
{% endif %}
{% endfor %}
}
