//! Everything elementwise, each with its gradient. A loop runs inside `simd`, which compiles it once per instruction set and
//! picks the machine's best; sums are kept in `LANES` partial sums, as the compiler may not reorder them itself.

const LANES: usize = 32;

pub(super) fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            sums[i] = a[i].mul_add(b[i], sums[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    total(sums) + rest
}

#[inline(always)]
fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let (c_chunks, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a_chunks.iter().zip(b_chunks).zip(c_chunks) {
        for i in 0..LANES {
            sums[i] = (a[i] * b[i]).mul_add(c[i], sums[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).zip(c_rest).map(|((a, b), c)| a * b * c).sum();
    total(sums) + rest
}

#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            best[i] = if chunk[i] > best[i] { chunk[i] } else { best[i] };
        }
    }
    rest.iter().chain(&best).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// e^x to about 2 units in the last place, without a branch or a call: 2^n · e^r with |r| ≤ ln 2 / 2 and a polynomial for e^r.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this rounds a small number to an integer, which the sum's low mantissa bits then hold.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first times any n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // The Taylor series up to r^7 leaves less than 2^-27.
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, c);
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

#[inline(always)]
fn add_normed(dx: &mut [f32], x: &[f32], gain: &[f32], dy: &[f32], dgain: &mut [f32], rstd: f32) {
    let c = rstd * rstd * rstd * dot3(x, gain, dy) / x.len() as f32;
    for i in 0..x.len() {
        dgain[i] = (x[i] * rstd).mul_add(dy[i], dgain[i]);
        dx[i] += (rstd * gain[i]).mul_add(dy[i], -c * x[i]);
    }
}

/// RMS norm of each row of `x` into `y`; keeps the reciprocal root mean squares in `rstd`.
pub(super) fn rms_norm(y: &mut [f32], rstd: &mut [f32], x: &[f32], gain: &[f32], eps: f32) {
    let width = gain.len();
    simd(
        #[inline(always)]
        || {
            for ((y, x), rstd) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(rstd) {
                let r = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
                *rstd = r;
                for i in 0..width {
                    y[i] = x[i] * r * gain[i];
                }
            }
        },
    );
}

/// Adds the gradients of `rms_norm` to `dx` and `dgain`.
pub(super) fn rms_norm_back(
    dx: &mut [f32],
    dgain: &mut [f32],
    dy: &[f32],
    x: &[f32],
    rstd: &[f32],
    gain: &[f32],
) {
    let width = gain.len();
    simd(
        #[inline(always)]
        || {
            let rows = dx.chunks_exact_mut(width).zip(dy.chunks_exact(width)).zip(x.chunks_exact(width));
            for (((dx, dy), x), &r) in rows.zip(rstd) {
                add_normed(
                    &mut dx[..width],
                    &x[..width],
                    &gain[..width],
                    &dy[..width],
                    &mut dgain[..width],
                    r,
                );
            }
        },
    );
}

/// The rotations of positions from zero on: `head_dim / 2` cosines, then as many sines, for each.
#[derive(Debug)]
pub(super) struct Rope {
    theta: f64,
    head_dim: usize,
    table: Vec<f32>,
}

impl Rope {
    pub(super) fn new(theta: f64, head_dim: usize) -> Self {
        Rope { theta, head_dim, table: Vec::new() }
    }

    pub(super) fn reserve(&mut self, positions: usize) {
        let half = self.head_dim / 2;
        for position in self.table.len() / self.head_dim..positions {
            let angle = |i: usize| position as f64 * self.theta.powf(-2.0 * i as f64 / self.head_dim as f64);
            self.table.extend((0..half).map(|i| angle(i).cos() as f32));
            self.table.extend((0..half).map(|i| angle(i).sin() as f32));
        }
    }

    fn at(&self, position: u32) -> (&[f32], &[f32]) {
        self.table[position as usize * self.head_dim..][..self.head_dim].split_at(self.head_dim / 2)
    }
}

/// The heads of the queries and keys, which come first in each row of `stride` elements, and how each is normed and rotated.
pub(super) struct Heads<'a> {
    pub(super) stride: usize,
    /// One head's gain after the other.
    pub(super) gains: Vec<&'a [f32]>,
    pub(super) positions: &'a [u32],
    pub(super) rope: &'a Rope,
    pub(super) eps: f32,
}

/// Norms each head of `qkv`, then rotates it by its row's position. `out` has these heads alone.
pub(super) fn norm_rope(out: &mut [f32], rstd: &mut [f32], qkv: &[f32], heads: &Heads) {
    let (count, dim) = (heads.gains.len(), heads.rope.head_dim);
    let half = dim / 2;
    simd(
        #[inline(always)]
        || {
            let rows = out.chunks_exact_mut(count * dim).zip(rstd.chunks_exact_mut(count));
            let inputs = qkv.chunks_exact(heads.stride).zip(heads.positions);
            for ((out, rstd), (x, &position)) in rows.zip(inputs) {
                let (cos, sin) = heads.rope.at(position);
                for (h, gain) in heads.gains.iter().enumerate() {
                    let x = &x[h * dim..][..dim];
                    let r = 1.0 / (dot(x, x) / dim as f32 + heads.eps).sqrt();
                    rstd[h] = r;
                    let (x1, x2) = x.split_at(half);
                    let (g1, g2) = gain.split_at(half);
                    let (o1, o2) = out[h * dim..][..dim].split_at_mut(half);
                    for i in 0..half {
                        let (a, b) = (x1[i] * r * g1[i], x2[i] * r * g2[i]);
                        o1[i] = a * cos[i] - b * sin[i];
                        o2[i] = b * cos[i] + a * sin[i];
                    }
                }
            }
        },
    );
}

