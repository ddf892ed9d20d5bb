//! One file over the network, front to back, whatever happens on the way: a state machine over requests that may fail at any
//! byte.
//!
//! The page always asks the first address, never the one that a redirect led to: signed addresses expire. A download goes on
//! by `Range` where a strong ETag, or a SHA-256 that is checked at the end, shows a mixture of two versions; otherwise, and
//! where the server knows no ranges, the file is asked for from its start, and what is known already is passed over after
//! its hash was compared. From its start it is asked for by `Range` too: then nobody compresses it on the way, which would
//! hide its size. `If-Range` is not sent: it would need a preflight, and the answer's own ETag says as much.

mod judge;
mod policy;
mod version;

use std::rc::Rc;

use futures_util::future::{Either, LocalBoxFuture, select};

use judge::{Failed, broken, fatal, unheard};
pub(crate) use policy::{Failure, Policy};
pub(crate) use version::Version;

use super::digest::{FileHash, Sha};
use super::hub::{self, Stated, Statement, linked_etag};
use super::world::{Ask, Body, Clock, Reply, Transport};
use crate::error::{Code, Error, Result};

/// Why nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Waiting {
    Retry,
    Offline,
    Server,
    OtherTab,
}

/// How a download reaches the network.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) transport: Rc<dyn Transport>,
    pub(crate) policy: Policy,
    /// Told why nothing arrives, and `None` when something does again.
    pub(crate) on_wait: Rc<dyn Fn(Option<Waiting>)>,
}

/// What to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) headers: Rc<[(String, String)]>,
}

/// What will notice a mixture of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Nothing,
    /// The SHA-256 that the hub stated when the download began.
    Hub(Sha),
    /// A SHA-256 that belongs to the request: a copy elsewhere, with another ETag, is as good.
    Pinned,
}

/// Offline, the longest wait before the network is tried all the same, in milliseconds.
const OFFLINE_CHECK: f64 = 30_000.0;

pub(crate) struct Download {
    net: Net,
    target: Target,
    version: Version,
    guard: Guard,
    /// Bytes passed on.
    position: u64,
    /// Where to stop, if before the end of the file.
    until: Option<u64>,
    /// Whether there was a good answer.
    answered: bool,
    /// In a row, without a byte of progress.
    failures: u32,
    /// Known bytes that were passed over at most.
    furthest: u64,
    /// Whether the server knows ranges, as far as it has shown.
    ranges: bool,
    /// Whether `Range` is in the way of an answer altogether.
    plain: bool,
    /// Requests with `Range` in a row that had no answer: some browsers ask for leave first, which some hosts refuse.
    unanswered: u32,
    /// What an answer says the file's SHA-256 is.
    linked: Option<Sha>,
    /// To the hub, not answered yet.
    question: Option<Statement>,
    stream: Option<Stream>,
    /// A timer that looks after the stream.
    watch: Option<LocalBoxFuture<'static, ()>>,
    /// The part of the body's bytes that was passed on last.
    piece: std::ops::Range<usize>,
}

struct Stream {
    body: Box<dyn Body>,
    /// Bytes that are known already, and their hash as they pass.
    skip: Option<(u64, FileHash)>,
}

/// What to make of an answer.
enum Verdicts {
    /// Its body goes on from here, after so many known bytes.
    Take(Reply, u64),
    /// There is nothing more.
    Done,
    /// Nothing: another request is to be made at once.
    Again,
}

