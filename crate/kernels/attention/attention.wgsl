// One workgroup a row and query head: a chunk of keys at a time, a key a thread for the scores, then a quarter of the
// head a thread for the sum of values, with a running maximum (online softmax).
const THREADS = 128u;
const CHUNK = 1024u;
const LOWEST = -3.0e38;

// At most 256 values a head.
var<workgroup> query: array<vec4<f32>, 64>;
var<workgroup> scores: array<f32, CHUNK>;
var<workgroup> highest: atomic<u32>;
var<workgroup> parts: array<vec4<f32>, THREADS>;
var<workgroup> weights: array<f32, THREADS>;

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
    let head = workgroup.x;
    let row = workgroup.y;
    let kv_head = head / (params.n_heads / params.n_kv_heads);
    let n_keys = row_position(row) + 1u;

    if thread < params.head_dim {
        query[thread] = q[params.q_offset + row * params.q_stride + head * params.head_dim + thread] * params.scale;
    }

    // For the sum of values: this thread's quarter of the head, and which share of the keys it takes.
    let part = thread % params.head_dim;
    let n_shares = THREADS / params.head_dim;
    let share = thread / params.head_dim;
    var sum = vec4<f32>();
    var weight = 0.0;
    var maximum = LOWEST;

    for (var first = 0u; first < n_keys; first += CHUNK) {
        let n = min(CHUNK, n_keys - first);
        workgroupBarrier();
        var best = LOWEST;
        for (var i = thread; i < n; i += THREADS) {
            let key = first + i;
            let at = key_at(row_page(row, key), kv_head, 0u, key % PAGE_TOKENS);
            var score = 0.0;
            for (var d = 0u; d < params.head_dim; d++) {
                score += dot(query[d], keys[at + d * PAGE_TOKENS]);
            }
            scores[i] = score;
            best = max(best, score);
        }
        atomicMax(&highest, to_ordered(best));
        workgroupBarrier();
        let new_maximum = from_ordered(atomicLoad(&highest));
        for (var i = thread; i < n; i += THREADS) {
            scores[i] = exp(scores[i] - new_maximum);
        }
        workgroupBarrier();
        let shrink = exp(maximum - new_maximum);
        maximum = new_maximum;
        sum *= shrink;
        weight *= shrink;
        if share < n_shares {
            for (var i = share; i < n; i += n_shares) {
                let key = first + i;
                let s = scores[i];
                weight += s;
                sum += s * values[value_at(row_page(row, key), kv_head, part, key % PAGE_TOKENS)];
            }
        }
    }

    parts[thread] = sum;
    weights[thread] = weight;
    workgroupBarrier();
    if thread < params.head_dim {
        for (var i = 1u; i < n_shares; i++) {
            sum += parts[i * params.head_dim + thread];
            weight += weights[i * params.head_dim + thread];
        }
        out[params.out_offset + row * params.out_stride + head * params.head_dim + thread] = sum / weight;
    }
}
