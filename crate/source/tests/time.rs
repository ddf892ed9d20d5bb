//! A clock that stands still while anything can be done, and then jumps to the next timer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::future::LocalBoxFuture;

use crate::error::{Code, Error, Result};
use crate::source::world::Clock;

pub(super) struct Virtual {
    now: Rc<Cell<f64>>,
    /// By how much the time of day was set, in milliseconds.
    pub(super) set: Rc<Cell<f64>>,
    random: Cell<u64>,
    timers: RefCell<Vec<Weak<Timer>>>,
    tasks: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    pub(super) online: Cell<bool>,
    pub(super) aborted: Cell<bool>,
    /// Polls left until everything that runs is dropped, as when a tab is killed.
    fuse: Cell<Option<u32>>,
}

struct Timer {
    at: f64,
}

impl Virtual {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Rc::new(Cell::new(1e12)),
            set: Rc::default(),
            random: Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            online: Cell::new(true),
            aborted: Cell::new(false),
            fuse: Cell::new(None),
        }
    }

    /// Ends what runs next after so many polls.
    pub(super) fn kill_after(&self, polls: u32) {
        self.fuse.set(Some(polls));
    }

    /// Below `n`.
    pub(super) fn pick(&self, n: u64) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        (x >> 16) % n
    }

    /// Runs a future to its end; `None`: it was killed.
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = Box::pin(future);
        let mut context = Context::from_waker(Waker::noop());
        let fuse = self.fuse.take();
        for polls in 0.. {
            assert!(polls < 10_000_000, "nothing comes of it");
            if fuse.is_some_and(|fuse| polls >= fuse) {
                self.tasks.borrow_mut().clear();
                return None;
            }
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                while !self.tasks.borrow().is_empty() {
                    self.step(&mut context);
                }
                return Some(value);
            }
            self.step(&mut context);
        }
        None
    }

    /// Polls the tasks, then lets time pass.
    fn step(&self, context: &mut Context<'_>) {
        let mut tasks = self.tasks.take();
        let before = tasks.len();
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        let some_ended = tasks.len() < before;
        self.tasks.borrow_mut().extend(tasks);
        if some_ended {
            return; // somebody may have waited for it
        }
        let mut timers = self.timers.borrow_mut();
        timers.retain(|timer| timer.upgrade().is_some_and(|t| t.at > self.now.get()));
        let next = timers.iter().filter_map(|t| Some(t.upgrade()?.at)).fold(f64::INFINITY, f64::min);
        if next.is_finite() {
            self.now.set(next);
        }
    }
}

/// Done at its time; dropped, nothing waits for it.
struct Sleep {
    timer: Rc<Timer>,
    now: Rc<Cell<f64>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.now.get() >= self.timer.at { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Clock for Virtual {
    fn now(&self) -> f64 {
        self.now.get() + self.set.get()
    }

    fn elapsed(&self) -> f64 {
        self.now.get()
    }

    fn random(&self) -> f64 {
        self.pick(1000) as f64 / 1000.0
    }

    fn sleep(&self, ms: f64) -> LocalBoxFuture<'static, ()> {
        let timer = Rc::new(Timer { at: self.now.get() + ms.max(0.0) });
        self.timers.borrow_mut().push(Rc::downgrade(&timer));
        Box::pin(Sleep { timer, now: Rc::clone(&self.now) })
    }

    fn online(&self) -> bool {
        self.online.get()
    }

    fn until_online(&self, ms: f64) -> LocalBoxFuture<'static, ()> {
        self.online.set(true); // by then
        self.sleep(ms / 2.0)
    }

    fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        self.tasks.borrow_mut().push(future);
    }

    fn check(&self) -> Result<()> {
        if self.aborted.get() { Err(Error::new(Code::Aborted, "the load was cancelled")) } else { Ok(()) }
    }
}
