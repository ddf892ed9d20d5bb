//! Downloading and caching against a server, a storage and a clock that misbehave on demand.

mod behaviour;
mod keeping;
mod schedules;
mod server;
mod split;
mod storage;
mod time;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, ready};

use super::Source;
use super::cache::Record;
use super::download::{Policy, Waiting};
use super::open::{Opener, with_opener};
use super::request::{CacheMode, Manner, Notice, Origin, Request};
use super::world::{Clock, Files, Locks, World, lock_name};
use crate::error::{Code, Result};
use server::Server;
use storage::{Connection, Memory};
use time::Virtual;

const URL: &str = "https://hub.test/owner/repo/resolve/main/model.gguf";

struct Free;

impl Locks for Free {
    fn try_acquire<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Option<Box<dyn Any>>>> {
        Box::pin(ready(Ok(Some(Box::new(()) as Box<dyn Any>))))
    }

    fn acquire<'a>(
        &'a self,
        _: &'a str,
        _: &'a dyn Fn(u64, Option<u64>),
    ) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        Box::pin(ready(Ok(Box::new(()) as Box<dyn Any>)))
    }

    fn steal<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        unreachable!("nobody has it")
    }
}

/// Another tab has the lock of a model, tells so often how far it is, every 10 seconds, and ends or is suspended.
struct Busy {
    time: Rc<Virtual>,
    model: &'static str,
    reports: u64,
    suspended: bool,
    stolen: Cell<bool>,
}

impl Locks for Busy {
    fn try_acquire<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Option<Box<dyn Any>>>> {
        let busy = name == lock_name(self.model) && !self.stolen.get();
        Box::pin(ready(Ok((!busy).then(|| Box::new(()) as Box<dyn Any>))))
    }

    fn acquire<'a>(
        &'a self,
        _: &'a str,
        on_bytes: &'a dyn Fn(u64, Option<u64>),
    ) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        Box::pin(async move {
            for n in 0..self.reports {
                on_bytes(n, None);
                self.time.sleep(10_000.0).await;
            }
            if self.suspended {
                futures_util::future::pending::<()>().await;
            }
            Ok(Box::new(()) as Box<dyn Any>)
        })
    }

    fn steal<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        self.stolen.set(true);
        Box::pin(ready(Ok(Box::new(()) as Box<dyn Any>)))
    }
}

/// Another tab has the lock, tells how far it is, and ends.
struct Taken;

impl Locks for Taken {
    fn try_acquire<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Option<Box<dyn Any>>>> {
        Box::pin(ready(Ok(None)))
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        on_bytes: &'a dyn Fn(u64, Option<u64>),
    ) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        assert_eq!(name, "qwenlet:model");
        on_bytes(5, Some(10));
        Box::pin(ready(Ok(Box::new(()) as Box<dyn Any>)))
    }

    fn steal<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Any>>> {
        unreachable!("it ends")
    }
}

struct NoFiles;

impl Files for NoFiles {
    fn open(&self, _: usize, _: u64) -> Option<Box<dyn Source>> {
        None
    }
}

/// A device with its storage, and a server.
struct Bench {
    server: Rc<Server>,
    memory: Rc<Memory>,
    time: Rc<Virtual>,
    policy: Policy,
    locks: Rc<dyn Locks>,
}

/// How a load ended.
#[derive(Debug, Default)]
struct Report {
    bytes: Vec<u8>,
    kept: Option<String>,
    from: Option<Origin>,
    /// Codes of what was told meanwhile, and names of what was deleted.
    notices: Vec<String>,
    resumed: u64,
    waits: Vec<Option<Waiting>>,
    others: Vec<(u64, Option<u64>)>,
    lock: Option<String>,
}

impl Bench {
    fn new(file: Vec<u8>) -> Self {
        let time = Rc::new(Virtual::new(1));
        Self {
            server: Rc::new(Server::new(file, Rc::clone(&time))),
            memory: Rc::new(Memory::new(Rc::clone(&time))),
            time,
            policy: Policy { attempts: 4, retry_delay: 0.1, stall_timeout: 5.0, chunk_bytes: 4096 },
            locks: Rc::new(Free),
        }
    }

    fn world(&self) -> World {
        let memory = Rc::clone(&self.memory);
        World {
            clock: Rc::clone(&self.time) as _,
            transport: Rc::clone(&self.server) as _,
            storage: Rc::new(move || {
                let connection = Connection::open(Rc::clone(&memory));
                Box::pin(ready(Ok(connection)))
            }),
            locks: Rc::clone(&self.locks),
            files: Rc::new(NoFiles),
        }
    }

    fn request(&self) -> Request {
        self.named("model")
    }

    /// The same file as another model.
    fn named(&self, id: &str) -> Request {
        Request::Url {
            id: id.into(),
            name: id.into(),
            urls: vec![URL.into()],
            headers: Vec::new(),
            sha256: Vec::new(),
            bytes: Vec::new(),
        }
    }

    async fn load(&self, request: Request, cache: CacheMode) -> Result<Report> {
        self.load_as(request, Manner { cache, evict: false, policy: self.policy, head: None }).await
    }

