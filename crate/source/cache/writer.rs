//! Storing a model while it is fetched.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;
use xxhash_rust::xxh3::Xxh3Default;

use super::room::{PATIENCE, evict_one, full};
use super::{Change, Chunk, ChunkKey, Clear, Edit, Part, Record, SCHEMA, Storage, Sum};
use crate::error::{Code, Error, Result};
use crate::source::digest::{FileHash, hex};
use crate::source::world::{Clock, Locks};

/// Chunks on their way to storage at a time; the network waits while there are more.
const IN_FLIGHT: usize = 2;

/// Stores the parts of one model. What goes wrong ends the storing, not the load: [`Writer::failure`] tells.
pub(crate) struct Writer {
    storage: Rc<dyn Storage>,
    clock: Rc<dyn Clock>,
    id: String,
    token: String,
    chunk_bytes: usize,
    /// What was there when this writer took over.
    found: Vec<Part>,
    passages: RefCell<Vec<Rc<RefCell<Passage>>>>,
    /// How many parts the model has, once that is known.
    n_parts: Cell<Option<usize>>,
    in_flight: RefCell<VecDeque<oneshot::Receiver<()>>>,
    /// Ends with the piece that was sent last: one is stored after the other.
    last: RefCell<Option<oneshot::Receiver<()>>>,
    /// How models are deleted to make room; none are without it.
    evicting: Option<Evicting>,
    failure: RefCell<Option<Rc<Error>>>,
    /// Nothing more is to be stored.
    closed: Cell<bool>,
}

/// Whom to ask, and to tell, about models that are deleted to make room.
pub(crate) struct Evicting {
    pub(crate) locks: Rc<dyn Locks>,
    /// Told the name.
    pub(crate) on_evict: Rc<dyn Fn(String)>,
}

/// The bytes of one part as they pass: their hash, and the piece that is being filled.
pub(crate) struct Passage {
    pub(crate) hash: FileHash,
    /// None: nothing is stored.
    filling: Option<Filling>,
    pub(crate) ended: bool,
}

struct Filling {
    chunk_bytes: usize,
    index: u32,
    chunk: Option<Chunk>,
    filled: usize,
    checksum: Xxh3Default,
}

/// A piece that is ready to be stored.
#[derive(Clone)]
struct Piece {
    index: u32,
    chunk: Chunk,
    sum: Sum,
}

impl Passage {
    /// One that is not stored, from the start of the file.
    pub(crate) fn unstored() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { hash: FileHash::default(), filling: None, ended: false }))
    }

    /// Takes bytes up to the end of the current piece; returns how many, and the piece if it is full.
    fn take(&mut self, bytes: &[u8]) -> (usize, Option<Piece>) {
        let Some(filling) = &mut self.filling else {
            self.hash.update(bytes);
            return (bytes.len(), None);
        };
        let n = bytes.len().min(filling.chunk_bytes - filling.filled);
        self.hash.update(&bytes[..n]);
        filling.add(&bytes[..n]);
        let full = filling.filled == filling.chunk_bytes;
        (n, if full { filling.piece(&self.hash) } else { None })
    }

    /// The piece that is not full, if there is one.
    fn rest(&mut self) -> Option<Piece> {
        self.filling.as_mut()?.piece(&self.hash)
    }

    /// Holds no more memory than the bytes of the piece that is being filled.
    pub(crate) fn park(&mut self) {
        if let Some(Filling { chunk: Some(chunk), filled, .. }) = &mut self.filling {
            *chunk = chunk.resized(*filled);
        }
    }

    /// Goes on behind the stored pieces; the last of them may be a short one, which `short` are the bytes of.
    pub(crate) fn resume(&mut self, hash: FileHash, n_full: usize, short: &[u8]) {
        self.hash = hash;
        if let Some(filling) = &mut self.filling {
            filling.index = n_full as u32;
            filling.add(short);
        }
    }
}

impl Filling {
    fn add(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let chunk = self.chunk.get_or_insert_with(|| Chunk::new(self.chunk_bytes));
        if chunk.len() < self.chunk_bytes {
            *chunk = chunk.resized(self.chunk_bytes);
        }
        chunk.write(self.filled, bytes);
        self.checksum.update(bytes);
        self.filled += bytes.len();
    }

