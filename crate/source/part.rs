//! One part of a model as it is read: first what storage has of it, then the rest from the network or a file, which is
//! hashed and stored as it passes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::Source;
use super::cache::{Authority, Change, Chunk, ChunkKey, Expected, Part, Passage, Record, Storage, Writer};
use super::digest::{FileHash, checksum, hex};
use super::download::{Download, Guard, Net, Target};
use super::hub::{Stated, Statement};
use super::request::{Notice, Notify, Origin};
use super::world::Files;
use crate::error::{Code, Error, Result};

/// Chunks that are asked for ahead of the one in use: as many as come while a header is made sense of.
const AHEAD: usize = 8;

/// Where the bytes come from at the moment, for whoever shows it.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) from: Cell<Origin>,
    /// Bytes that were there from an earlier download.
    pub(crate) resumed: Cell<u64>,
}

/// The bytes that storage does not have.
pub(crate) enum Rest {
    Nothing,
    /// And what the hub may yet say of it.
    Network(Box<Download>, Option<Statement>),
    File(Box<dyn Source>),
}

/// Where a stored chunk that is damaged can be had again.
#[derive(Clone)]
pub(crate) enum Repair {
    Nowhere,
    Network(Net, Target),
    File(Rc<dyn Files>, usize),
}

/// The chunks of a part in storage, in order, some ahead.
pub(crate) struct Stored {
    pub(crate) storage: Rc<dyn Storage>,
    pub(crate) id: String,
    pub(crate) part_no: usize,
    pub(crate) part: Part,
    pub(crate) chunk_bytes: u64,
    pub(crate) repair: Repair,
    next: u32,
    ahead: VecDeque<LocalBoxFuture<'static, Result<Option<Chunk>>>>,
}

impl Stored {
    pub(crate) fn new(
        storage: Rc<dyn Storage>,
        record: (&str, u32),
        n: usize,
        part: Part,
        repair: Repair,
    ) -> Self {
        let (id, chunk_bytes) = record;
        Self {
            storage,
            id: id.to_owned(),
            part_no: n,
            part,
            chunk_bytes: u64::from(chunk_bytes.max(1)),
            repair,
            next: 0,
            ahead: VecDeque::new(),
        }
    }

    fn n_chunks(&self) -> u32 {
        self.part.stored.div_ceil(self.chunk_bytes) as u32
    }

    fn key(&self, index: u32) -> ChunkKey {
        ChunkKey { id: self.id.clone(), part: self.part_no, index }
    }

    fn bytes_of(&self, index: u32) -> std::ops::Range<u64> {
        let from = u64::from(index) * self.chunk_bytes;
        from..(from + self.chunk_bytes).min(self.part.stored)
    }

    /// Whether these are the bytes that were stored as chunk `index`. Those of the first schema have no sums.
    fn is_good(&self, index: u32, bytes: &[u8]) -> bool {
        let range = self.bytes_of(index);
        bytes.len() as u64 == range.end - range.start
            && (self.part.sums.len() == 0
                || self.part.sums.get(index as usize).is_some_and(|s| s.checksum == checksum(bytes)))
    }

