// One workgroup chooses the token, by what `sampler` does on the CPU, in integers wherever an order of addition or a
// device's rounding would show.
//
// An element is a score's word and its token counted from the end: of two the greater is the better, first by word, then
// by the smaller id. Thresholds are elements; what is not below the floor is kept. A threshold is found digit by digit,
// from a histogram of the elements that share the digits found so far: nothing is sorted, and blocks whose best is below
// it are not looked at again.
const THREADS = 256u;
const BINS = 256u;
const DIGITS = 7u; // four of the word, three of the token
const MAXIMA = 0u;
const ELEMENTS = 1u;

// A bin's sum of weights, in four limbs of 12 bits that take a million elements without overflow, and their number.
var<workgroup> limbs: array<atomic<u32>, 1024>;
var<workgroup> counts: array<atomic<u32>, 256>;
// Sums of 16 bins each.
var<workgroup> groups: array<vec2<u32>, 16>;
// Blocks that may hold what is kept.
var<workgroup> live: array<u32, {{ max_blocks }}>;
var<workgroup> n_live: atomic<u32>;
var<workgroup> most: atomic<u32>;
var<workgroup> nearest: atomic<u32>;
// What one thread tells all.
var<workgroup> told: vec4<u32>;

var<private> lane: u32;
var<private> best_score: f32;

fn decoded(word: u32) -> f32 {
    return bitcast<f32>(select(~word, word ^ 0x80000000u, word >= 0x80000000u));
}

