//! A pool of threads that share the items of a loop.
//!
//! Whoever calls [`Pool::run`] works too and waits for items that others took, never for a thread that took none: a
//! thread that the system keeps waiting costs no more than its share. Threads spin briefly between loops, for the next
//! one usually follows within microseconds, then sleep.

use std::cell::Cell;
use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Looks at a counter before sleeping: some tens of microseconds.
const SPINS: u32 = 20_000;

/// The most threads that a pool has; more gain nothing where memory is the limit.
pub const MAX_THREADS: usize = 16;

/// Threads, the caller's among them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    /// Others than the caller's.
    n_helpers: usize,
    /// Within [`Pool::run`]: a loop in an item runs on that item's thread.
    busy: Cell<bool>,
}

/// What the threads of a pool share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Number of the loop, and below it how many of its items are not taken: one word, so that an item is taken from the
    /// loop that was looked at and no other.
    ticket: AtomicU64,
    /// The loop's body; valid while one of its items is taken and not done.
    body: AtomicPtr<Body<'static>>,
    /// Items of the loop that are done.
    done: AtomicU32,
    /// Helpers that sleep or are about to.
    sleepers: AtomicU32,
    /// Whether the caller sleeps or is about to.
    caller_sleeps: AtomicBool,
    /// A thread died in an item.
    broken: AtomicBool,
    stop: AtomicBool,
    /// Guards nothing but the moments between looking and sleeping.
    sleep: Mutex<()>,
    work: Condvar,
    finished: Condvar,
}

/// What a loop does with an item. Sized, so that a thin pointer can name it.
struct Body<'a>(&'a (dyn Fn(usize) + Sync));

impl Pool {
    /// The caller's thread alone.
    pub fn alone() -> Self {
        Self { shared: Arc::default(), n_helpers: 0, busy: Cell::new(false) }
    }

    /// The caller's thread and `n - 1` more, which end with the pool.
    ///
    /// # Errors
    /// `out-of-memory` where the system gives no thread.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(n: usize) -> crate::error::Result<Self> {
        use crate::error::{Code, Error};
        let mut pool = Self::alone();
        for i in 1..n.clamp(1, MAX_THREADS) {
            let shared = pool.shared();
            let body = move || shared.help();
            std::thread::Builder::new().name(format!("qwenlet {i}")).spawn(body).map_err(|e| {
                let message = "the system gives no more threads; ask for fewer in `threads`";
                Error::new(Code::OutOfMemory, message).with_cause(e)
            })?;
            pool.n_helpers += 1;
        }
        Ok(pool)
    }

    /// What helpers are given, for [`Shared::help`].
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Says that `n` threads have been started that call [`Shared::help`].
    #[cfg(target_arch = "wasm32")]
    pub fn add_helpers(&mut self, n: usize) {
        self.n_helpers += n;
    }

    /// Threads, the caller's included.
    pub fn n_threads(&self) -> usize {
        1 + self.n_helpers
    }

    /// Calls `item` for each of `0..n`, on all threads, in no order.
    ///
    /// # Panics
    /// Where an item panicked.
    pub fn run(&self, n: usize, item: impl Fn(usize) + Sync) {
        if self.n_helpers == 0 || n < 2 || n > u32::MAX as usize || self.busy.get() {
            (0..n).for_each(item);
            return;
        }
        self.busy.set(true);
        let shared = &*self.shared;
        let body = Body(&item);
        shared.publish(&body, n as u32);
        // Also where an item on this thread panics: others may still be using the body.
        let wait = Wait { shared, n: n as u32, busy: &self.busy };
        shared.take_items();
        drop(wait);
        assert!(!shared.broken.load(SeqCst), "a thread of the engine stopped");
    }
}

impl Pool {
    /// Cuts `0..n` into ranges of `least` or more and calls `part` for each of them, on all threads.
    ///
    /// They are few, for taking one costs about a microsecond where cores share no cache, and smaller toward the end, so
    /// that a thread that is slow, or was called late, leaves the rest to others.
    pub fn split(&self, n: usize, least: usize, part: impl Fn(Range<usize>) + Sync) {
        let threads = self.n_threads();
        let most = n / least.max(1);
        if threads > 1 && most >= 8 * threads {
            let at = |i| n * cut(i, threads) / (8 * threads);
            self.run(EIGHTHS.len() * threads, |i| part(at(i)..at(i + 1)));
        } else {
            // As many for each thread, where there are enough.
            let parts = match most / threads {
                _ if threads == 1 => 1,
                0 => most.max(1),
                each => each.min(EIGHTHS.len()) * threads,
            };
            self.run(parts, |i| part(n * i / parts..n * (i + 1) / parts));
        }
    }
}

/// Parts of a thread's share of a loop, in eighths of it. The last is taken first.
const EIGHTHS: [usize; 4] = [1, 1, 2, 4];

/// Where part `i` of a loop begins, in eighths of a thread's share: first come the smallest parts of all threads.
fn cut(i: usize, threads: usize) -> usize {
    let (whole, more) = (i / threads, i % threads);
    let before: usize = EIGHTHS[..whole].iter().sum();
    before * threads + EIGHTHS.get(whole).map_or(0, |eighths| eighths * more)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        drop(self.shared.lock());
        self.shared.work.notify_all();
    }
}