impl Download {
    /// Sends the first request, and waits for an answer that fits: for the file's bytes from `from` on, which belong to
    /// `version` where something of it is known.
    ///
    /// # Errors
    /// `network`, `http-status`, `aborted`; `file-changed` where the server has another version by now.
    pub(crate) async fn open(
        net: Net,
        target: Target,
        (from, until): (u64, Option<u64>),
        version: Version,
        guard: Guard,
    ) -> Result<Self> {
        let mut download = Self {
            net,
            target,
            version,
            guard,
            position: from,
            until,
            answered: false,
            failures: 0,
            furthest: 0,
            ranges: true,
            plain: false,
            unanswered: 0,
            linked: None,
            question: None,
            stream: None,
            watch: None,
            piece: 0..0,
        };
        if !download.is_done() {
            download.connect().await?;
        }
        Ok(download)
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// The SHA-256 in the answer's headers, where a hub answers itself.
    pub(crate) fn linked_sha256(&self) -> Option<Sha> {
        self.linked
    }

    /// What checks the file is known only now.
    pub(crate) fn guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// Lets go of the connection until bytes are asked for again: browsers open few to one host.
    pub(crate) fn park(&mut self) {
        self.stream = None;
        self.watch = None;
        self.piece = 0..0;
    }

    fn end(&self) -> Option<u64> {
        match (self.until, self.version.total) {
            (Some(until), Some(total)) => Some(until.min(total)),
            (until, total) => until.or(total),
        }
    }

    fn is_done(&self) -> bool {
        self.end().is_some_and(|end| self.position >= end)
    }

    /// The next bytes; empty at the end. `so_far` is the hash of everything before them.
    pub(crate) async fn next(&mut self, so_far: &FileHash) -> Result<&[u8]> {
        self.piece = 0..0;
        while self.piece.is_empty() && !self.is_done() {
            if self.stream.is_none() {
                self.connect().await?;
                continue;
            }
            match self.read().await {
                Ok(0) if self.version.total.is_none() && self.skipped() => break,
                Ok(0) => self.failed(broken(self, None)).await?,
                Ok(n) => self.take(n, so_far)?,
                Err(failed) => self.failed(failed).await?,
            }
        }
        if self.piece.is_empty() {
            self.stream = None;
            if self.until.is_none() {
                self.version.total.get_or_insert(self.position);
            }
        }
        Ok(self.stream.as_ref().map_or(&[], |s| &s.body.bytes()[self.piece.clone()]))
    }

    /// Whether all known bytes were passed over.
    fn skipped(&self) -> bool {
        self.stream.as_ref().is_none_or(|s| s.skip.is_none())
    }

    /// Passes on what arrived, less what is known already.
    fn take(&mut self, n: usize, so_far: &FileHash) -> Result<()> {
        let end = self.end();
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut from = 0;
        if let Some((left, hash)) = &mut stream.skip {
            from = (*left).min(n as u64) as usize;
            hash.update(&stream.body.bytes()[..from]);
            *left -= from as u64;
            (self.net.on_wait)(None);
            // It is progress where it gets further than ever: else a connection that always breaks here would be made for ever.
            if self.position - *left > self.furthest {
                self.furthest = self.position - *left;
                self.failures = 0;
            }
            if *left == 0 {
                if hash.digest() != so_far.digest() {
                    return Err(self.changed());
                }
                stream.skip = None;
            }
        }
        let announced = self.version.total.map_or(u64::MAX, |total| total - self.position);
        if (n - from) as u64 > announced {
            return Err(self.more_than_announced());
        }
        let most = end.map_or(u64::MAX, |end| end - self.position);
        let n = (n - from).min(usize::try_from(most).unwrap_or(usize::MAX));
        if n > 0 {
            self.piece = from..from + n;
            self.position += n as u64;
            self.failures = 0;
            (self.net.on_wait)(None);
        }
        Ok(())
    }

    /// Waits for bytes of the body; the connection is given up where none come for too long.
    async fn read(&mut self) -> Result<usize, Failed> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let clock = &self.net.clock;
        let timeout = 1000.0 * self.net.policy.stall_timeout;
        let start = clock.elapsed();
        let mut next = stream.body.next();
        let read = loop {
            let watch = self.watch.get_or_insert_with(|| clock.sleep(timeout));
            match select(next, watch).await {
                Either::Left((read, _)) => break Some(read),
                // One timer serves many reads: it may have been set long before this one began.
                Either::Right(((), same)) => {
                    self.watch = None;
                    clock.check().map_err(fatal)?;
                    let left = timeout - (clock.elapsed() - start);
                    if left <= 0.0 {
                        break None;
                    }
                    self.watch = Some(clock.sleep(left));
                    next = same;
                }
            }
        };
        match read {
            Some(Ok(n)) => Ok(n),
            Some(Err(e)) if e.code() == Code::Aborted => Err(fatal(e)),
            Some(Err(e)) => Err(broken(self, Some(e))),
            None => Err(broken(self, None)),
        }
    }

    async fn connect(&mut self) -> Result<()> {
        loop {
            match self.attempt().await {
                Ok(Verdicts::Done) => {
                    self.version.total.get_or_insert(self.position);
                    return Ok(());
                }
                Ok(Verdicts::Take(reply, skip)) => {
                    self.answered = true;
                    let skip = (skip > 0).then(|| (skip, FileHash::default()));
                    self.stream = Some(Stream { body: reply.body, skip });
                    return Ok(());
                }
                Ok(Verdicts::Again) => {}
                Err(failed) => self.failed(failed).await?,
            }
        }
    }