    /// Reads the whole model, as a load does.
    async fn load_as(&self, request: Request, manner: Manner) -> Result<Report> {
        let read = async |opener: Rc<Opener>| {
            let mut source = opener.part(0).await?;
            source.announce(1);
            let mut bytes = Vec::new();
            loop {
                let piece = source.next().await?;
                if piece.is_empty() {
                    return Ok(Some((bytes, opener.status().resumed.get(), opener.lock_name())));
                }
                bytes.extend_from_slice(piece);
            }
        };
        self.load_by(request, manner, read).await
    }

    /// Has `read` read the model: its bytes, how many of them were there, and the name of the lock.
    async fn load_by(
        &self,
        request: Request,
        manner: Manner,
        read: impl AsyncFnMut(Rc<Opener>) -> Result<Option<(Vec<u8>, u64, Option<String>)>>,
    ) -> Result<Report> {
        let told = Rc::new(RefCell::new(Report::default()));
        let notify = {
            let told = Rc::clone(&told);
            move |notice: Notice| {
                let mut told = told.borrow_mut();
                match notice {
                    Notice::Waiting(why) => told.waits.push(why),
                    Notice::OtherTab(bytes, total) => told.others.push((bytes, total)),
                    Notice::NotCached(e) => told.notices.push(e.code().to_string()),
                    Notice::Restarted(e) => told.notices.push(e.code().to_string()),
                    Notice::Unverified(name) => told.notices.push(format!("unverified: {name}")),
                    Notice::Evicted(name) => told.notices.push(name),
                }
            }
        };
        let ((bytes, resumed, lock), kept, from) =
            with_opener(request, manner, self.world(), Rc::new(notify), read).await?;
        Ok(Report { bytes, kept, from: Some(from), resumed, lock, ..told.take() })
    }

    fn run(&self) -> Result<Report> {
        self.time.run(self.load(self.request(), CacheMode::Required)).unwrap()
    }
}

fn file(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push((state >> 32) as u8);
    }
    bytes
}

#[test]
fn a_download_is_kept_and_read_again() {
    let bench = Bench::new(file(50_000, 1));
    let first = bench.run().unwrap();
    assert!(first.bytes == bench.server.file());
    assert_eq!((first.kept.as_deref(), first.from), (Some("model"), Some(Origin::Network)));
    let sent = bench.server.sent();
    let second = bench.run().unwrap();
    assert!(second.bytes == first.bytes);
    assert_eq!(second.from, Some(Origin::Cache));
    assert_eq!(bench.server.sent(), sent);
}

#[test]
fn a_damaged_or_missing_chunk_is_fetched_again_alone() {
    let bench = Bench::new(file(50_000, 2));
    bench.run().unwrap();
    for (damage, bytes) in [(0, 4096), (3, 4096), (12, 50_000 - 12 * 4096)] {
        for missing in [false, true] {
            bench.memory.damage("model", damage, missing);
            let before = bench.server.sent();
            assert!(bench.run().unwrap().bytes == bench.server.file());
            assert_eq!(bench.server.sent() - before, bytes);
            assert!(bench.run().unwrap().bytes == bench.server.file());
            assert_eq!(bench.server.sent() - before, bytes);
        }
    }
    // Where there is nothing to fetch it from, that is said; where the server has another file, it is begun anew.
    bench.memory.damage("model", 3, false);
    let cached = bench.time.run(bench.load(Request::Cached { id: "model".into() }, CacheMode::Auto)).unwrap();
    assert_eq!(cached.unwrap_err().code(), Code::Cache);
    bench.server.change(file(40_000, 3));
    let anew = bench.run().unwrap();
    assert!(anew.bytes == bench.server.file());
    assert_eq!(anew.notices, ["file-changed"]);
}

#[test]
fn pins_are_held() {
    let bench = Bench::new(file(9000, 4));
    let pinned = |sha256: Vec<String>, bytes: Vec<u64>| Request::Url {
        id: "model".into(),
        name: "model.gguf".into(),
        urls: vec![URL.into()],
        headers: Vec::new(),
        sha256,
        bytes,
    };
    let load = |request| bench.time.run(bench.load(request, CacheMode::Auto)).unwrap();
    let wrong = load(pinned(vec!["0".repeat(64)], vec![])).unwrap_err();
    assert_eq!(wrong.code(), Code::Integrity);
    assert!(bench.memory.is_empty());
    let sent = bench.server.sent();
    assert_eq!(load(pinned(vec![], vec![9001])).unwrap_err().code(), Code::Integrity);
    assert!(bench.server.sent() - sent < 9000 && bench.memory.is_empty());
    let right = load(pinned(vec![bench.server.sha256()], vec![9000])).unwrap();
    assert_eq!(right.kept.as_deref(), Some("model"));
    // Another pin: the copy is not what is asked for.
    bench.server.change(file(8000, 5));
    let other = load(pinned(vec![bench.server.sha256()], vec![8000])).unwrap();
    assert!(other.bytes == bench.server.file());
    assert_eq!(other.notices, ["integrity"]);
}
