//! Which version of a file an answer is of.

use serde::{Deserialize, Serialize};

use crate::source::world::Reply;

/// What tells versions of a file apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Version {
    /// As the server wrote it; one that begins with `W/` is weak: equal ones need not have the same bytes.
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) total: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Byte for byte.
    Same,
    /// Nothing speaks against it, nothing proves it.
    Unknown,
    Changed,
}

impl Version {
    /// Of an answer with the whole file or a range of it.
    pub(crate) fn of(reply: &Reply) -> Self {
        let total = match (reply.status, ContentRange::of(reply)) {
            (206, range) => range.and_then(|r| r.total),
            // Content-Length counts encoded bytes, what is read here is decoded.
            _ if is_encoded(reply) => None,
            _ => reply.header("content-length").and_then(|n| n.parse().ok()),
        };
        let owned = |name| reply.header(name).map(str::to_owned);
        Self { etag: owned("etag"), last_modified: owned("last-modified"), total }
    }

    /// The ETag, if it stands for the very bytes.
    pub(crate) fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }

    /// What another answer's version says of this one.
    pub(crate) fn compare(&self, other: &Self) -> Verdict {
        let differ = |a: Option<u64>, b: Option<u64>| a.zip(b).is_some_and(|(a, b)| a != b);
        if differ(self.total, other.total) {
            return Verdict::Changed;
        }
        match (&self.etag, &other.etag) {
            (Some(a), Some(b)) if a.trim_start_matches("W/") != b.trim_start_matches("W/") => {
                Verdict::Changed
            }
            (Some(_), Some(_)) if self.strong().is_some() && other.strong().is_some() => Verdict::Same,
            (Some(_), Some(_)) => Verdict::Unknown,
            _ => match (&self.last_modified, &other.last_modified) {
                (Some(a), Some(b)) if a != b => Verdict::Changed,
                _ => Verdict::Unknown,
            },
        }
    }

    /// Whether nothing but what a host makes up tells this from another answer's version.
    pub(crate) fn differs_in_validators_only(&self, other: &Self) -> bool {
        let size = Self { total: self.total, ..Self::default() };
        self.compare(other) == Verdict::Changed && size.compare(other) != Verdict::Changed
    }
}

/// Whether the bytes of the body are not those on the wire; where the server lets a page see so.
pub(crate) fn is_encoded(reply: &Reply) -> bool {
    reply.header("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"))
}

/// `Content-Range: bytes 5-9/10`, or `bytes */10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) from: Option<u64>,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        Self::parse(reply.header("content-range")?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let total = match total {
            "*" => None,
            n => Some(n.parse().ok()?),
        };
        let from = match range {
            "*" => None,
            range => Some(range.split_once('-')?.0.parse().ok()?),
        };
        Some(Self { from, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(etag: Option<&str>, modified: Option<&str>, total: Option<u64>) -> Version {
        Version { etag: etag.map(Into::into), last_modified: modified.map(Into::into), total }
    }

    #[test]
    fn only_equal_strong_etags_prove_the_same_bytes() {
        use Verdict::{Changed, Same, Unknown};
        let strong = version(Some("\"a\""), None, Some(5));
        for (other, verdict) in [
            (version(Some("\"a\""), None, Some(5)), Same),
            (version(Some("\"a\""), None, None), Same),
            (version(Some("\"a\""), None, Some(6)), Changed),
            (version(Some("\"b\""), None, Some(5)), Changed),
            (version(Some("W/\"a\""), None, Some(5)), Unknown),
            (version(Some("W/\"b\""), None, Some(5)), Changed),
            (version(None, Some("Mon"), Some(5)), Unknown),
        ] {
            assert_eq!(strong.compare(&other), verdict, "{other:?}");
        }
        let dated = version(None, Some("Mon"), None);
        assert_eq!(dated.compare(&version(None, Some("Mon"), Some(5))), Unknown);
        assert_eq!(dated.compare(&version(None, Some("Tue"), Some(5))), Changed);
        assert_eq!(dated.compare(&Version::default()), Unknown);
        let weak = version(Some("W/\"a\""), None, None);
        assert_eq!(weak.compare(&weak.clone()), Unknown);
    }

    #[test]
    fn content_ranges() {
        let range = |from, total| Some(ContentRange { from, total });
        assert_eq!(ContentRange::parse("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(ContentRange::parse("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(ContentRange::parse("bytes */10"), range(None, Some(10)));
        for bad in ["", "bytes", "bytes 5/10", "items 5-9/10", "bytes x-9/10", "bytes 5-9/x"] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
