//! The CPU's attention against the reference over what it has stored.

use super::*;
use crate::kernels::attention::reference;
use crate::kernels::simd::with_scalar;
use crate::kernels::store_kv::cpu::{HEAD_SCALES, head_len, round, store};
use crate::kernels::store_kv::{self, Pool as StatePool};
use crate::plan::state::PageId;
use crate::testing::{Rng, relative_l2};

/// Heads of one layer, and how large their values are.
#[derive(Debug, Clone, Copy)]
struct Shape {
    n_kv_heads: usize,
    group: usize,
    head_dim: usize,
    q: f32,
    k: f32,
    v: f32,
}

const SHAPE: Shape = Shape { n_kv_heads: 2, group: 7, head_dim: 64, q: 1.0, k: 1.0, v: 1.0 };

/// The same keys and values as the reference and as the CPU keeps them, a page as two lists.
struct State {
    shape: Shape,
    keys: StatePool,
    values: StatePool,
    data: Vec<i16>,
    scales: Vec<f32>,
}

impl State {
    fn new(n_pages: usize, shape: Shape) -> Self {
        let Shape { n_kv_heads, head_dim, .. } = shape;
        let pool = StatePool::new(n_pages, n_kv_heads, head_dim);
        let heads = n_pages * n_kv_heads;
        // What nobody wrote must not matter, whatever it is.
        let (data, scales) =
            (vec![i16::MIN; heads * head_len(head_dim)], vec![f32::NAN; heads * HEAD_SCALES]);
        Self { shape, keys: pool.clone(), values: pool, data, scales }
    }

    fn place(&self, page: PageId, head: usize) -> (Range<usize>, Range<usize>) {
        let at = page.0 as usize * self.shape.n_kv_heads + head;
        let len = head_len(self.shape.head_dim);
        (at * len..(at + 1) * len, at * HEAD_SCALES..(at + 1) * HEAD_SCALES)
    }

    fn store(&mut self, row: &Row, table: &[PageId], k: &[f32], v: &[f32]) {
        let Shape { n_kv_heads, head_dim, .. } = self.shape;
        let position = row.position as usize;
        for head in 0..n_kv_heads {
            let (k, v) = (&k[head * head_dim..][..head_dim], &v[head * head_dim..][..head_dim]);
            let (data, scales) = self.place(table[position / PAGE_TOKENS], head);
            store(&mut self.data[data], &mut self.scales[scales], position % PAGE_TOKENS, k, v);
        }
        let rounded = |x: &[f32]| {
            let mut x = x.to_vec();
            x.chunks_exact_mut(head_dim).for_each(round);
            x
        };
        let (k, v) = (rounded(k), rounded(v));
        let lines = |x| Lines::packed(x, n_kv_heads * head_dim).unwrap();
        let row = Row { sequence: 0, ..*row };
        store_kv::reference(&[row], &[table], lines(&k), lines(&v), &mut self.keys, &mut self.values)
            .unwrap();
    }

    fn page(&self, page: PageId, head: usize) -> HeadPage<'_> {
        let (data, scales) = self.place(page, head);
        HeadPage::new(&self.data[data], &self.scales[scales])
    }

    /// Attention of these rows, `n_parted` of which may be parted.
    fn forward(&self, rows: &[Row], tables: &[&[PageId]], q: &[f32], n_parted: usize) -> Vec<f32> {
        self.forward_on(&Pool::alone(), rows, tables, q, n_parted)
    }

    fn forward_on(
        &self,
        pool: &Pool,
        rows: &[Row],
        tables: &[&[PageId]],
        q: &[f32],
        n_parted: usize,
    ) -> Vec<f32> {
        let Shape { n_kv_heads, group, head_dim, .. } = self.shape;
        let width = n_kv_heads * group * head_dim;
        let n_pages = self.scales.len() / HEAD_SCALES / n_kv_heads;
        let held = n_kv_heads * group * padded(head_dim);
        let mut tasks = Tasks::new(rows.len(), n_pages, n_parted, held, n_kv_heads * group).unwrap();
        tasks.cut(rows);
        // What was there before must not matter either.
        let mut out = vec![f32::NAN; rows.len() * width];
        let attention = Attention {
            rows,
            q: Lines::packed(q, width).unwrap(),
            n_kv_heads,
            group,
            head_dim,
            scale: 0.125,
            page: |sequence: u32, i: usize, head| self.page(tables[sequence as usize][i], head),
        };
        forward(&attention, &mut tasks, LinesMut::packed(&mut out, width).unwrap(), pool).unwrap();
        out
    }

    /// Of queries as the CPU takes them.
    fn reference(&self, rows: &[Row], tables: &[&[PageId]], q: &[f32]) -> Vec<f32> {
        let mut q = q.to_vec();
        q.chunks_exact_mut(self.shape.head_dim).for_each(round);
        let n_heads = self.shape.n_kv_heads * self.shape.group;
        let width = n_heads * self.shape.head_dim;
        let mut out = vec![0.0; rows.len() * width];
        let lines = LinesMut::packed(&mut out, width).unwrap();
        let q = Lines::packed(&q, width).unwrap();
        reference(rows, tables, &self.keys, &self.values, n_heads, 0.125, q, lines).unwrap();
        out
    }
}

