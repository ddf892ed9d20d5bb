//! Storage in memory: transactions take their time, may find it full, and can lose their pieces and their connection.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::time::Virtual;
use crate::error::{Code, Error, Result};
use crate::source::cache::{Change, Chunk, ChunkKey, Clear, Edit, Record, Room, Storage, quota_exceeded};
use crate::source::world::Clock;

pub(super) struct Memory {
    time: Rc<Virtual>,
    inner: Rc<Inner>,
    /// When the last transaction that was begun will be through.
    free_at: Cell<f64>,
    /// What the browser says fits; what really fits is `Inner::quota`.
    pub(super) estimate: Cell<Option<u64>>,
    /// Whether the disk is so full that nothing is written at all.
    pub(super) full: Cell<bool>,
    /// Milliseconds until what was deleted is free.
    pub(super) late: Cell<f64>,
    /// After so many requests each, connections are lost, one after the other.
    pub(super) losses: RefCell<VecDeque<u64>>,
}

/// By which a tab reaches the memory until it is lost.
pub(super) struct Connection {
    memory: Rc<Memory>,
    lost: Rc<Cell<bool>>,
}

struct Inner {
    records: RefCell<BTreeMap<String, Record>>,
    chunks: RefCell<BTreeMap<ChunkKey, Vec<u8>>>,
    quota: Cell<u64>,
    /// Until when deleted bytes are still counted, and how many.
    ghosts: RefCell<Vec<(f64, u64)>>,
}

impl Inner {
    fn used(&self) -> u64 {
        self.chunks.borrow().values().map(|c| c.len() as u64).sum()
    }

    fn apply(&self, id: &str, edit: Edit, (now, late): (f64, f64)) -> Result<()> {
        let Change { record, clear, put } = edit(self.records.borrow().get(id).cloned())?;
        let mut chunks = self.chunks.borrow().clone();
        chunks.retain(|key, _| {
            let cleared = match clear {
                Clear::Nothing => false,
                Clear::Part(n) => key.part == n,
                Clear::All => true,
            };
            !(key.id == id && cleared)
        });
        if let Some((key, chunk)) = put {
            let mut bytes = Vec::new();
            chunk.read(&mut bytes);
            chunks.insert(key, bytes);
        }
        let used = chunks.values().map(|c| c.len() as u64).sum::<u64>();
        let ghosts = self.ghosts.borrow().iter().filter(|g| g.0 > now).map(|g| g.1).sum::<u64>();
        if used + ghosts > self.quota.get().max(self.used()) {
            return Err(quota_exceeded(""));
        }
        if used < self.used() {
            self.ghosts.borrow_mut().push((now + late, self.used() - used));
        }
        *self.chunks.borrow_mut() = chunks;
        match record {
            Some(record) => self.records.borrow_mut().insert(id.to_owned(), record),
            None => self.records.borrow_mut().remove(id),
        };
        Ok(())
    }
}

impl Memory {
    pub(super) fn new(time: Rc<Virtual>) -> Self {
        let inner = Inner {
            records: RefCell::default(),
            chunks: RefCell::default(),
            quota: Cell::new(u64::MAX),
            ghosts: RefCell::default(),
        };
        Self {
            time,
            inner: Rc::new(inner),
            free_at: Cell::default(),
            estimate: Cell::default(),
            full: Cell::default(),
            late: Cell::default(),
            losses: RefCell::default(),
        }
    }

    pub(super) fn set_quota(&self, bytes: u64) {
        self.inner.quota.set(bytes);
    }

    pub(super) fn clear(&self) {
        self.inner.records.borrow_mut().clear();
        self.inner.chunks.borrow_mut().clear();
    }

    pub(super) fn room_now(&self) -> Option<Room> {
        self.estimate.get().map(|quota| Room { usage: self.inner.used(), quota })
    }

    pub(super) fn change_record(&self, id: &str, change: impl FnOnce(&mut Record)) {
        change(self.inner.records.borrow_mut().get_mut(id).unwrap());
    }

    pub(super) fn record(&self, id: &str) -> Option<Record> {
        self.inner.records.borrow().get(id).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.records.borrow().is_empty() && self.inner.chunks.borrow().is_empty()
    }

