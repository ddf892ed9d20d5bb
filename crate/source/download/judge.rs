//! What to make of an answer.

use super::policy::Failure;
use super::version::{ContentRange, Verdict, Version, is_encoded};
use super::{Download, Guard, Verdicts, host};
use crate::error::{Code, Error};
use crate::source::hub::linked_etag;
use crate::source::world::Reply;

pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) error: Error,
}

impl Download {
    /// `asked`: where the range begins that was asked for.
    pub(super) fn judge(&mut self, reply: Reply, asked: Option<u64>) -> Result<Verdicts, Failed> {
        let at = self.position;
        let mut version = Version::of(&reply);
        self.linked = self.linked.or_else(|| reply.header("x-linked-etag").and_then(linked_etag));
        match (reply.status, asked) {
            (200, _) => {
                self.accept(version)?;
                // It knows no ranges. Of one that is the whole file some say so in this way.
                self.ranges &= asked.is_none_or(|from| from == 0);
                Ok(Verdicts::Take(reply, at))
            }
            (206, Some(from)) if !is_encoded(&reply) => {
                let rest = reply.header("content-length").and_then(|n| n.parse::<u64>().ok());
                let expected = self.end().map(|end| end - from);
                let fits = match ContentRange::of(&reply) {
                    Some(range) => range.from == Some(from),
                    // Where a page may not see Content-Range, the length of the rest has to do; a hash has the last word.
                    None if from > 0 => self.guard != Guard::Nothing && rest.is_some() && rest == expected,
                    None => {
                        version.total = rest.filter(|&n| self.until.is_none_or(|until| n < until));
                        true
                    }
                };
                if !fits {
                    return Err(self.no_ranges(from));
                }
                match self.compare(&version) {
                    Verdict::Changed if from > 0 => return Err(fatal(self.changed())),
                    Verdict::Unknown if from > 0 && self.guard == Guard::Nothing => {
                        return Err(self.no_ranges(from));
                    }
                    _ => {}
                }
                self.accept(version)?;
                Ok(Verdicts::Take(reply, at - from))
            }
            (416, Some(from)) => match ContentRange::of(&reply).and_then(|r| r.total) {
                Some(total) if total == at && self.version.total.is_none_or(|t| t == total) => {
                    Ok(Verdicts::Done)
                }
                Some(total) if from > 0 && self.version.total != Some(total) => Err(fatal(self.changed())),
                _ => Err(self.no_ranges(from)),
            },
            (206, Some(from)) => Err(self.no_ranges(from)),
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

    pub(super) fn changed(&self) -> Error {
        Error::new(
            Code::FileChanged,
            format!(
                "{} on {} is another one than when its download began; load it again from its start",
                self.target.name,
                host(&self.target.url)
            ),
        )
    }

    /// What it announced was the size of the encoded bytes. Begun anew, the file may come as it is.
    pub(super) fn more_than_announced(&self) -> Error {
        let (name, host) = (&self.target.name, host(&self.target.url));
        Error::new(
            Code::FileChanged,
            format!("{host} sends more bytes of {name} than it announced; load it again"),
        )
    }

    /// After an answer to a range that cannot be used: asks from the start, or without.
    fn no_ranges(&mut self, from: u64) -> Failed {
        self.ranges = false;
        self.plain |= from == 0;
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

pub(super) fn fatal(error: Error) -> Failed {
    Failed { failure: Failure::Fatal, error }
}

pub(super) fn broken(download: &Download, cause: Option<Error>) -> Failed {
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

/// The hub does not say whether a file with another ETag is another file.
pub(super) fn unheard(download: &Download) -> Failed {
    let message = format!(
        "{} has another ETag on {} than when its download began, and the hub does not say whether it is another file; try \
         again later, or delete what is stored of it to begin anew",
        download.target.name,
        host(&download.target.url)
    );
    Failed { failure: Failure::Busy { retry_after: None }, error: Error::new(Code::Network, message) }
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