fn row(sequence: u32, position: usize) -> Row {
    Row { token: 0, sequence, position: position as u32, output: false }
}

/// Sequences of these lengths, over pages that lie in no order.
fn filled(rng: &mut Rng, lengths: &[usize], shape: Shape) -> (State, Vec<Vec<PageId>>) {
    let n_pages: usize = lengths.iter().map(|n| n.div_ceil(PAGE_TOKENS)).sum();
    let mut free: Vec<PageId> = (0..n_pages as u32).map(PageId).collect();
    for i in (1..n_pages).rev() {
        free.swap(i, rng.below(i + 1));
    }
    let mut state = State::new(n_pages, shape);
    let mut tables = Vec::new();
    for &n in lengths {
        let table = free.split_off(free.len() - n.div_ceil(PAGE_TOKENS));
        let width = shape.n_kv_heads * shape.head_dim;
        for position in 0..n {
            let mut scaled = |by: f32| rng.values(width).iter().map(|v| v * by).collect::<Vec<_>>();
            let (k, v) = (scaled(shape.k), scaled(shape.v));
            state.store(&row(0, position), &table, &k, &v);
        }
        tables.push(table);
    }
    (state, tables)
}

fn queries(rng: &mut Rng, n: usize, shape: Shape) -> Vec<f32> {
    let n = n * shape.n_kv_heads * shape.group * shape.head_dim;
    rng.values(n).iter().map(|v| v * shape.q).collect()
}

/// Weights are rounded, to 1/8191 of a page's largest: what is left once keys, values and queries are the same. Typical is
/// 3.5·10⁻⁵ of the largest, which is up to ten times as large as most.
const LIMIT: f64 = 4e-4;

