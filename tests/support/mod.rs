//! What integration tests share: tiny random models of every architecture and format, references to hold the engine
//! against, the place of the golden data.
//!
//! Included with `#[path]` by tests and by `examples/make_test_models.rs`; none of them uses all of it.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod candle;
pub mod engine;
pub mod golden;
pub mod model;
pub mod quantize;
pub mod reference;
pub mod rng;
pub mod trace;
pub mod vocabulary;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// The golden data, where it is present (`../shared/fixtures/dev`, or what `QWENLET_FIXTURES` says); says so where it
/// is not.
pub fn fixtures() -> Option<PathBuf> {
    let dir = std::env::var_os("QWENLET_FIXTURES")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/dev").into(), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: ../shared/fixtures is absent");
    None
}

/// `|wanted - got| / |wanted|` over all values; infinite where a value is not a number or the lengths differ.
pub fn relative_l2(got: impl IntoIterator<Item = f64>, wanted: impl IntoIterator<Item = f64>) -> f64 {
    let (mut got, mut wanted) = (got.into_iter(), wanted.into_iter());
    let (mut difference, mut norm) = (0.0, 0.0);
    loop {
        match (got.next(), wanted.next()) {
            (Some(g), Some(w)) => {
                difference += (g - w).powi(2);
                norm += w * w;
            }
            (None, None) => break,
            _ => return f64::INFINITY,
        }
    }
    let relative = (difference / norm).sqrt();
    if relative.is_nan() { f64::INFINITY } else { relative }
}

/// Does the work for each item, as many at once as there are processors.
pub fn side_by_side<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
            work(item);
        }
    };
    let n = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| (0..n).for_each(|_| drop(scope.spawn(worker))));
}
