//! What downloading and caching need of the world around them. In the browser it is the real one; the tests have one of
//! their own, with a server, a clock and a storage that misbehave on demand.

use std::any::Any;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::Source;
use super::cache::Storage;
use crate::error::Result;

/// A request for a file, or for its bytes from `from` on, up to `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) range: Option<(u64, Option<u64>)>,
}

/// An answer, once its headers are there.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Those that the page may see, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Box<dyn Body>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The body of an answer; dropping it ends the download.
pub(crate) trait Body {
    /// Waits for the next bytes, and says how many; 0 at the end. An error: the connection broke.
    fn next(&mut self) -> LocalBoxFuture<'_, Result<usize>>;

    /// Those that came last.
    fn bytes(&self) -> &[u8];
}

/// Sends requests; redirects are followed.
pub(crate) trait Transport {
    /// # Errors
    /// `network` where there is no answer, `aborted`, `invalid-argument` for headers that cannot be sent.
    fn ask<'a>(&'a self, ask: Ask<'a>) -> LocalBoxFuture<'a, Result<Reply>>;

    /// Whether other addresses of the same host may be asked too: not where the caller makes the requests.
    fn asks_freely(&self) -> bool;
}

/// Time, chance, the network's state and cancelling.
pub(crate) trait Clock {
    /// Milliseconds since 1970.
    fn now(&self) -> f64;

    /// Milliseconds since some moment, for durations: the time of day may be set, also backwards.
    fn elapsed(&self) -> f64;

    /// From 0 up to 1.
    fn random(&self) -> f64;

    /// Waits; ends early, without a word, when the load is cancelled.
    fn sleep(&self, ms: f64) -> LocalBoxFuture<'static, ()>;

    /// Whether the device says that it has a network.
    fn online(&self) -> bool;

    /// Waits until the device says so, at most so long; ends early when the load is cancelled.
    fn until_online(&self, ms: f64) -> LocalBoxFuture<'static, ()>;

    /// Lets a future run beside everything else.
    fn spawn(&self, future: LocalBoxFuture<'static, ()>);

    /// # Errors
    /// `aborted`, once the load is cancelled.
    fn check(&self) -> Result<()>;
}

/// One lock a name, across everything that shares the storage.
pub(crate) trait Locks {
    /// `None`: somebody has it. Dropping it lets the next one in.
    fn try_acquire<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Option<Box<dyn Any>>>>;

    /// Waits for it, and tells `on_bytes` what whoever has it reports: bytes in place and bytes in all.
    ///
    /// # Errors
    /// `aborted`.
    fn acquire<'a>(
        &'a self,
        name: &'a str,
        on_bytes: &'a dyn Fn(u64, Option<u64>),
    ) -> LocalBoxFuture<'a, Result<Box<dyn Any>>>;

    /// Takes it from whoever has it.
    fn steal<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Any>>>;
}

/// The lock under which a model is stored.
pub(crate) fn lock_name(id: &str) -> String {
    format!("qwenlet:{id}")
}

/// Files that the user chose.
pub(crate) trait Files {
    /// File `n`, read from byte `from` on.
    fn open(&self, n: usize, from: u64) -> Option<Box<dyn Source>>;
}

/// Opens the storage.
pub(crate) type OpenStorage = dyn Fn() -> LocalBoxFuture<'static, Result<Rc<dyn Storage>>>;

/// All of it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) transport: Rc<dyn Transport>,
    pub(crate) storage: Rc<OpenStorage>,
    pub(crate) locks: Rc<dyn Locks>,
    pub(crate) files: Rc<dyn Files>,
}