/// Rows of several sequences against the reference, and every instruction set against the scalar form.
fn compare(what: &str, rng: &mut Rng, lengths: &[usize], rows: &[Row], shape: Shape) {
    let (state, tables) = filled(rng, lengths, shape);
    let tables: Vec<&[PageId]> = tables.iter().map(Vec::as_slice).collect();
    let q = queries(rng, rows.len(), shape);
    let want = state.reference(rows, &tables, &q);
    for n_parted in [0, 1, 4] {
        let got = state.forward(rows, &tables, &q, n_parted);
        let error = relative_l2(&got, &want);
        assert!(error <= LIMIT, "{what}, {n_parted} parted, {shape:?}: {error:e}");
        let scalar = with_scalar(|| state.forward(rows, &tables, &q, n_parted));
        assert_eq!(got, scalar, "{what}, {shape:?}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn every_shape_gives_what_the_reference_gives() {
    let mut rng = Rng::new(61);
    for n in [1, 2, 63, 64, 65, 129] {
        for head_dim in [1, 5, 8, 12, 30, 64, 128, 256] {
            let group = 1 + rng.below(8);
            let shape = Shape { n_kv_heads: 1 + rng.below(3), group, head_dim, ..SHAPE };
            let decode = [row(0, n - 1)];
            compare("decode", &mut rng, &[n], &decode, shape);
            let prefill: Vec<Row> = (0..n).map(|p| row(0, p)).collect();
            compare("prefill", &mut rng, &[n], &prefill, shape);
        }
    }
    // More query heads than share a pass.
    for group in [1, 3, 8, 9, 20] {
        let shape = Shape { group, head_dim: 32, ..SHAPE };
        let rows: Vec<Row> = (50..70).map(|p| row(0, p)).collect();
        compare("groups", &mut rng, &[70], &rows, shape);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn sequences_do_not_mix() {
    let mut rng = Rng::new(62);
    let lengths = [1400, 3, 64, 700];
    let mut rows = vec![row(0, 1399), row(3, 699), row(1, 2), row(2, 63)];
    rows.extend((600..611).map(|p| row(3, p)));
    rows.extend([row(0, 0), row(1, 0), row(1, 1)]);
    rows.extend((1000..1003).map(|p| row(0, p)));
    for shape in [SHAPE, Shape { n_kv_heads: 3, group: 2, head_dim: 128, ..SHAPE }] {
        compare("batch", &mut rng, &lengths, &rows, shape);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn scores_and_values_of_any_size_are_held() {
    let mut rng = Rng::new(63);
    let rows: Vec<Row> = (0..130).map(|p| row(0, p)).collect();
    for (q, k, v) in [
        (0.0, 0.0, 0.0),
        (0.0, 1.0, 1.0),
        (1e-20, 1e-20, 1e-20),
        // One position takes all; its neighbours differ by more than exp can tell.
        (300.0, 300.0, 1.0),
        (1.0, 7e4, 1e6),
        // Beyond f16.
        (1e-3, 1e6, 3e37),
        (1e15, 1e15, 1.0),
        (1e-30, 1e30, 1e-5),
    ] {
        let shape = Shape { q, k, v, ..SHAPE };
        let (state, tables) = filled(&mut rng, &[130], shape);
        let tables: Vec<&[PageId]> = tables.iter().map(Vec::as_slice).collect();
        let q = queries(&mut rng, rows.len(), shape);
        let (got, want) = (state.forward(&rows, &tables, &q, 1), state.reference(&rows, &tables, &q));
        // Scores of thousands are told apart no better than f32 tells them: an error in the exponent.
        let score = f64::from(shape.q) * f64::from(shape.k) * 2.0;
        let limit = (score * 1e-6).clamp(LIMIT, 0.05) * f64::from(v);
        for (got, want) in got.iter().zip(&want) {
            assert!((f64::from(*got) - f64::from(*want)).abs() <= limit, "{shape:?}: {got}, not {want}");
        }
    }
}

#[cfg_attr(test, test)]
pub(crate) fn a_row_gives_the_same_bits_alone_and_among_others() {
    let mut rng = Rng::new(64);
    let (state, tables) = filled(&mut rng, &[200], SHAPE);
    let tables = [tables[0].as_slice()];
    let rows: Vec<Row> = (0..200).map(|p| row(0, p)).collect();
    let q = queries(&mut rng, rows.len(), SHAPE);
    let want = state.forward(&rows, &tables, &q, 1);
    let width = want.len() / rows.len();
    let mut at = 0;
    for n in [1, 3, 64, 7, 61, 64] {
        let range = at * width..(at + n) * width;
        assert_eq!(state.forward(&rows[at..at + n], &tables, &q[range.clone()], 1), want[range], "{at}");
        at += n;
    }
}

#[cfg_attr(test, test)]
pub(crate) fn what_is_no_number_shows_in_rows_that_see_it_alone() {
    let mut rng = Rng::new(65);
    let (mut state, tables) = filled(&mut rng, &[80], SHAPE);
    let bad = vec![f32::NAN; SHAPE.n_kv_heads * SHAPE.head_dim];
    let good = vec![1.0; bad.len()];
    let rows: Vec<Row> = (0..80).map(|p| row(0, p)).collect();
    let q = queries(&mut rng, rows.len(), SHAPE);
    for (position, k, v) in [(77, &good, &bad), (70, &bad, &good)] {
        state.store(&row(0, position), &tables[0], k, v);
        let out = state.forward(&rows, &[&tables[0]], &q, 1);
        let width = out.len() / rows.len();
        for (p, out) in out.chunks_exact(width).enumerate() {
            assert_eq!(p >= position, out.iter().all(|o| o.is_nan()), "{p}");
            assert_eq!(p < position, out.iter().all(|o| o.is_finite()), "{p}");
        }
    }
}

#[cfg(test)]
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut rng = Rng::new(66);
    let (state, tables) = filled(&mut rng, &[1100, 70], SHAPE);
    let tables: Vec<&[PageId]> = tables.iter().map(Vec::as_slice).collect();
    let mut rows: Vec<Row> = (40..70).map(|p| row(1, p)).collect();
    rows.push(row(0, 1099));
    let q = queries(&mut rng, rows.len(), SHAPE);
    let want = state.forward(&rows, &tables, &q, 1);
    for n in [2, 3, 5] {
        let pool = Pool::new(n).unwrap();
        for _ in 0..20 {
            assert_eq!(state.forward_on(&pool, &rows, &tables, &q, 1), want, "{n} threads");
        }
    }
}