    fn piece(&mut self, hash: &FileHash) -> Option<Piece> {
        let chunk = self.chunk.take()?;
        let chunk = if self.filled < chunk.len() { chunk.resized(self.filled) } else { chunk };
        let sum = Sum { checksum: self.checksum.digest(), after: hash.clone() };
        let piece = Piece { index: self.index, chunk, sum };
        self.checksum = Xxh3Default::new();
        self.filled = 0;
        self.index += 1;
        Some(piece)
    }
}

impl Writer {
    /// Takes over what an earlier load left of a model, or makes a record for it. The claim of another writer goes. A complete
    /// model is begun anew, but for one that lacks parts, of which `given` are known to be.
    pub(crate) async fn begin(
        storage: Rc<dyn Storage>,
        clock: Rc<dyn Clock>,
        (id, name): (&str, &str),
        given: usize,
        chunk_bytes: u32,
        evicting: Option<Evicting>,
    ) -> Result<Rc<Self>> {
        let now = clock.now();
        let token = format!("{now}-{}", clock.random());
        let fresh = Record {
            schema: SCHEMA,
            id: id.to_owned(),
            name: name.to_owned(),
            chunk_bytes,
            created: now,
            last_used: now,
            complete: false,
            writer: token.clone(),
            parts: Vec::new(),
            n_parts: None,
        };
        let taken = Rc::new(RefCell::new(fresh.clone()));
        let edit: Edit = Rc::new({
            let taken = Rc::clone(&taken);
            move |found: Option<Record>| {
                let usable = found.filter(|r| r.schema == SCHEMA && !r.is_whole(given) && r.chunk_bytes > 0);
                let clear = if usable.is_none() { Clear::All } else { Clear::Nothing };
                let record = match usable {
                    Some(found) => {
                        Record { last_used: now, writer: fresh.writer.clone(), complete: false, ..found }
                    }
                    None => fresh.clone(),
                };
                *taken.borrow_mut() = record.clone();
                Ok(Change { record: Some(record), clear, put: None })
            }
        });
        storage.expect_pieces().await;
        storage.change(id, edit).await?;
        let record = taken.borrow().clone();
        Ok(Rc::new(Self {
            storage,
            clock,
            id: id.to_owned(),
            token,
            chunk_bytes: record.chunk_bytes as usize,
            found: record.parts,
            passages: RefCell::default(),
            n_parts: Cell::default(),
            in_flight: RefCell::default(),
            last: RefCell::default(),
            evicting,
            failure: RefCell::default(),
            closed: Cell::new(false),
        }))
    }

    /// Why nothing more is stored, if so.
    pub(crate) fn failure(&self) -> Option<Rc<Error>> {
        self.failure.borrow().clone()
    }