fn below(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// Words of 64 bits: low, high.
fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn times(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let one = (a >> 16u) * (b & 0xffffu);
    let two = (a & 0xffffu) * (b >> 16u);
    let product = plus(vec2<u32>(low, (a >> 16u) * (b >> 16u)), vec2<u32>(one << 16u, one >> 16u));
    return plus(product, vec2<u32>(two << 16u, two >> 16u));
}

// The share of a score beside the best one's.
fn weight(word: u32) -> u32 {
    let scaled = (best_score - decoded(word)) * params.unit;
    if scaled >= f32({{ (weight_bits + 1) * 2 ** one }}u) {
        return 0u;
    }
    let x = u32(scaled);
    let at = {{ powers_at }}u + (x >> 12u) % {{ powers }}u;
    let power = tables[at] - (((tables[at] - tables[at + 1u]) * i32(x & 0xfffu)) >> 12u);
    return (u32(power) << {{ weight_bits - power_bits }}u) >> (x >> {{ one }}u);
}

// The noise of a token in this draw: pcg4d and -log2(-log2(u)).
fn noise(id: u32) -> i32 {
    var v = vec4<u32>(params.seed_low, params.seed_high, draw_number(), id) * 1664525u + 1013904223u;
{% for _ in range(2) %}
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
{% if loop.first %}
    v ^= v >> vec4<u32>(16u);
{% endif %}
{% endfor %}
    let hash = v.x;
    let x = (hash << 1u) | 1u;
    let zeros = countLeadingZeros(x);
    let mantissa = x << zeros;
    let at = (hash >> 31u) * {{ half }}u + (31u - zeros) * {{ steps }}u + (mantissa >> 24u) % {{ steps }}u;
    return tables[at] + (((tables[at + 1u] - tables[at]) * i32((mantissa >> 8u) & 0xffffu)) >> 16u);
}

// The largest value, and of those that have it the largest `back`; 0 is no value.
fn winner(value: u32, back: u32) -> vec2<u32> {
    if lane == 0u {
        atomicStore(&most, 0u);
        atomicStore(&nearest, 0u);
    }
    workgroupBarrier();
    atomicMax(&most, value);
    workgroupBarrier();
    let top = atomicLoad(&most);
    if value == top {
        atomicMax(&nearest, back);
    }
    workgroupBarrier();
    if lane == 0u {
        told = vec4<u32>(top, atomicLoad(&nearest), 0u, 0u);
    }
    return workgroupUniformLoad(&told).xy;
}

fn element(source: u32, i: u32) -> vec2<u32> {
    if source == MAXIMA {
        return blocks[i];
    }
    let id = live[i / params.block] * params.block + i % params.block;
    return vec2<u32>(keys[id], {{ last_id }}u - id);
}

// Collects the blocks that hold something not below the floor.
fn narrow(floor: vec2<u32>) {
    workgroupBarrier();
    if lane == 0u {
        atomicStore(&n_live, 0u);
    }
    workgroupBarrier();
    for (var b = lane; b < params.n_blocks; b += THREADS) {
        if !below(blocks[b], floor) {
            live[atomicAdd(&n_live, 1u)] = b;
        }
    }
    workgroupBarrier();
}

fn add(bin: u32, sum: vec2<u32>, count: u32) {
    if count == 0u {
        return;
    }
    atomicAdd(&limbs[bin * 4u], sum.x & 0xfffu);
    atomicAdd(&limbs[bin * 4u + 1u], (sum.x >> 12u) & 0xfffu);
    atomicAdd(&limbs[bin * 4u + 2u], (sum.x >> 24u) | ((sum.y & 0xfu) << 8u));
    atomicAdd(&limbs[bin * 4u + 3u], sum.y >> 4u);
    atomicAdd(&counts[bin], count);
}

fn bin_sum(bin: u32) -> vec2<u32> {
    let b = atomicLoad(&limbs[bin * 4u + 1u]);
    let c = atomicLoad(&limbs[bin * 4u + 2u]);
    let low = plus(vec2<u32>(atomicLoad(&limbs[bin * 4u]), 0u), vec2<u32>(b << 12u, b >> 20u));
    return plus(low, vec2<u32>(c << 24u, (c >> 8u) + (atomicLoad(&limbs[bin * 4u + 3u]) << 4u)));
}

// The bin, from the best one down, where the sum reaches `need`: [bin, whether all of it is needed, need within it].
fn reached(weighted: bool, first: bool, need: vec2<u32>) -> vec4<u32> {
    var rest = need;
    if weighted && first {
        var total = vec2<u32>();
        for (var g = 0u; g < 16u; g++) {
            total = plus(total, groups[g]);
        }
        rest = plus(times(total.y, params.top_p), vec2<u32>(times(total.x, params.top_p).y, 0u));
        if rest.x == 0u && rest.y == 0u {
            rest.x = 1u;
        }
    }
    for (var g = 16u; g > 0u; g--) {
        if less(groups[g - 1u], rest) {
            rest = minus(rest, groups[g - 1u]);
            continue;
        }
        for (var bin = g * 16u - 1u; bin + 16u >= g * 16u; bin--) {
            let sum = bin_sum(bin);
            if !less(sum, rest) {
                let whole = atomicLoad(&counts[bin]) == 1u || (!weighted && all(sum == rest));
                return vec4<u32>(bin, u32(whole), rest);
            }
            rest = minus(rest, sum);
        }
    }
    return vec4<u32>(BINS, 0u, rest);
}

// Raises the floor to where the best elements are `count`, or have the share `top_p` of all weights.
fn raised(source: u32, weighted: bool, floor: vec2<u32>, count: u32) -> vec2<u32> {
    var found = vec2<u32>();
    var need = vec2<u32>(count, 0u);
    for (var digit = 0u; digit < DIGITS; digit++) {
        for (var i = lane; i < 4u * BINS; i += THREADS) {
            atomicStore(&limbs[i], 0u);
        }
        atomicStore(&counts[lane], 0u);
        workgroupBarrier();

        let of_word = digit < 4u;
        let shift = select(48u, 24u, of_word) - 8u * digit;
        let n = select(atomicLoad(&n_live) * params.block, params.n_blocks, source == MAXIMA);
        // Neighbours often share a bin: they are added up before they go there.
        var held = 0u;
        var held_sum = vec2<u32>();
        var held_count = 0u;
        for (var i = lane; i < n; i += THREADS) {
            let e = element(source, i);
            if below(e, floor) || (!of_word && e.x != found.x) {
                continue;
            }
            let word = select(e.y, e.x, of_word);
            let known = select(found.y, found.x, of_word);
            if digit % 4u != 0u && ((word ^ known) >> (shift + 8u)) != 0u {
                continue;
            }
            let bin = (word >> shift) % BINS;
            if bin != held {
                add(held, held_sum, held_count);
                held = bin;
                held_sum = vec2<u32>();
                held_count = 0u;
            }
            var one = 1u;
            if weighted {
                one = weight(e.x);
            }
            held_sum = plus(held_sum, vec2<u32>(one, 0u));
            held_count++;
        }
        add(held, held_sum, held_count);
        workgroupBarrier();
        if lane < 16u {
            var sum = vec2<u32>();
            for (var i = 0u; i < 16u; i++) {
                sum = plus(sum, bin_sum(lane * 16u + i));
            }
            groups[lane] = sum;
        }
        workgroupBarrier();
        if lane == 0u {
            told = reached(weighted, digit == 0u, need);
        }
        let next = workgroupUniformLoad(&told);
        if next.x == BINS {
            return floor;
        }
        if of_word {
            found.x |= next.x << shift;
        } else {
            found.y |= next.x << shift;
        }
        need = next.zw;
        if next.y != 0u {
            break;
        }
        if source == ELEMENTS {
            narrow(vec2<u32>(found.x, 0u));
        }
    }
    return select(found, floor, below(found, floor));
}

fn chosen_token(best: vec2<u32>) -> vec2<u32> {
    if params.greedy != 0u {
        return best;
    }
    var floor = vec2<u32>(1u, 0u);
    // The k best of the blocks' best ones, whose last is at most the last of the k best of all; those; the share `top_p`.
    // In a loop, for what `raised` is made of is most of this kernel, and compilers would repeat it at each call.
    for (var stage = 0u; stage < 3u; stage++) {
        let weighted = stage == 2u;
        if stage == 1u {
            narrow(floor);
        }
        let count = select(params.top_k, 0u, weighted);
        if count > 0u || (weighted && params.top_p > 0u) {
            floor = raised(select(ELEMENTS, MAXIMA, stage == 0u), weighted, floor, count);
        }
    }
    narrow(floor);

    var value = 0u;
    var back = 0u;
    let n = atomicLoad(&n_live) * params.block;
    for (var i = lane; i < n; i += THREADS) {
        let e = element(ELEMENTS, i);
        if below(e, floor) {
            continue;
        }
        let distance = best_score - decoded(e.x);
        let behind = distance * params.factor;
        if distance > params.min_p_distance || behind >= f32({{ reach }}u) {
            continue;
        }
        let raced = bitcast<u32>(noise({{ last_id }}u - e.y) - i32(behind)) ^ 0x80000000u;
        if raced > value || (raced == value && e.y > back) {
            value = raced;
            back = e.y;
        }
    }
    return winner(value, back);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    lane = local;
    var best = vec2<u32>();
    for (var b = lane; b < params.n_blocks; b += THREADS) {
        if below(best, blocks[b]) {
            best = blocks[b];
        }
    }
    best = winner(best.x, best.y);
    var token = best;
    let broken = best.x == 0u || best.x >= 0xff800000u;
    if !broken {
        best_score = decoded(best.x);
        token = chosen_token(best);
    }
    if lane != 0u {
        return;
    }
    // Where nothing is possible any token will do for the runs that are under way.
    let id = min({{ last_id }}u - token.y, params.n_vocab - 1u);
    chosen[0] = id;
    chosen[1] = select(0u, select(1u, best.x, best.x != 0u), broken);
    if params.marked != 0u {
        marks[id].y = (marks[id].y + 1u) | 0x80000000u;
    }
}
