//! A server that does what it is told to, fault by fault: one for each request for the file.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::time::Virtual;
use crate::error::{Code, Error, Result};
use crate::gguf::PartName;
use crate::source::digest::{FileHash, hex};
use crate::source::world::{Ask, Body, Clock, Reply, Transport};

/// From a byte, perhaps up to one.
type Range = (u64, Option<u64>);

#[derive(Debug, Clone)]
pub(super) enum Fault {
    None,
    /// After so many bytes the connection breaks.
    Reset(u64),
    /// After so many bytes nothing more comes.
    Stall(u64),
    /// After so many bytes the body ends, as if that were all.
    Truncate(u64),
    /// This byte is another one.
    Flip(u64),
    /// The whole file, whatever range is asked for.
    Whole,
    /// The range that is sent is not the one that was asked for.
    Misplaced,
    /// A redirect to an address that has expired.
    Expired,
    Busy(Option<u32>),
    Unreachable,
    /// No answer.
    Mute,
    /// The device loses its network.
    Offline,
    /// From now on it is another file.
    Change(Vec<u8>),
    /// From now on the same file has another tag, and this answer breaks off after so many bytes.
    Retag(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Strong,
    Weak,
    None,
}

pub(super) struct Server {
    time: Rc<Virtual>,
    file: RefCell<Rc<Vec<u8>>>,
    /// Those of a split model behind its first.
    pub(super) further: RefCell<Vec<Rc<Vec<u8>>>>,
    /// How many answers may be open at a time, as of a browser; further ones come when others are read or dropped.
    pub(super) connections: Cell<usize>,
    open: Rc<()>,
    version: Cell<u32>,
    pub(super) tag: Cell<Tag>,
    pub(super) ranges: Cell<bool>,
    /// Whether pages may see Content-Range.
    pub(super) exposes: Cell<bool>,
    /// Whether its list of files has their SHA-256.
    pub(super) states: Cell<bool>,
    /// How long the list takes, in milliseconds; the first so many answers are none.
    pub(super) list: Cell<(f64, u32)>,
    /// Whether it compresses what is not asked for by range, and tells the size of that; pages do not see how it is encoded.
    pub(super) compresses: Cell<bool>,
    /// Whether it lets nobody ask by range.
    pub(super) refuses: Cell<bool>,
    pub(super) faults: RefCell<VecDeque<Fault>>,
    /// Who does not send this as the header `token` is refused.
    pub(super) token: RefCell<Option<String>>,
    sent: Rc<Cell<u64>>,
    /// Ranges that were asked for, and the answers' status.
    pub(super) log: RefCell<Vec<(Option<Range>, u16)>>,
}

impl Server {
    pub(super) fn new(file: Vec<u8>, time: Rc<Virtual>) -> Self {
        Self {
            time,
            file: RefCell::new(Rc::new(file)),
            further: RefCell::default(),
            connections: Cell::new(usize::MAX),
            open: Rc::default(),
            version: Cell::new(0),
            tag: Cell::new(Tag::Strong),
            ranges: Cell::new(true),
            exposes: Cell::new(true),
            states: Cell::new(true),
            list: Cell::default(),
            compresses: Cell::default(),
            refuses: Cell::default(),
            faults: RefCell::default(),
            token: RefCell::default(),
            sent: Rc::default(),
            log: RefCell::default(),
        }
    }

    pub(super) fn file(&self) -> Vec<u8> {
        self.file.borrow().to_vec()
    }

    pub(super) fn sha256(&self) -> String {
        sha256(&self.file.borrow())
    }

    pub(super) fn change(&self, file: Vec<u8>) {
        *self.file.borrow_mut() = Rc::new(file);
        self.version.set(self.version.get() + 1);
    }

    pub(super) fn retag(&self) {
        self.version.set(self.version.get() + 1);
    }

    /// Bytes of the file sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    async fn list(&self) -> Result<Reply> {
        let (ms, failures) = self.list.get();
        self.list.set((ms, failures.saturating_sub(1)));
        self.time.sleep(ms).await;
        if failures > 0 {
            return Err(Error::new(Code::Network, "no list, as planned"));
        }
        let further = self.further.borrow();
        let count = 1 + further.len();
        let entry = |(n, file): (usize, &Rc<Vec<u8>>)| {
            let part = if count > 1 { format!("-{:05}-of-{count:05}", n + 1) } else { String::new() };
            format!(r#"{{"path":"model{part}.gguf","lfs":{{"oid":"{}"}}}}"#, sha256(file))
        };
        let first = self.file.borrow();
        let entries: Vec<String> = std::iter::once(&*first).chain(&*further).enumerate().map(entry).collect();
        let json = format!("[{}]", entries.join(","));
        let status = if self.states.get() { 200 } else { 404 };
        Ok(Reply { status, headers: Vec::new(), body: self.body(Rc::new(json.into_bytes()), 0, None, false) })
    }

    /// The file at an address: the first, but for that of a later part.
    fn file_at(&self, url: &str) -> Rc<Vec<u8>> {
        let no = PartName::parse(url).map_or(0, |part| part.no);
        match no.checked_sub(1).and_then(|n| self.further.borrow().get(n).cloned()) {
            Some(part) => part,
            None => Rc::clone(&self.file.borrow()),
        }
    }

