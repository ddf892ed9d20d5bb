//! Many seeded schedules of faults, each ending with a verified file or a clear error.

use super::server::{Fault, Tag};
use super::*;

/// One device and one server, and what shall go wrong.
struct Schedule {
    bench: Bench,
    pinned: bool,
    /// Every version that the server ever had.
    versions: Vec<Vec<u8>>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let time = Rc::new(Virtual::new(seed + 1));
        let len = 1 + time.pick(60_000);
        let first = file(len as usize, seed);
        let chunk_bytes = 64 * (1 + time.pick(128)) as u32;
        let mut bench = Bench::new(first.clone());
        bench.server = Rc::new(Server::new(first.clone(), Rc::clone(&time)));
        bench.memory = Rc::new(Memory::new(Rc::clone(&time)));
        bench.policy.chunk_bytes = chunk_bytes;
        let mut versions = vec![first];
        let pinned = time.pick(3) == 0;
        bench.server.tag.set([Tag::Strong, Tag::Strong, Tag::Weak, Tag::None][time.pick(4) as usize]);
        bench.server.ranges.set(time.pick(5) > 0);
        bench.server.exposes.set(time.pick(3) > 0);
        bench.server.states.set(time.pick(3) > 0);
        match time.pick(8) {
            0 => bench.server.compresses.set(true),
            1 => bench.server.refuses.set(true),
            2 => bench.server.list.set((time.pick(20_000) as f64, time.pick(3) as u32)),
            _ => {}
        }
        let checked = pinned || (bench.server.states.get() && bench.server.list.get() == (0.0, 0));
        for _ in 0..time.pick(9) {
            let at = time.pick(len + 1);
            let fault = match time.pick(13) {
                0 | 1 => Fault::Reset(at),
                2 => Fault::Stall(at),
                3 => Fault::Truncate(at),
                // What nobody states a hash of cannot be told from another file.
                4 if checked => Fault::Flip(at),
                5 => Fault::Whole,
                6 => Fault::Misplaced,
                7 => Fault::Expired,
                8 => Fault::Busy([None, Some(3), Some(900)][time.pick(3) as usize]),
                9 => [Fault::Unreachable, Fault::Offline][time.pick(2) as usize].clone(),
                10 => Fault::Mute,
                // A file of the same size, without anything that tells versions apart, is told by its hash only.
                11 if !pinned => {
                    let changed = file(1 + time.pick(60_000) as usize, seed + 1000 + at);
                    versions.push(changed.clone());
                    Fault::Change(changed)
                }
                12 => Fault::Retag(at),
                _ => Fault::None,
            };
            bench.server.faults.borrow_mut().push_back(fault);
        }
        if time.pick(4) == 0 {
            bench.memory.set_quota(time.pick(len + 1));
        }
        for _ in 0..time.pick(4) {
            // The one after a lost one lasts for one request at least.
            bench.memory.losses.borrow_mut().push_back(2 + time.pick(40));
        }
        bench.time = time;
        Self { bench, pinned, versions }
    }

    fn request(&self) -> Request {
        match self.bench.request() {
            Request::Url { id, name, urls, headers, .. } if self.pinned => {
                let sha256 = vec![self.bench.server.sha256()];
                Request::Url { id, name, urls, headers, sha256, bytes: Vec::new() }
            }
            other => other,
        }
    }

    /// Loads once, maybe killed on the way.
    fn attempt(&self, kill: bool) -> Option<Result<Report>> {
        if kill {
            self.bench.time.kill_after(self.bench.time.pick(120) as u32);
        }
        self.bench.time.run(self.bench.load(self.request(), CacheMode::Required))
    }

    /// What must hold whatever happened.
    fn check(&self, seed: u64, outcome: Option<&Result<Report>>) {
        let record = self.bench.memory.record("model");
        if let Some(record) = record.as_ref().filter(|r| r.complete) {
            let stored = self.bench.memory.bytes("model");
            assert_eq!(stored.len() as u64, record.stored(), "seed {seed}");
            assert!(
                self.versions.contains(&stored),
                "seed {seed}: a wrong file is kept, {:?}",
                self.bench.server.log.borrow()
            );
        }
        match outcome {
            None => {}
            Some(Ok(report)) => {
                assert!(self.versions.contains(&report.bytes), "seed {seed}: a wrong file was read");
                assert!(record.is_some_and(|r| r.complete), "seed {seed}: nothing was kept");
            }
            Some(Err(e)) => {
                assert!(record.is_none_or(|r| !r.complete), "seed {seed}: {e}, and yet it is kept");
                let codes = [
                    Code::Network,
                    Code::HttpStatus,
                    Code::QuotaExceeded,
                    Code::Integrity,
                    Code::FileChanged,
                ];
                assert!(codes.contains(&e.code()), "seed {seed}: {e}");
                assert!(e.to_string().len() > 20, "seed {seed}: {e}");
            }
        }
    }
}

#[test]
fn whatever_goes_wrong_ends_with_a_verified_file_or_a_clear_error() {
    let (mut done, mut failed, mut killed, mut resumed) = (0, 0, 0, 0);
    for seed in 0..2000 {
        let schedule = Schedule::new(seed);
        let Bench { server, memory, time, .. } = &schedule.bench;
        for _ in 0..3 {
            let outcome = schedule.attempt(time.pick(3) == 0);
            schedule.check(seed, outcome.as_ref());
            match outcome {
                None => killed += 1,
                Some(Ok(_)) => {
                    done += 1;
                    break;
                }
                Some(Err(_)) => failed += 1,
            }
        }
        // The world is well again: it succeeds, and only what is missing is fetched.
        server.faults.borrow_mut().clear();
        server.list.set((0.0, 0));
        time.online.set(true);
        memory.set_quota(u64::MAX);
        memory.losses.borrow_mut().clear();
        let record = memory.record("model");
        let there = record.as_ref().map_or(0, Record::stored);
        let same = record.as_ref().and_then(|r| r.parts.first()).is_some_and(|p| {
            let stored = memory.bytes("model");
            server.file().starts_with(&stored) && p.version.strong().is_some()
        });
        let sent = server.sent();
        let last = schedule.attempt(false);
        schedule.check(seed, last.as_ref());
        let last = last.unwrap().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let total = server.file().len() as u64;
        let tagged = server.tag.get() == Tag::Strong && server.ranges.get() && !server.refuses.get();
        if same && tagged && (server.exposes.get() || last.from == Some(Origin::Cache)) {
            assert_eq!(server.sent() - sent, total - there, "seed {seed}: more was fetched than was missing");
            resumed += u32::from(there > 0 && there < total);
        }
    }
    // The schedules are worth something: each ending is there many times.
    assert!(done > 500 && failed > 200 && killed > 200 && resumed > 50, "{done} {failed} {killed} {resumed}");
}