/// Waits, when dropped, for the items that others took.
struct Wait<'a> {
    shared: &'a Shared,
    n: u32,
    busy: &'a Cell<bool>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // Where this thread is unwinding from its item, what nobody took is not to be done any more.
        let lost = if std::thread::panicking() { 1 + self.shared.drop_items() } else { 0 };
        self.shared.wait(self.n - lost);
        self.busy.set(false);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, body: &Body<'_>, n: u32) {
        self.body.store(std::ptr::from_ref(body).cast_mut().cast(), SeqCst);
        self.done.store(0, SeqCst);
        let number = (self.ticket.load(SeqCst) >> 32).wrapping_add(1);
        self.ticket.store(number << 32 | u64::from(n), SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            drop(self.lock());
            self.work.notify_all();
        }
    }

    /// Takes an item of the current loop.
    fn take(&self) -> Option<usize> {
        let take = |ticket| if ticket as u32 == 0 { None } else { Some(ticket - 1) };
        self.ticket.fetch_update(SeqCst, SeqCst, take).ok().map(|ticket| ticket as u32 as usize - 1)
    }

    /// Takes items until there are none.
    fn take_items(&self) {
        while let Some(i) = self.take() {
            // SAFETY: an item of this loop is taken and not done, so the caller of `run` is still in it, and its body,
            // stored before the ticket, is alive.
            let body = unsafe { &*self.body.load(SeqCst) };
            (body.0)(i);
            self.finish();
        }
    }

    /// Leaves the items that nobody took; returns how many.
    fn drop_items(&self) -> u32 {
        let drop = |ticket: u64| Some(ticket & !u64::from(u32::MAX));
        self.ticket.fetch_update(SeqCst, SeqCst, drop).map_or(0, |ticket| ticket as u32)
    }

    fn finish(&self) {
        self.done.fetch_add(1, SeqCst);
        if self.caller_sleeps.load(SeqCst) {
            drop(self.lock());
            self.finished.notify_all();
        }
    }

    /// Until `n` items are done. In WebAssembly, where nothing unwinds, a dead thread's item never is.
    fn wait(&self, n: u32) {
        let broken = || cfg!(target_arch = "wasm32") && self.broken.load(SeqCst);
        let over = || self.done.load(SeqCst) >= n || broken();
        for _ in 0..SPINS {
            if over() {
                return;
            }
            spin_loop();
        }
        let mut guard = self.lock();
        self.caller_sleeps.store(true, SeqCst);
        while !over() {
            guard = self.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.caller_sleeps.store(false, SeqCst);
    }

    /// A helper's life: takes items until the pool is dropped.
    pub fn help(&self) {
        while self.await_work() {
            let help = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.take_items()));
            if help.is_err() {
                self.break_down();
                self.finish();
                return;
            }
        }
    }

    /// Waits for items; false: the pool is gone.
    fn await_work(&self) -> bool {
        let ready = || self.ticket.load(SeqCst) as u32 > 0 || self.stop.load(SeqCst);
        for _ in 0..SPINS {
            if ready() {
                return !self.stop.load(SeqCst);
            }
            spin_loop();
        }
        let mut guard = self.lock();
        self.sleepers.fetch_add(1, SeqCst);
        while !ready() {
            guard = self.work.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
        !self.stop.load(SeqCst)
    }

    /// Says that a thread died in an item: who waits for the loop panics.
    pub fn break_down(&self) {
        self.broken.store(true, SeqCst);
        drop(self.lock());
        self.finished.notify_all();
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_runs_once_in_every_loop() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).unwrap();
            assert_eq!(pool.n_threads(), threads);
            for round in 0..2000 {
                let n = round % 37;
                let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                pool.run(n, |i| {
                    counts[i].fetch_add(1, SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "{threads} threads, round {round}");
                if round % 500 == 0 {
                    // Long enough for the helpers to sleep.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }

    #[test]
    fn parts_cover_everything_once() {
        for threads in 1..=5 {
            let pool = Pool::new(threads).unwrap();
            for (n, least) in
                [(0, 1), (1, 8), (31, 8), (32, 8), (79, 1), (80, 1), (128, 8), (1216, 8), (37984, 8)]
            {
                let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                let parts = AtomicUsize::new(0);
                pool.split(n, least, |part| {
                    assert!(part.len() >= least.min(n), "{threads} threads, {n}: {part:?}");
                    parts.fetch_add(1, SeqCst);
                    part.for_each(|i| {
                        counts[i].fetch_add(1, SeqCst);
                    });
                });
                assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "{threads} threads, {n} by {least}");
                assert!((1..=4 * threads).contains(&parts.into_inner()), "{threads} threads, {n} by {least}");
            }
        }
    }

    #[test]
    fn a_loop_in_an_item_runs_in_place() {
        let pool = Pool::new(1).unwrap();
        let total = AtomicUsize::new(0);
        pool.run(3, |i| {
            total.fetch_add(i, SeqCst);
        });
        assert_eq!(total.load(SeqCst), 3);
    }

    #[test]
    fn the_caller_waits_for_a_slow_thread_asleep() {
        let pool = Pool::new(2).unwrap();
        let done = AtomicUsize::new(0);
        pool.run(2, |_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            done.fetch_add(1, SeqCst);
        });
        assert_eq!(done.load(SeqCst), 2);
    }

    #[test]
    fn a_panic_in_an_item_reaches_the_caller() {
        for _ in 0..20 {
            let pool = Pool::new(3).unwrap();
            let run = || {
                pool.run(16, |i| {
                    std::thread::sleep(std::time::Duration::from_micros(50));
                    assert!(i != 5, "as the test wants it");
                });
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        }
    }
}