    /// Reads the next chunk into `buffer`, and says where it came from; `None` at the end.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Origin>> {
        while self.ahead.len() <= AHEAD && self.next + (self.ahead.len() as u32) < self.n_chunks() {
            let key = self.key(self.next + self.ahead.len() as u32);
            self.ahead.push_back(self.storage.chunk(&key));
        }
        let Some(first) = self.ahead.pop_front() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let unreadable = match first.await {
            Ok(Some(chunk)) => {
                chunk.read(buffer);
                None
            }
            Ok(None) => {
                buffer.clear();
                None
            }
            Err(e) => {
                buffer.clear();
                Some(e)
            }
        };
        if self.is_good(index, buffer) {
            return Ok(Some(Origin::Cache));
        }
        *buffer = match (self.fetch_again(index).await, unreadable) {
            (Ok(bytes), _) => bytes,
            (Err(e), None) => return Err(e),
            // That storage cannot be read says nothing of the copy in it.
            (Err(e), Some(_)) if e.code() == Code::Aborted => return Err(e),
            (Err(_), Some(e)) => return Err(e),
        };
        Ok(Some(match self.repair {
            Repair::File(..) => Origin::File,
            _ => Origin::Network,
        }))
    }

    /// Gets one chunk from where the file is from, and stores it again.
    async fn fetch_again(&self, index: u32) -> Result<Vec<u8>> {
        let range = self.bytes_of(index);
        let (Some(before), Some(sum)) =
            (self.part.sums.before(index as usize), self.part.sums.get(index as usize))
        else {
            return Err(self.damaged());
        };
        let bytes = match &self.repair {
            Repair::Nowhere => return Err(self.damaged()),
            Repair::Network(net, target) => {
                let at = (range.start, Some(range.end));
                let version = self.part.version.clone();
                let mut download =
                    Download::open(net.clone(), target.clone(), at, version, Guard::Pinned).await?;
                let mut bytes = Vec::new();
                loop {
                    let piece = download.next(&before).await?;
                    if piece.is_empty() {
                        break bytes;
                    }
                    bytes.extend_from_slice(piece);
                }
            }
            Repair::File(files, n) => {
                let mut source = files.open(*n, range.start).ok_or_else(|| self.damaged())?;
                let len = (range.end - range.start) as usize;
                let mut bytes = Vec::new();
                while bytes.len() < len {
                    let piece = source.next().await?;
                    if piece.is_empty() {
                        break;
                    }
                    bytes.extend_from_slice(&piece[..piece.len().min(len - bytes.len())]);
                }
                bytes
            }
        };
        let mut after = before;
        after.update(&bytes);
        if after.save() != sum.after.save() {
            return Err(Error::new(
                Code::FileChanged,
                format!(
                    "a piece of the cached copy of {} is damaged, and where it is from there is another file by now; load \
                     it again",
                    self.part.name
                ),
            ));
        }
        let mut chunk = Chunk::new(bytes.len());
        chunk.write(0, &bytes);
        let put = Some((self.key(index), chunk));
        let edit = move |record: Option<Record>| match record {
            Some(record) => Ok(Change { record: Some(record), put: put.clone(), ..Change::default() }),
            None => Err(Error::new(Code::Cache, "the model was deleted from the cache meanwhile")),
        };
        // The bytes are good: that they cannot be stored again will be noticed the next time.
        let _ = self.storage.change(&self.id, Rc::new(edit)).await;
        Ok(bytes)
    }

    fn damaged(&self) -> Error {
        Error::new(
            Code::Cache,
            format!(
                "the cached copy of {} is damaged or was deleted; load it by its address or file, which mends it, or \
                 delete it",
                self.part.name
            ),
        )
    }
}

/// How the bytes that pass are kept.
pub(crate) struct Through {
    pub(crate) writer: Option<Rc<Writer>>,
    /// A failure to store is one to load.
    pub(crate) required: bool,
    pub(crate) passage: Rc<RefCell<Passage>>,
}

pub(crate) struct PartSource {
    pub(crate) name: String,
    pub(crate) n: usize,
    pub(crate) stored: Option<Stored>,
    pub(crate) rest: Rest,
    /// None: all comes from storage, and was verified when it was stored.
    pub(crate) through: Option<Through>,
    pub(crate) expected: Option<Expected>,
    pub(crate) status: Rc<Status>,
    pub(crate) notify: Notify,
    pub(crate) position: u64,
    pub(crate) buffer: Vec<u8>,
    /// Where the rest comes from.
    pub(crate) origin: Origin,
}

