//! The CPU backend allocates nothing in a run, but for the pages that the run is the first to touch.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use pollster::block_on;
use qwenlet::backend::cpu::CpuBackend;
use qwenlet::backend::{Backend, RunLimits};
use qwenlet::gguf::{ModelFiles, Parsed, parse};
use qwenlet::model::Model;
use qwenlet::plan::state::{PAGE_TOKENS, PageId};
use qwenlet::plan::{Batch, Row};
use qwenlet::quant::GgmlType;
use support::model::{Mix, Spec};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread within `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const N_PAGES: usize = 12;

fn prepared(spec: Spec) -> CpuBackend {
    let bytes = spec.to_bytes();
    let Ok(Parsed::Header(header)) = parse(&bytes, Some(bytes.len() as u64)) else {
        panic!("not a GGUF file")
    };
    let files = ModelFiles::new(*header).unwrap();
    let plan = Arc::new(Model::new(&files).unwrap().plan);
    let limits =
        RunLimits { max_rows: 32, max_outputs: 4, max_sequences: 2, n_pages: N_PAGES, keep_buffers: false };
    let mut backend = CpuBackend::default();
    block_on(backend.prepare(plan.clone(), limits)).unwrap();
    support::trace::upload(&mut backend, &plan, &files, &bytes);
    backend
}

#[test]
fn a_run_allocates_nothing_but_pages() {
    for spec in [
        Spec::qwen2(Mix::All(GgmlType::Q4_0)),
        Spec::qwen2(Mix::All(GgmlType::F16)),
        Spec::qwen3(Mix::Q4KM),
        Spec::qwen3(Mix::All(GgmlType::Q8_0)),
    ] {
        let what = spec.name();
        let mut backend = prepared(spec);
        let pages: Vec<PageId> = (0..N_PAGES as u32).map(PageId).collect();
        // Long enough for a row's attention to be parted.
        let (long, short) = pages.split_at(N_PAGES - 1);
        let row = |sequence, position: usize| Row {
            token: (position % 100) as u32,
            sequence,
            position: position as u32,
            output: true,
        };
        let last = (N_PAGES - 2) * PAGE_TOKENS;
        let mut run =
            |rows: &[Row]| allocations(|| backend.run(&Batch { rows, tables: &[long, short] }).unwrap());
        let mut counted = 0;
        for position in (0..last).step_by(32) {
            let mut rows: Vec<Row> = (position..position + 32).map(|p| row(0, p)).collect();
            rows.iter_mut().for_each(|r| r.output = false);
            let n = run(&rows);
            // A page is touched by every second run.
            let touched = position.is_multiple_of(PAGE_TOKENS);
            assert!(touched == (n > 0) && n < 5, "{what}: {n} allocations at {position}");
            counted += n;
        }
        assert!(counted > 0, "the counter does not count");
        assert!(run(&[row(0, last), row(1, 0)]) > 0, "two new pages");
        for i in 1..20 {
            assert_eq!(run(&[row(0, last + 2 * i - 1)]), 0, "{what}: a token");
            assert_eq!(run(&[row(0, last + 2 * i), row(1, i)]), 0, "{what}: a token of two sequences each");
        }
    }
}