    fn body(&self, bytes: Rc<Vec<u8>>, from: usize, cut: Option<(u64, End)>, counts: bool) -> Box<dyn Body> {
        let (at, end) =
            cut.map_or((bytes.len(), End::Done), |(at, end)| (bytes.len().min(from + at as usize), end));
        let sent = counts.then(|| Rc::clone(&self.sent));
        let _open = Rc::clone(&self.open);
        Box::new(Pieces {
            time: Rc::clone(&self.time),
            bytes,
            at: from,
            piece: 0,
            stop: at,
            end,
            sent,
            _open,
        })
    }

    fn answer(&self, ask: Ask<'_>) -> Result<Reply> {
        let unreachable = || Error::new(Code::Network, "no answer from hub.test, as planned");
        if self.refuses.get() && ask.range.is_some() {
            return Err(unreachable());
        }
        let fault = self.faults.borrow_mut().pop_front().unwrap_or(Fault::None);
        match &fault {
            Fault::Change(file) => self.change(file.clone()),
            Fault::Retag(_) => self.retag(),
            Fault::Unreachable => return Err(unreachable()),
            Fault::Offline => {
                self.time.online.set(false);
                return Err(unreachable());
            }
            _ => {}
        }
        let file = self.file_at(ask.url);
        let total = file.len() as u64;
        let mut headers = Vec::new();
        let mut header = |name: &str, value: String| headers.push((name.to_owned(), value));
        let etag = match self.tag.get() {
            Tag::Strong => Some(format!("\"v{}\"", self.version.get())),
            Tag::Weak => Some(format!("W/\"v{}\"", self.version.get())),
            Tag::None => None,
        };
        if let Some(etag) = &etag {
            header("etag", etag.clone());
        }
        let token = ask.headers.iter().find(|(name, _)| name == "token").map(|(_, value)| value);
        let refused = self.token.borrow().as_ref().is_some_and(|t| Some(t) != token);
        let refusal = match fault {
            _ if refused => Some(403),
            Fault::Expired => Some(403),
            Fault::Busy(after) => {
                if let Some(seconds) = after {
                    header("retry-after", seconds.to_string());
                }
                Some(503)
            }
            _ => None,
        };
        if let Some(status) = refusal {
            return Ok(Reply {
                status,
                headers,
                body: self.body(Rc::new(b"asked for".to_vec()), 0, None, false),
            });
        }
        let range = ask.range.filter(|_| self.ranges.get() && !matches!(fault, Fault::Whole));
        let (status, from, to) = match range {
            None => (200, 0, total),
            Some((from, _)) if from >= total => (416, total, total),
            Some((from, to)) => (206, from, to.unwrap_or(total).min(total)),
        };
        let from =
            if matches!(fault, Fault::Misplaced) && status == 206 { from.saturating_sub(7) } else { from };
        if status == 416 && self.exposes.get() {
            header("content-range", format!("bytes */{total}"));
        }
        if status == 206 && self.exposes.get() {
            header("content-range", format!("bytes {from}-{}/{total}", to - 1));
        }
        let compressed = self.compresses.get() && ask.range.is_none();
        header("content-length", if compressed { (to - from) / 2 } else { to - from }.to_string());
        let mut bytes = file[..to as usize].to_vec();
        let cut = match fault {
            Fault::Reset(after) | Fault::Retag(after) => Some((after, End::Error)),
            Fault::Stall(after) => Some((after, End::Never)),
            Fault::Truncate(after) => Some((after, End::Done)),
            Fault::Flip(at) => {
                if let Some(byte) = bytes.get_mut((from + at) as usize) {
                    *byte ^= 1;
                }
                None
            }
            _ => None,
        };
        Ok(Reply { status, headers, body: self.body(Rc::new(bytes), from as usize, cut, true) })
    }
}

fn sha256(file: &[u8]) -> String {
    let mut hash = FileHash::default();
    hash.update(file);
    hex(&hash.digest())
}

impl Transport for Server {
    fn ask<'a>(&'a self, ask: Ask<'a>) -> LocalBoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            self.time.sleep(20.0).await;
            while Rc::strong_count(&self.open) > self.connections.get() {
                self.time.sleep(20.0).await;
            }
            if ask.url.contains("/api/") {
                return self.list().await;
            }
            if matches!(self.faults.borrow().front(), Some(Fault::Mute)) {
                self.faults.borrow_mut().pop_front();
                return futures_util::future::pending().await;
            }
            let reply = self.answer(ask);
            self.log.borrow_mut().push((ask.range, reply.as_ref().map_or(0, |r| r.status)));
            reply
        })
    }

    fn asks_freely(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Error,
    Never,
}

struct Pieces {
    time: Rc<Virtual>,
    bytes: Rc<Vec<u8>>,
    at: usize,
    /// Bytes of the last piece.
    piece: usize,
    stop: usize,
    end: End,
    sent: Option<Rc<Cell<u64>>>,
    /// Counted as long as it is held.
    _open: Rc<()>,
}

impl Body for Pieces {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            self.time.sleep(1.0).await;
            let size = 1 + self.time.pick(3000) as usize;
            self.piece = size.min(self.stop - self.at.min(self.stop));
            self.at += self.piece;
            if let Some(sent) = &self.sent {
                sent.set(sent.get() + self.piece as u64);
            }
            match (self.piece, self.end) {
                (0, End::Error) => Err(Error::new(Code::Network, "reset")),
                (0, End::Never) => futures_util::future::pending().await,
                (n, _) => Ok(n),
            }
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.at - self.piece..self.at]
    }
}