    /// The bytes of a model's first part, as its pieces have them.
    pub(super) fn bytes(&self, id: &str) -> Vec<u8> {
        let chunks = self.inner.chunks.borrow();
        chunks.iter().filter(|(key, _)| key.id == id).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    pub(super) fn damage(&self, id: &str, index: u32, missing: bool) {
        let key = ChunkKey { id: id.to_owned(), part: 0, index };
        let mut chunks = self.inner.chunks.borrow_mut();
        if missing {
            chunks.remove(&key).unwrap();
        } else {
            chunks.get_mut(&key).unwrap()[17] ^= 4;
        }
    }
}

impl Storage for Memory {
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<Record>>> {
        let mut records: Vec<Record> = self.inner.records.borrow().values().cloned().collect();
        records.retain(|r| r.complete || r.stored() > 0);
        records.sort_by(|a, b| b.last_used.total_cmp(&a.last_used));
        Box::pin(std::future::ready(Ok(records)))
    }

    fn get(&self, id: &str) -> LocalBoxFuture<'static, Result<Option<Record>>> {
        Box::pin(std::future::ready(Ok(self.record(id))))
    }

    fn change(&self, id: &str, edit: Edit) -> LocalBoxFuture<'static, Result<()>> {
        let (inner, id) = (Rc::clone(&self.inner), id.to_owned());
        // One after the other, as in a database.
        let start = self.free_at.get().max(self.time.elapsed());
        self.free_at.set(start + 1.0 + self.time.pick(30) as f64);
        let wait = self.time.sleep(self.free_at.get() - self.time.elapsed());
        let (full, late, time) = (self.full.get(), self.late.get(), Rc::clone(&self.time));
        Box::pin(async move {
            wait.await;
            if full { Err(quota_exceeded("")) } else { inner.apply(&id, edit, (time.elapsed(), late)) }
        })
    }

    fn chunk(&self, key: &ChunkKey) -> LocalBoxFuture<'static, Result<Option<Chunk>>> {
        let found = self.inner.chunks.borrow().get(key).map(|bytes| {
            let mut chunk = Chunk::new(bytes.len());
            chunk.write(0, bytes);
            chunk
        });
        let wait = self.time.sleep(2.0);
        Box::pin(async move {
            wait.await;
            Ok(found)
        })
    }

    fn room(&self) -> LocalBoxFuture<'static, Option<Room>> {
        Box::pin(std::future::ready(self.room_now()))
    }
}

impl Connection {
    pub(super) fn open(memory: Rc<Memory>) -> Rc<dyn Storage> {
        Rc::new(Self { memory, lost: Rc::default() })
    }

    /// Asks by this connection, or finds it lost: sometimes what was asked for has happened all the same.
    fn ask<T: 'static>(
        &self,
        ask: impl FnOnce() -> LocalBoxFuture<'static, Result<T>>,
    ) -> LocalBoxFuture<'static, Result<T>> {
        let gone = || Error::new(Code::Cache, "the connection to the storage was lost, as planned");
        if self.lost.get() {
            return Box::pin(std::future::ready(Err(gone())));
        }
        let mut losses = self.memory.losses.borrow_mut();
        let due = losses.front_mut().is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if !due {
            return ask();
        }
        losses.pop_front();
        let answer = (self.memory.time.pick(2) == 0).then(ask);
        let lost = Rc::clone(&self.lost);
        Box::pin(async move {
            if let Some(answer) = answer {
                let _ = answer.await; // nobody hears of it
            }
            lost.set(true);
            Err(gone())
        })
    }
}

impl Storage for Connection {
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<Record>>> {
        self.ask(|| self.memory.list())
    }

    fn get(&self, id: &str) -> LocalBoxFuture<'static, Result<Option<Record>>> {
        self.ask(|| self.memory.get(id))
    }

    fn change(&self, id: &str, edit: Edit) -> LocalBoxFuture<'static, Result<()>> {
        self.ask(|| self.memory.change(id, edit))
    }

    fn chunk(&self, key: &ChunkKey) -> LocalBoxFuture<'static, Result<Option<Chunk>>> {
        self.ask(|| self.memory.chunk(key))
    }

    fn room(&self) -> LocalBoxFuture<'static, Option<Room>> {
        self.memory.room()
    }

    fn is_lost(&self) -> bool {
        self.lost.get()
    }
}