    pub(crate) fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes as u32
    }

    /// Part `n` as an earlier load left it.
    pub(crate) fn found(&self, n: usize) -> Option<&Part> {
        self.found.get(n)
    }

    /// Bytes that the first `n` parts still lack, as far as that is known.
    pub(crate) async fn lacking(&self, n: usize) -> Result<u64> {
        if n == 0 {
            return Ok(0);
        }
        let parts = self.storage.get(&self.id).await?.map_or(Vec::new(), |record| record.parts);
        let lacking = |part: &Part| Some(part.version.total?.saturating_sub(part.stored));
        Ok(parts.iter().take(n).filter_map(lacking).sum())
    }

    /// Begins to store part `n`, the parts in order. What `part` counts as stored stays; with nothing stored, all of it goes.
    pub(crate) async fn part(&self, n: usize, part: Part) -> Rc<RefCell<Passage>> {
        let clear = if part.stored == 0 { Clear::Part(n) } else { Clear::Nothing };
        let set = self.own(move |record| {
            if n > record.parts.len() {
                return Err(Error::internal("a part before those in front of it"));
            }
            match record.parts.get_mut(n) {
                Some(old) => old.clone_from(&part),
                None => record.parts.push(part.clone()),
            }
            Ok((clear, None))
        });
        let set = set.await;
        self.note(set);
        let filling = self.failure.borrow().is_none().then(|| Filling {
            chunk_bytes: self.chunk_bytes,
            index: 0,
            chunk: None,
            filled: 0,
            checksum: Xxh3Default::new(),
        });
        let passage = Rc::new(RefCell::new(Passage { hash: FileHash::default(), filling, ended: false }));
        self.passages.borrow_mut().push(Rc::clone(&passage));
        passage
    }

    /// Stores bytes of part `n` as they pass.
    pub(crate) async fn pass(self: &Rc<Self>, n: usize, passage: &RefCell<Passage>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, full) = passage.borrow_mut().take(bytes);
            bytes = &bytes[taken..];
            if let Some(piece) = full {
                self.send(n, piece).await;
            }
        }
        if self.failure.borrow().is_some() {
            passage.borrow_mut().filling = None;
        }
    }

    /// The first part says how many there are.
    pub(crate) fn expect(&self, n_parts: usize) {
        self.n_parts.set(Some(n_parts));
    }

    /// Whether every part was read to its end.
    pub(crate) fn is_whole(&self) -> bool {
        let passages = self.passages.borrow();
        self.n_parts.get() == Some(passages.len()) && passages.iter().all(|p| p.borrow().ended)
    }

    /// After the last byte: waits for what is still on its way, then makes the model one of the cache's.
    ///
    /// # Errors
    /// Why it could not be stored, `quota-exceeded` above all.
    pub(crate) async fn finish(self: &Rc<Self>) -> Result<(), Rc<Error>> {
        self.flush().await;
        if self.failure().is_none() {
            let digests: Vec<String> =
                self.passages.borrow().iter().map(|p| hex(&p.borrow().hash.digest())).collect();
            let n_parts = self.n_parts.get();
            let completed = self.own(move |record| {
                if record.parts.len() != digests.len() || n_parts != Some(digests.len()) {
                    return Err(Error::internal("a model was stored without all of its parts"));
                }
                for (part, digest) in record.parts.iter_mut().zip(&digests) {
                    part.version.total = Some(part.stored);
                    part.sha256 = Some(digest.clone());
                }
                record.n_parts = Some(digests.len() as u32);
                record.complete = true;
                Ok((Clear::Nothing, None))
            });
            let completed = completed.await;
            self.note(completed);
        }
        self.failure().map_or(Ok(()), Err)
    }

    /// Removes what is stored; another writer's model stays.
    pub(crate) async fn discard(&self) {
        self.closed.set(true);
        self.drain(0).await;
        self.remove_if(|_| true).await;
    }

    /// After a load that failed for want of bytes: what is stored stays, incomplete, with the last bytes that came.
    pub(crate) async fn keep_incomplete(self: &Rc<Self>) {
        self.flush().await;
        self.remove_if(|record| record.stored() == 0).await;
    }

    async fn remove_if(&self, unwanted: impl Fn(&Record) -> bool + 'static) {
        let token = self.token.clone();
        let edit: Edit = Rc::new(move |record| match record {
            Some(r) if r.writer == token && !r.complete && unwanted(&r) => {
                Ok(Change { clear: Clear::All, ..Change::default() })
            }
            record => Ok(Change { record, ..Change::default() }),
        });
        let removed = self.storage.change(&self.id, edit).await;
        self.note(removed);
    }

    /// Stores what is left of every part.
    async fn flush(self: &Rc<Self>) {
        let passages = self.passages.borrow().clone();
        for (n, passage) in passages.iter().enumerate() {
            let rest = passage.borrow_mut().rest();
            if let Some(piece) = rest {
                self.send(n, piece).await;
            }
        }
        self.drain(0).await;
    }

    /// Stores nothing more, for this reason.
    pub(crate) fn give_up(&self, why: Error) {
        self.note(Err(why));
    }

    fn note(&self, result: Result<()>) {
        if let Err(e) = result {
            self.failure.borrow_mut().get_or_insert(Rc::new(e));
        }
    }

    /// Changes the record, if it is still this writer's.
    fn own(
        &self,
        edit: impl Fn(&mut Record) -> Result<(Clear, Option<(ChunkKey, Chunk)>)> + 'static,
    ) -> impl Future<Output = Result<()>> + 'static {
        let token = self.token.clone();
        let edit: Edit = Rc::new(move |record: Option<Record>| {
            // It was done, though the connection was lost before that was heard.
            if record.as_ref().is_some_and(|r| r.writer == token && r.complete) {
                return Ok(Change { record, ..Change::default() });
            }
            let mut record = record.filter(|r| r.writer == token && !r.complete).ok_or_else(taken_over)?;
            let (clear, put) = edit(&mut record)?;
            Ok(Change { record: Some(record), clear, put })
        });
        self.storage.change(&self.id, edit)
    }

    /// Starts to store a chunk, once there are few enough on their way.
    async fn send(self: &Rc<Self>, part: usize, piece: Piece) {
        self.drain(IN_FLIGHT - 1).await;
        if self.failure.borrow().is_some() || self.closed.get() {
            return;
        }
        let writer = Rc::clone(self);
        let (done, waiting) = oneshot::channel();
        let (stored, next) = oneshot::channel();
        self.in_flight.borrow_mut().push_back(waiting);
        let before = self.last.borrow_mut().replace(next);
        self.clock.spawn(Box::pin(async move {
            if let Some(before) = before {
                let _ = before.await; // how it ended is noted
            }
            if writer.failure.borrow().is_none() {
                let put = writer.store(part, &piece).await;
                writer.note(put);
            }
            let _ = (stored.send(()), done.send(())); // or nobody waits any more
        }));
    }

    /// Stores a piece. Where there is no room for it, other models go, if they may: what the browser says beforehand about
    /// room need not be so.
    async fn store(&self, part: usize, piece: &Piece) -> Result<()> {
        let mut freed = 0;
        loop {
            let no_room = match self.put_patiently(part, piece, freed > 0).await {
                Err(e) if e.code() == Code::QuotaExceeded => e,
                stored => return stored,
            };
            let Some(evicting) = &self.evicting else {
                return Err(full(self.storage.as_ref(), &self.id, no_room).await);
            };
            // Where that much more did not help, it is not models that fill the disk.
            if freed > 0 && freed >= self.missing(piece).await? {
                return Err(full(self.storage.as_ref(), &self.id, no_room).await);
            }
            match evict_one(self.storage.as_ref(), &self.id, evicting.locks.as_ref()).await? {
                Some(victim) => {
                    freed += victim.stored();
                    (evicting.on_evict)(victim.name);
                }
                None => return Err(no_room),
            }
        }
    }

    /// Browsers count what was deleted a little later.
    async fn put_patiently(&self, part: usize, piece: &Piece, deleted: bool) -> Result<()> {
        for _ in 0..if deleted { PATIENCE.0 } else { 0 } {
            match self.put(part, piece).await {
                Err(e) if e.code() == Code::QuotaExceeded => self.clock.sleep(PATIENCE.1).await,
                stored => return stored,
            }
        }
        self.put(part, piece).await
    }

    /// Bytes of the model that are not stored, as far as that is known: those of the piece at least.
    async fn missing(&self, piece: &Piece) -> Result<u64> {
        let record = self.storage.get(&self.id).await?;
        let rest = record.and_then(|r| Some(r.total()?.saturating_sub(r.stored())));
        Ok(rest.unwrap_or(0).max(piece.chunk.len() as u64))
    }

    fn put(&self, part: usize, piece: &Piece) -> impl Future<Output = Result<()>> + 'static {
        let Piece { index, chunk, sum } = piece.clone();
        let key = ChunkKey { id: self.id.clone(), part, index };
        let stored = u64::from(index) * self.chunk_bytes as u64 + chunk.len() as u64;
        self.own(move |record| {
            let of = record.parts.get_mut(part).ok_or_else(|| Error::internal("a piece of no part"))?;
            if !of.sums.put(index as usize, &sum) {
                return Err(Error::internal("a piece before those in front of it"));
            }
            of.stored = stored;
            Ok((Clear::Nothing, Some((key.clone(), chunk.clone()))))
        })
    }

    /// Waits until at most `n` chunks are on their way.
    async fn drain(&self, n: usize) {
        loop {
            let oldest = {
                let mut in_flight = self.in_flight.borrow_mut();
                if in_flight.len() <= n {
                    return;
                }
                in_flight.pop_front()
            };
            let Some(oldest) = oldest else { return };
            let _ = oldest.await; // failures are noted
        }
    }
}

fn taken_over() -> Error {
    Error::new(
        Code::Cache,
        "the model was deleted from the cache, or another tab loads it, while it was being stored",
    )
}
