// Logit bias and penalties, a workgroup a block of logits. A score is kept as a word that is in the order of the scores:
// 0 for what is impossible, all ones for what is not a number.
const LANES = 64u;
const INFINITY = 0x7f800000u;

var<workgroup> most: atomic<u32>;
var<workgroup> nearest: atomic<u32>;

// The f32 nearest to a sum or product: the compiler does not know that `zero` is 0, so it cannot fuse or reorder.
fn rounded(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ params.zero);
}

fn score(logit: u32, id: u32) -> u32 {
    if (logit & 0x7fffffffu) > INFINITY {
        return 0xffffffffu;
    }
    if logit == (INFINITY | 0x80000000u) {
        return 0u;
    }
    var x = bitcast<f32>(logit);
    if params.marked != 0u {
        let mark = marks[id];
        x = rounded(x + bitcast<f32>(mark.x));
        if mark.y != 0u {
            let count = mark.y & 0x7fffffffu;
            x = rounded(x * select(params.repetition, params.repetition_inverse, x > 0.0));
            x = rounded(x - rounded(f32(count) * params.frequency));
            if count > 0u {
                x = rounded(x - params.presence);
            }
        }
    }
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    if size > INFINITY {
        return 0xffffffffu;
    }
    if bits == (INFINITY | 0x80000000u) {
        return 0u;
    }
    // One zero, also for what a device may flush to it.
    if size < 0x00800000u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var best = 0u;
    var back = 0u;
    for (var i = lane; i < params.block; i += LANES) {
        let id = group.x * params.block + i;
        var key = 0u;
        if id < params.n_vocab {
            key = score(logits[id], id);
        }
        keys[id] = key;
        if key > best {
            best = key;
            back = {{ last_id }}u - id;
        }
    }
    atomicMax(&most, best);
    workgroupBarrier();
    let top = atomicLoad(&most);
    if best == top {
        atomicMax(&nearest, back);
    }
    workgroupBarrier();
    if lane == 0u {
        blocks[group.x] = vec2<u32>(top, atomicLoad(&nearest));
    }
}
