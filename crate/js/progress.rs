//! Progress as the page is told of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Function;
use serde::Serialize;
use web_time::Instant;

use super::emit;
use crate::engine::{Phase, Progress};
use crate::error::Error;
use crate::source::{Notice, Opener, Origin, Rate, Reporter, Status, Waiting};

/// Least milliseconds between two reports of progress.
const EVERY: f64 = 50.0;

/// `LoadEvent` of `pkg/src/wire.ts`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum LoadEvent<'a> {
    Progress {
        phase: &'a str,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds_left: Option<f64>,
        from: Origin,
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed_from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        waiting: Option<Waiting>,
    },
    Warning {
        code: &'a str,
        message: String,
    },
}

/// Puts together what the engine and the sources report.
pub(super) struct Meter {
    on_event: Function,
    source: RefCell<Option<(Rc<Status>, Option<Reporter>)>>,
    rate: RefCell<Rate>,
    last: Cell<Last>,
    waiting: Cell<Option<Waiting>>,
    began: Instant,
}

#[derive(Clone, Copy)]
struct Last {
    phase: &'static str,
    bytes: u64,
    total: Option<u64>,
    from: Origin,
    told: f64,
}

impl Meter {
    pub(super) fn new(on_event: Function) -> Self {
        let last =
            Last { phase: "header", bytes: 0, total: None, from: Origin::Cache, told: f64::NEG_INFINITY };
        Self {
            on_event,
            source: RefCell::default(),
            rate: RefCell::default(),
            last: Cell::new(last),
            waiting: Cell::default(),
            began: Instant::now(),
        }
    }

    /// From now on the bytes come by this opener; other tabs that wait for it are told too.
    pub(super) fn start(&self, opener: &Opener) {
        let reporter = opener.lock_name().map(|name| Reporter::new(&name, opener.clock()));
        *self.source.borrow_mut() = Some((Rc::clone(opener.status()), reporter));
    }

    pub(super) fn progress(&self, progress: Progress) {
        let phase = match progress.phase {
            Phase::Header => "header",
            Phase::Weights => "weights",
            Phase::Prepare => "prepare",
            Phase::Ready => "ready",
        };
        self.update(phase, progress.bytes, progress.total);
    }

    pub(super) fn notice(&self, notice: Notice) {
        let last = self.last.get();
        let warn = |e: &Error, message| {
            emit(&self.on_event, &LoadEvent::Warning { code: e.code().as_str(), message });
        };
        match notice {
            Notice::Waiting(why) => {
                self.waiting.set(why);
                if why == Some(Waiting::OtherTab) {
                    self.update("waiting", 0, None);
                } else if why.is_some() {
                    self.rate.borrow_mut().reset();
                    self.tell(last);
                }
            }
            Notice::OtherTab(bytes, total) => self.update("waiting", bytes, total),
            Notice::NotCached(e) => warn(&e, e.to_string()),
            Notice::Restarted(e) => {
                warn(&e, format!("{e}: the download begins anew"));
                self.rate.borrow_mut().reset();
            }
            Notice::Unverified(name) => {
                let message =
                    format!("the hub did not say which SHA-256 {name} should have: it was not verified");
                emit(&self.on_event, &LoadEvent::Warning { code: "network", message });
            }
            Notice::Evicted(name) => {
                let message = format!("{name} was deleted from the cache to make room");
                emit(&self.on_event, &LoadEvent::Warning { code: "quota-exceeded", message });
            }
        }
    }

    fn update(&self, phase: &'static str, bytes: u64, total: Option<u64>) {
        let before = self.last.get();
        let now = self.began.elapsed().as_secs_f64() * 1000.0;
        let from = self.source.borrow().as_ref().map_or(Origin::Network, |(status, _)| status.from.get());
        if from != before.from || phase != before.phase {
            self.rate.borrow_mut().reset();
        }
        let due = phase != before.phase || now - before.told >= EVERY;
        let told = if due { now } else { before.told };
        let last = Last { phase, bytes, total, from, told };
        self.last.set(last);
        if due {
            self.rate.borrow_mut().add(now, bytes);
            self.tell(last);
            if let Some((_, Some(reporter))) = &*self.source.borrow() {
                reporter.tell(bytes, total);
            }
        }
    }

    fn tell(&self, last: Last) {
        let Last { phase, bytes, total, from, .. } = last;
        let moving = self.waiting.get().is_none_or(|w| w == Waiting::OtherTab);
        let rate = self.rate.borrow().per_second().filter(|_| moving);
        let left = total.map(|total| total.saturating_sub(bytes) as f64);
        let resumed = self.source.borrow().as_ref().map_or(0, |(status, _)| status.resumed.get());
        let event = LoadEvent::Progress {
            phase,
            bytes,
            total,
            bytes_per_second: rate,
            seconds_left: rate.zip(left).filter(|&(rate, _)| rate > 0.0).map(|(rate, left)| left / rate),
            from,
            resumed_from: Some(resumed).filter(|&n| n > 0),
            waiting: self.waiting.get(),
        };
        emit(&self.on_event, &event);
    }
}