impl PartSource {
    async fn read(&mut self) -> Result<&[u8]> {
        if let Some(stored) = &mut self.stored {
            if let Some(from) = stored.read(&mut self.buffer).await? {
                self.status.from.set(from);
                self.position += self.buffer.len() as u64;
                if self.position == stored.part.stored {
                    self.leave_storage()?;
                }
                return Ok(&self.buffer);
            }
            self.leave_storage()?;
        }
        let Some(through) = &self.through else { return Ok(&[]) };
        self.status.from.set(self.origin);
        if let Rest::Network(download, Some(statement)) = &mut self.rest
            && self.expected.is_none()
            && let Stated::Sha(sha) = statement.by_now()
        {
            self.expected = Some(Expected { sha256: hex(&sha), by: Authority::Hub });
            download.guard(Guard::Hub(sha));
        }
        let so_far = through.passage.borrow().hash.clone();
        let total = match &self.rest {
            Rest::Network(download, _) => download.version().total,
            Rest::File(source) => source.len(),
            Rest::Nothing => Some(self.position),
        };
        let (bytes, statement) = match &mut self.rest {
            Rest::Network(download, statement) => (download.next(&so_far).await?, statement.as_ref()),
            Rest::File(source) => (source.next().await?, None),
            Rest::Nothing => (&[][..], None),
        };
        match &through.writer {
            Some(writer) => writer.pass(self.n, &through.passage, bytes).await,
            None => through.passage.borrow_mut().hash.update(bytes),
        }
        self.position += bytes.len() as u64;
        if bytes.is_empty() || Some(self.position) == total {
            if let Some(statement) = statement
                && self.expected.is_none()
                && !through.passage.borrow().ended
            {
                match statement.at_last().await {
                    Stated::Sha(sha) => {
                        self.expected = Some(Expected { sha256: hex(&sha), by: Authority::Hub });
                    }
                    Stated::Unheard => (self.notify)(Notice::Unverified(self.name.clone())),
                    Stated::None => {}
                }
            }
            end(&self.name, &through.passage, self.expected.as_ref())?;
        }
        if through.required
            && let Some(e) = through.writer.as_ref().and_then(|w| w.failure())
        {
            return Err(Error::new(e.code(), e.message()));
        }
        Ok(bytes)
    }

    /// After the last stored chunk: what follows goes on where its hash ends.
    fn leave_storage(&mut self) -> Result<()> {
        let (Some(stored), Some(through)) = (self.stored.take(), &self.through) else { return Ok(()) };
        let Part { stored: n, sums, .. } = &stored.part;
        if *n == 0 {
            return Ok(());
        }
        let short = (*n % stored.chunk_bytes) as usize;
        let last = sums.get(sums.len().saturating_sub(1)).ok_or_else(|| stored.damaged())?;
        let n_full = (*n / stored.chunk_bytes) as usize;
        let tail = if short > 0 { self.buffer.as_slice() } else { &[] };
        through.passage.borrow_mut().resume(last.after, n_full, tail);
        if matches!(self.rest, Rest::Nothing) {
            end(&self.name, &through.passage, self.expected.as_ref())?;
        }
        Ok(())
    }
}

/// The last byte has passed: is it the file?
fn end(name: &str, passage: &RefCell<Passage>, expected: Option<&Expected>) -> Result<()> {
    let mut passage = passage.borrow_mut();
    if passage.ended {
        return Ok(());
    }
    let found = hex(&passage.hash.digest());
    match expected {
        Some(expected) if expected.sha256 != found => Err(wrong_hash(name, &found, expected)),
        _ => {
            passage.ended = true;
            Ok(())
        }
    }
}

fn wrong_hash(name: &str, found: &str, expected: &Expected) -> Error {
    let by = match expected.by {
        Authority::Caller => "was asked for",
        Authority::Hub => "the hub states",
    };
    Error::new(
        Code::Integrity,
        format!(
            "{name} is not the file that it should be: its SHA-256 is {found}, {by} {}. The copy was deleted; load it \
             again, and if that does not help, the server's file is another one",
            expected.sha256
        ),
    )
}

impl Source for PartSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Option<u64> {
        match (&self.rest, &self.through) {
            (Rest::Network(download, _), _) => download.version().total,
            (Rest::File(source), _) => source.len(),
            (Rest::Nothing, _) => self.stored.as_ref().map(|s| s.part.stored).or(Some(self.position)),
        }
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(self.read())
    }

    fn announce(&mut self, n_parts: usize) {
        if let Some(writer) = self.through.as_ref().and_then(|through| through.writer.as_ref()) {
            writer.expect(n_parts);
        }
    }

    fn park(&mut self) {
        self.buffer = Vec::new();
        if let Some(stored) = &mut self.stored {
            stored.ahead.clear();
        }
        if let Rest::Network(download, _) = &mut self.rest {
            download.park();
        }
        if let Some(through) = &self.through {
            through.passage.borrow_mut().park();
        }
    }
}

/// The hash in front of what storage does not have.
pub(crate) fn hash_so_far(part: &Part) -> Option<FileHash> {
    match part.stored {
        0 => Some(FileHash::default()),
        _ => part.sums.get(part.sums.len().checked_sub(1)?).map(|s| s.after),
    }
}
