//! What a hub states about a file.
//!
//! Hugging Face sends a file's SHA-256 as `X-Linked-ETag`, but on the redirect, which `fetch` follows without showing it; the
//! answer behind it is a CDN's, whose ETag is not the SHA-256 in general (it can be another hash of the same length). What a
//! page can read is the hub's list of files, in JSON, with the SHA-256 of each file that is in large-file storage.

use serde::Deserialize;

use super::digest::{Sha, parse_sha};
use super::download::{Net, Target};
use super::world::{Ask, Reply};
use futures_util::future::{Either, FutureExt, LocalBoxFuture, Shared, ready, select};

/// Milliseconds to wait for the list where something else waits meanwhile.
pub(crate) const PATIENCE: f64 = 5000.0;
/// Milliseconds until no answer is expected any more.
const TIMEOUT: f64 = 60_000.0;
/// Longer lists are not read.
const MAX_BYTES: usize = 4 << 20;

/// Where the list is, and which of its paths the file has.
#[derive(Debug, PartialEq, Eq)]
struct Listing {
    url: String,
    path: String,
}

impl Listing {
    /// For addresses of the form `https://host/owner/repo/resolve/revision/path/file`.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let rest = rest.split(['?', '#']).next()?;
        let mut segments = rest.split('/');
        let (host, owner, repo) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next()? != "resolve" {
            return None;
        }
        let revision = segments.next()?;
        let path: Vec<&str> = segments.collect();
        let (_, folders) = path.split_last()?;
        let folder = folders.iter().map(|f| format!("/{f}")).collect::<String>();
        Some(Self {
            url: format!("{scheme}://{host}/api/models/{owner}/{repo}/tree/{revision}{folder}"),
            path: percent_decoded(&path.join("/"))?,
        })
    }
}

/// An entry of the list.
#[derive(Deserialize)]
struct Entry {
    path: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    /// The SHA-256.
    oid: String,
}

/// What a hub says of a file's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stated {
    Sha(Sha),
    /// It states none, or the address is not one of a hub.
    None,
    /// It does not answer, or not yet.
    Unheard,
}

impl Stated {
    pub(crate) fn sha(self) -> Option<Sha> {
        match self {
            Self::Sha(sha) => Some(sha),
            Self::None | Self::Unheard => None,
        }
    }
}

/// A question to a hub, which is under way until it is answered, whoever waits for it.
pub(crate) struct Statement {
    net: Net,
    target: Target,
    answer: Shared<LocalBoxFuture<'static, Stated>>,
}

impl Statement {
    pub(crate) fn ask(net: &Net, target: &Target) -> Self {
        let listing = Listing::of(&target.url).filter(|_| net.transport.asks_freely());
        let answer = match listing {
            None => ready(Stated::None).boxed_local(),
            Some(listing) => answer(net.clone(), target.clone(), listing).boxed_local(),
        };
        let answer = answer.shared();
        net.clock.spawn(answer.clone().map(drop).boxed_local());
        Self { net: net.clone(), target: target.clone(), answer }
    }

    /// What has been answered by now.
    pub(crate) fn by_now(&self) -> Stated {
        self.answer.peek().copied().unwrap_or(Stated::Unheard)
    }

    /// Whether it is not answered yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.answer.peek().is_none()
    }

    /// Waits, at most so many milliseconds.
    pub(crate) async fn within(&self, ms: f64) -> Stated {
        match select(self.answer.clone(), self.net.clock.sleep(ms)).await {
            Either::Left((stated, _)) => stated,
            Either::Right(_) => Stated::Unheard,
        }
    }

    /// When there is nothing left but to know it: waits for the answer, and asks once more where there was none.
    pub(crate) async fn at_last(&self) -> Stated {
        match self.within(PATIENCE).await {
            Stated::Unheard => Self::ask(&self.net, &self.target).within(PATIENCE).await,
            stated => stated,
        }
    }
}

async fn answer(net: Net, target: Target, listing: Listing) -> Stated {
    let read = async {
        let ask = Ask { url: &listing.url, headers: &target.headers, range: None };
        match net.transport.ask(ask).await {
            Ok(reply) if reply.status == 200 => match body(reply).await {
                Some(json) => entry_of(&json, &listing.path).map_or(Stated::None, Stated::Sha),
                None => Stated::Unheard,
            },
            Ok(reply) if reply.status < 500 && reply.status != 429 => Stated::None,
            _ => Stated::Unheard,
        }
    };
    match select(Box::pin(read), net.clock.sleep(TIMEOUT)).await {
        Either::Left((stated, _)) => stated,
        Either::Right(_) => Stated::Unheard,
    }
}

async fn body(mut reply: Reply) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while reply.body.next().await.ok()? > 0 {
        all.extend_from_slice(reply.body.bytes());
        if all.len() > MAX_BYTES {
            return None;
        }
    }
    Some(all)
}

fn entry_of(json: &[u8], path: &str) -> Option<Sha> {
    let entries: Vec<Entry> = serde_json::from_slice(json).ok()?;
    let entry = entries.into_iter().find(|e| e.path == path)?;
    parse_sha(&entry.lfs?.oid)
}

/// A SHA-256 in the headers of an answer: where a mirror answers itself, the page sees what a hub says on its redirect.
pub(crate) fn linked_etag(etag: &str) -> Option<Sha> {
    parse_sha(etag.trim_matches('"'))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(others.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &others[2..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_a_file() {
        let listing = |url: &str, path: &str| Some(Listing { url: url.into(), path: path.into() });
        assert_eq!(
            Listing::of(
                "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf?download=true"
            ),
            listing(
                "https://huggingface.co/api/models/Qwen/Qwen3-0.6B-GGUF/tree/main",
                "Qwen3-0.6B-Q8_0.gguf"
            )
        );
        assert_eq!(
            Listing::of("http://localhost:80/a/b/resolve/refs%2Fpr%2F1/x/y%20z/m.gguf"),
            listing("http://localhost:80/api/models/a/b/tree/refs%2Fpr%2F1/x/y%20z", "x/y z/m.gguf")
        );
        for other in [
            "https://example.com/m.gguf",
            "https://h/a/b/blob/main/m.gguf",
            "https://h/a/b/resolve/main",
            "m.gguf",
        ] {
            assert_eq!(Listing::of(other), None, "{other}");
        }
    }

    #[test]
    fn the_entry_of_a_file() {
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let json = format!(
            r#"[{{"type":"file","path":"README.md","size":5,"oid":"1"}},
                {{"type":"file","path":"m.gguf","size":5,"oid":"2","lfs":{{"oid":"{sha}","size":5,"pointerSize":1}}}}]"#
        );
        assert_eq!(entry_of(json.as_bytes(), "m.gguf"), parse_sha(sha));
        assert_eq!(entry_of(json.as_bytes(), "README.md"), None);
        assert_eq!(entry_of(json.as_bytes(), "other.gguf"), None);
        assert_eq!(entry_of(b"<html>", "m.gguf"), None);
        assert_eq!(linked_etag(&format!("\"{sha}\"")), parse_sha(sha));
        assert_eq!(linked_etag("\"5f3c-1\""), None);
    }
}
