//! One file over the network, front to back, whatever happens on the way: a state machine over requests that may fail at any
//! byte.
//!
//! The page always asks the first address, never the one that a redirect led to: signed addresses expire. A download goes on
//! by `Range` where a strong ETag, or a SHA-256 that is checked at the end, shows a mixture of two versions; otherwise, and
//! where the server knows no ranges, the file is asked for from its start, and what is known already is passed over after
//! its hash was compared.

mod policy;
mod version;

use std::rc::Rc;

use futures_util::future::{Either, LocalBoxFuture, select};

pub(crate) use policy::{Failure, Policy};
pub(crate) use version::Version;
use version::{ContentRange, Verdict, is_encoded};

use super::digest::{FileHash, Sha};
use super::hub::linked_etag;
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
    Hub,
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
    /// Whether the server knows ranges, as far as it has shown.
    ranges: bool,
    /// What an answer says the file's SHA-256 is.
    linked: Option<Sha>,
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
}

struct Failed {
    failure: Failure,
    error: Error,
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
            ranges: true,
            linked: None,
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
            if *left == 0 {
                if hash.digest() != so_far.digest() {
                    return Err(self.changed());
                }
                stream.skip = None;
            }
        }
        // A server that sends more than it announced: what it announced was of the encoded bytes, or it is wrong.
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
        let start = clock.now();
        let mut next = stream.body.next();
        let read = loop {
            let watch = self.watch.get_or_insert_with(|| clock.sleep(timeout));
            match select(next, watch).await {
                Either::Left((read, _)) => break Some(read),
                // One timer serves many reads: it may have been set long before this one began.
                Either::Right(((), same)) => {
                    self.watch = None;
                    clock.check().map_err(fatal)?;
                    let left = timeout - (clock.now() - start);
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
        let part = at > 0 || self.until.is_some();
        // At the start there is nothing yet to be mixed up.
        let range = (part && self.ranges && (guarded || at == 0)).then_some((at, self.until));
        let ask = Ask {
            url: &self.target.url,
            headers: &self.target.headers,
            range,
            if_range: self.version.strong().filter(|_| range.is_some()),
        };
        let clock = &self.net.clock;
        let timeout = clock.sleep(1000.0 * self.net.policy.stall_timeout);
        let reply = match select(self.net.transport.ask(ask), timeout).await {
            Either::Left((Ok(reply), _)) => reply,
            Either::Left((Err(error), _)) if error.code() != Code::Network => return Err(fatal(error)),
            // What would keep a page from this host altogether was not in the way before.
            Either::Left((Err(error), _)) if self.answered || at > 0 => {
                return Err(broken(self, Some(error)));
            }
            Either::Left((Err(error), _)) => return Err(Failed { failure: Failure::Unreachable, error }),
            Either::Right(_) => {
                clock.check().map_err(fatal)?;
                let error = Error::new(
                    Code::Network,
                    format!("{} does not answer; try again", host(&self.target.url)),
                );
                return Err(Failed { failure: Failure::Unreachable, error });
            }
        };
        self.judge(reply, range.is_some())
    }

    fn judge(&mut self, reply: Reply, by_range: bool) -> Result<Verdicts, Failed> {
        let at = self.position;
        let version = Version::of(&reply);
        self.linked = self.linked.or_else(|| reply.header("x-linked-etag").and_then(linked_etag));
        match reply.status {
            200 => {
                self.accept(version)?;
                // It knows no ranges, or, asked with If-Range, has another version: then its hash will tell.
                self.ranges &= !by_range;
                Ok(Verdicts::Take(reply, at))
            }
            206 if by_range && !is_encoded(&reply) => {
                let range = ContentRange::of(&reply);
                let rest = reply.header("content-length").and_then(|n| n.parse::<u64>().ok());
                let expected = self.end().map(|end| end - at);
                // Where a page may not see Content-Range, the length of the rest has to do; a hash has the last word.
                let fits = match range {
                    Some(range) => range.from == Some(at),
                    None => self.guard != Guard::Nothing && rest.is_some() && rest == expected,
                };
                if !fits {
                    return Err(self.no_ranges());
                }
                match self.compare(&version) {
                    Verdict::Changed => return Err(fatal(self.changed())),
                    Verdict::Unknown if self.guard == Guard::Nothing => return Err(self.no_ranges()),
                    _ => {}
                }
                self.accept(version)?;
                Ok(Verdicts::Take(reply, 0))
            }
            416 if by_range => match ContentRange::of(&reply).and_then(|r| r.total) {
                Some(total) if total == at && self.version.total.is_none_or(|t| t == total) => {
                    Ok(Verdicts::Done)
                }
                Some(total) if self.version.total != Some(total) => Err(fatal(self.changed())),
                _ => Err(self.no_ranges()),
            },
            206 | 416 if by_range => Err(self.no_ranges()),
            _ => Err(self.refused(&reply)),
        }
    }

    /// Takes a version for that of the file, if it can be: what the first answer said of it may have been told, though not
    /// one byte has come.
    fn accept(&mut self, version: Version) -> Result<(), Failed> {
        if self.compare(&version) == Verdict::Changed && (self.position > 0 || self.answered) {
            return Err(fatal(self.changed()));
        }
        let Version { etag, last_modified, total } = version;
        self.version = Version {
            etag: etag.or(self.version.etag.take()),
            last_modified: last_modified.or(self.version.last_modified.take()),
            total: total.or(self.version.total),
        };
        Ok(())
    }

    fn compare(&self, version: &Version) -> Verdict {
        match self.version.compare(version) {
            // The hash is that of the request, whoever serves it; only another size cannot be it.
            Verdict::Changed if self.guard == Guard::Pinned => {
                let sizes = Version { total: version.total, ..self.version.clone() };
                if self.version.compare(&sizes) == Verdict::Changed {
                    Verdict::Changed
                } else {
                    Verdict::Unknown
                }
            }
            verdict => verdict,
        }
    }

    fn changed(&self) -> Error {
        Error::new(
            Code::FileChanged,
            format!(
                "{} on {} is another one than when its download began; load it again from its start",
                self.target.name,
                host(&self.target.url)
            ),
        )
    }

    /// After an answer to a range that cannot be used: asks without.
    fn no_ranges(&mut self) -> Failed {
        self.ranges = false;
        broken(self, None)
    }

    fn refused(&self, reply: &Reply) -> Failed {
        let (status, name, host) = (reply.status, &self.target.name, host(&self.target.url));
        let retry_after = reply.header("retry-after").and_then(|t| seconds(t, self.net.clock.now()));
        let (failure, what) = match status {
            401 | 403 => {
                (Failure::Refused, "access is refused; if the model needs a token, pass it in `headers`")
            }
            404 | 410 => (Failure::Refused, "there is no such file; check the address"),
            408 => (Failure::Busy { retry_after }, "the server gave up waiting; try again"),
            429 => (Failure::Busy { retry_after }, "too many requests; wait a while and try again"),
            500.. => (Failure::Busy { retry_after }, "the server has a problem; try again later"),
            _ => (Failure::Fatal, "the server refuses; check the address"),
        };
        let message = format!("HTTP status {status} for {name} ({host}): {what}");
        Failed { failure, error: Error::new(Code::HttpStatus, message) }
    }
}

fn fatal(error: Error) -> Failed {
    Failed { failure: Failure::Fatal, error }
}

fn broken(download: &Download, cause: Option<Error>) -> Failed {
    let of = download.version.total.map_or(String::new(), |total| format!(" of {total}"));
    let error = Error::new(
        Code::Network,
        format!(
            "the connection to {} broke off after {}{of} bytes of {}; try again",
            host(&download.target.url),
            download.position,
            download.target.name
        ),
    );
    let error = match cause {
        Some(cause) => error.with_cause(cause),
        None => error,
    };
    Failed { failure: Failure::Broken, error }
}

/// `Retry-After`: seconds, or a date.
fn seconds(text: &str, now: f64) -> Option<f64> {
    let text = text.trim();
    if let Ok(n) = text.parse::<u32>() {
        return Some(f64::from(n));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(((date.timestamp_millis() as f64 - now) / 1000.0).max(0.0))
}

/// The host of an address, for messages.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}