    /// After a failure: waits, or gives up.
    async fn failed(&mut self, failed: Failed) -> Result<()> {
        self.stream = None;
        let Failed { failure, error } = failed;
        let Net { clock, policy, on_wait, .. } = &self.net;
        clock.check()?;
        // Someone who starts offline wants to know; something that was under way goes on when it can.
        let under_way = self.answered || self.position > 0;
        if failure != Failure::Fatal && !clock.online() {
            if !under_way {
                return Err(error);
            }
            on_wait(Some(Waiting::Offline));
            clock.until_online(OFFLINE_CHECK).await;
            return clock.check();
        }
        self.failures += 1;
        match policy.delay(failure, self.failures, under_way, clock.random()) {
            None if self.failures > 1 => Err(error.context(format!("after {} attempts", self.failures))),
            None => Err(error),
            Some(delay) => {
                let busy = matches!(failure, Failure::Busy { .. });
                on_wait(Some(if busy { Waiting::Server } else { Waiting::Retry }));
                clock.sleep(delay).await;
                clock.check()
            }
        }
    }

    async fn attempt(&mut self) -> Result<Verdicts, Failed> {
        let at = self.position;
        let guarded = self.version.strong().is_some() || self.guard != Guard::Nothing;
        // At the start there is nothing yet to be mixed up.
        let from = if self.ranges && guarded { at } else { 0 };
        // Where none has an answer, one without shows whether that is the network's fault: it would be a pity to fetch all of it
        // again because the network was away, or to have it compressed.
        let patience = if from == 0 { 1 } else { 2 };
        let by_range = !self.plain && self.unanswered != patience && self.target.url.starts_with("http");
        let ask = Ask {
            url: &self.target.url,
            headers: &self.target.headers,
            range: by_range.then_some((from, self.until)),
        };
        let clock = &self.net.clock;
        let timeout = clock.sleep(1000.0 * self.net.policy.stall_timeout);
        let reply = match select(self.net.transport.ask(ask), timeout).await {
            Either::Left((Ok(reply), _)) => reply,
            Either::Left((Err(error), _)) if error.code() != Code::Network => return Err(fatal(error)),
            Either::Left((Err(error), _)) => {
                self.unanswered = if by_range { self.unanswered + 1 } else { 0 };
                self.plain |= self.unanswered > patience;
                if by_range && from == 0 && clock.online() {
                    clock.check().map_err(fatal)?;
                    return Ok(Verdicts::Again);
                }
                // What would keep a page from this host altogether was not in the way before.
                if self.answered || at > 0 {
                    return Err(broken(self, Some(error)));
                }
                return Err(Failed { failure: Failure::Unreachable, error });
            }
            Either::Right(_) => {
                clock.check().map_err(fatal)?;
                let error = Error::new(
                    Code::Network,
                    format!("{} does not answer; try again", host(&self.target.url)),
                );
                return Err(Failed { failure: Failure::Unreachable, error });
            }
        };
        if by_range {
            self.unanswered = 0;
        } else if !self.plain && self.unanswered == patience {
            self.unanswered += 1;
            return Ok(Verdicts::Again);
        }
        self.confirm(&reply).await?;
        self.judge(reply, by_range.then_some(from))
    }

    /// A host that serves a file anew gives it another ETag or date; whether it is another one the hub can tell. As long as
    /// it does not, that is a failure: what is there would be a pity to lose.
    async fn confirm(&mut self, reply: &Reply) -> Result<(), Failed> {
        let version = Version::of(reply);
        let Guard::Hub(sha) = self.guard else { return Ok(()) };
        if !matches!(reply.status, 200 | 206) || !self.version.differs_in_validators_only(&version) {
            return Ok(());
        }
        let stated = match reply.header("x-linked-etag").and_then(linked_etag) {
            Some(linked) => Stated::Sha(linked),
            None => self.ask_hub().await,
        };
        match stated {
            Stated::Unheard => return Err(unheard(self)),
            Stated::Sha(stated) if stated == sha => {
                self.version = Version { total: self.version.total, ..Version::default() };
            }
            Stated::Sha(_) | Stated::None => {}
        }
        Ok(())
    }

    /// Waits for what the hub says now; a question that is under way from an attempt before is not asked again.
    async fn ask_hub(&mut self) -> Stated {
        let asked = self.question.take().unwrap_or_else(|| Statement::ask(&self.net, &self.target));
        let stated = asked.within(hub::PATIENCE).await;
        self.question = Some(asked).filter(Statement::is_pending);
        stated
    }
}

/// The host of an address, for messages.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}