/// The gradients of `norm_rope`: to the heads of `dqkv`, which it overwrites, and added to `dgains`, one head's after the
/// other. `dout` is left rotated back.
pub(super) fn norm_rope_back(
    dqkv: &mut [f32],
    dgains: &mut [f32],
    dout: &mut [f32],
    qkv: &[f32],
    rstd: &[f32],
    heads: &Heads,
) {
    let (count, dim) = (heads.gains.len(), heads.rope.head_dim);
    let half = dim / 2;
    simd(
        #[inline(always)]
        || {
            let rows = dqkv.chunks_exact_mut(heads.stride).zip(dout.chunks_exact_mut(count * dim));
            let saved = qkv.chunks_exact(heads.stride).zip(rstd.chunks_exact(count)).zip(heads.positions);
            for ((dx, dy), ((x, rstd), &position)) in rows.zip(saved) {
                let (cos, sin) = heads.rope.at(position);
                for (h, gain) in heads.gains.iter().enumerate() {
                    let dy = &mut dy[h * dim..][..dim];
                    let (d1, d2) = dy.split_at_mut(half);
                    for i in 0..half {
                        let (a, b) = (d1[i], d2[i]);
                        d1[i] = a * cos[i] + b * sin[i];
                        d2[i] = b * cos[i] - a * sin[i];
                    }
                    let dx = &mut dx[h * dim..][..dim];
                    dx.fill(0.0);
                    let x = &x[h * dim..][..dim];
                    add_normed(dx, x, &gain[..dim], dy, &mut dgains[h * dim..][..dim], rstd[h]);
                }
            }
        },
    );
}

/// `silu(gate) · up`, the two side by side in each row of `gate_up`.
pub(super) fn swiglu(out: &mut [f32], gate_up: &[f32], width: usize) {
    simd(
        #[inline(always)]
        || {
            for (out, row) in out.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width)) {
                let (gate, up) = row.split_at(width);
                for i in 0..width {
                    let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
                    out[i] = gate[i] * sigmoid * up[i];
                }
            }
        },
    );
}

/// Replaces `gate_up` by its gradient and `dout` by what `swiglu` had given, which the caller needs next.
pub(super) fn swiglu_back(dout: &mut [f32], gate_up: &mut [f32], width: usize) {
    simd(
        #[inline(always)]
        || {
            for (dout, row) in dout.chunks_exact_mut(width).zip(gate_up.chunks_exact_mut(2 * width)) {
                let (gate, up) = row.split_at_mut(width);
                for i in 0..width {
                    let (d, g, u) = (dout[i], gate[i], up[i]);
                    let sigmoid = 1.0 / (1.0 + exp(-g));
                    let silu = g * sigmoid;
                    dout[i] = silu * u;
                    up[i] = d * silu;
                    gate[i] = d * u * (sigmoid + silu * (1.0 - sigmoid));
                }
            }
        },
    );
}

/// Softmax of the first `i + 1` scores of row i, and zeros after them.
pub(super) fn causal_softmax(scores: &mut [f32], len: usize) {
    simd(
        #[inline(always)]
        || {
            for (i, row) in scores.chunks_exact_mut(len).enumerate() {
                let (seen, ahead) = row.split_at_mut(i + 1);
                softmax(seen);
                ahead.fill(0.0);
            }
        },
    );
}

/// Softmax in place; the sum of the exponentials and the greatest value are returned.
#[inline(always)]
fn softmax(row: &mut [f32]) -> (f32, f32) {
    let top = max(row);
    for v in row.iter_mut() {
        *v = exp(*v - top);
    }
    let mut sums = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] += chunk[i];
        }
    }
    let sum = total(sums) + rest.iter().sum::<f32>();
    let scale = 1.0 / sum;
    for v in row.iter_mut() {
        *v *= scale;
    }
    (sum, top)
}

/// From the probabilities and the gradient to them, in place, the gradient to the scores.
pub(super) fn causal_softmax_back(dprobs: &mut [f32], probs: &[f32], len: usize) {
    simd(
        #[inline(always)]
        || {
            let rows = dprobs.chunks_exact_mut(len).zip(probs.chunks_exact(len));
            for (i, (d, p)) in rows.enumerate() {
                let (seen, ahead) = d.split_at_mut(i + 1);
                let p = &p[..i + 1];
                let mean = dot(seen, p);
                for i in 0..p.len() {
                    seen[i] = p[i] * (seen[i] - mean);
                }
                ahead.fill(0.0);
            }
        },
    );
}

/// The sum over rows of −log softmax(row)[target]; each row becomes its gradient, softmax − one-hot. `hits`
/// tells, row by row, whether the target was the greatest.
pub(super) fn cross_entropy(logits: &mut [f32], vocab: usize, targets: &[u32], hits: &mut Vec<bool>) -> f64 {
    hits.clear();
    simd(
        #[inline(always)]
        || {
            let mut loss = 0.0;
            for (row, &target) in logits.chunks_exact_mut(vocab).zip(targets) {
                let target = target as usize;
                let value = row[target];
                let (sum, top) = softmax(row);
                loss += f64::from(sum).ln() - f64::from(value - top);
                hits.push(value == top);
                row[target] -= 1.0;
            }
            loss
        },
    )
}
