//! Where a load takes its bytes from: the cache if the model is there, else the network or a file, and then through the
//! cache.

mod cached;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::join;

use super::Source;
use super::cache::{self, Authority, Expected, Passage, Record, Storage, Writer};
use super::digest::{hex, parse_sha};
use super::download::{Download, Guard, Net, Target, Version, Waiting};
use super::hub::{self, Statement};
use super::part::{PartSource, Repair, Rest, Status, Stored, Through, hash_so_far};
use super::request::{CacheMode, Manner, Notice, Notify, Origin, Request};
#[cfg(target_arch = "wasm32")]
use super::world::Clock;
use super::world::{World, lock_name};
use crate::error::{Code, Error, Result};
use crate::gguf::PartName;

/// Opens the parts of one model.
pub(crate) struct Opener {
    request: Request,
    manner: Manner,
    world: World,
    net: Net,
    notify: Notify,
    status: Rc<Status>,
    /// The complete copy to read.
    stored: Option<(Rc<dyn Storage>, Record)>,
    /// Stores what is read from elsewhere, as long as the lock is held.
    writing: RefCell<Option<Writing>>,
}

struct Writing {
    storage: Rc<dyn Storage>,
    writer: Rc<Writer>,
    _lock: Box<dyn Any>,
}

impl Opener {
    /// Decides where the bytes come from; waits where another tab is storing this model.
    ///
    /// # Errors
    /// `cache` for a model that should be in the cache and is not, what storage reports where the cache is required,
    /// `aborted`, and those of a download where a copy would have to go for it.
    pub(crate) async fn new(request: Request, manner: Manner, world: World, notify: Notify) -> Result<Self> {
        let on_wait: Rc<dyn Fn(Option<Waiting>)> = {
            let (notify, last) = (Rc::clone(&notify), Cell::new(None));
            Rc::new(move |why| {
                if last.replace(why) != why {
                    notify(Notice::Waiting(why));
                }
            })
        };
        let net = Net {
            clock: Rc::clone(&world.clock),
            transport: Rc::clone(&world.transport),
            policy: manner.policy,
            on_wait,
        };
        let from = match request {
            Request::Url { .. } => Origin::Network,
            Request::Files { .. } => Origin::File,
            Request::Cached { .. } => Origin::Cache,
        };
        let status = Rc::new(Status { from: Cell::new(from), resumed: Cell::new(0) });
        let mut opener =
            Self { request, manner, world, net, notify, status, stored: None, writing: RefCell::default() };
        let cached_only = matches!(opener.request, Request::Cached { .. });
        let Some(id) = opener.request.cache_id().map(str::to_owned) else { return Ok(opener) };
        if manner.cache == CacheMode::Off && !cached_only {
            return Ok(opener);
        }
        match opener.use_cache(&id, cached_only).await {
            Ok(()) => Ok(opener),
            Err(e) if cached_only || manner.cache == CacheMode::Required || !is_of_storage(e.code()) => {
                Err(e)
            }
            Err(e) => {
                (opener.notify)(Notice::NotCached(Rc::new(e)));
                Ok(opener)
            }
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        match (&self.stored, &self.request) {
            (Some(_), _) | (None, Request::Cached { .. }) => Origin::Cache,
            (None, Request::Files { .. }) => Origin::File,
            (None, Request::Url { .. }) => Origin::Network,
        }
    }

    pub(crate) fn status(&self) -> &Rc<Status> {
        &self.status
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn clock(&self) -> Rc<dyn Clock> {
        Rc::clone(&self.world.clock)
    }

    /// The name of the lock, under which others are told how far this load is.
    pub(crate) fn lock_name(&self) -> Option<String> {
        self.writing.borrow().as_ref()?;
        self.request.cache_id().map(lock_name)
    }

    /// Opens part `n`, from 0.
    pub(crate) async fn part(&self, n: usize) -> Result<Box<dyn Source>> {
        if let Some((storage, record)) = &self.stored {
            return self.stored_part(Rc::clone(storage), record, n);
        }
        let writing = self.writing.borrow().as_ref().map(|w| (Rc::clone(&w.storage), Rc::clone(&w.writer)));
        match self.fetched_part(n, writing.clone(), false).await {
            Err(e) if e.code() == Code::FileChanged => {
                (self.notify)(Notice::Restarted(e));
                self.fetched_part(n, writing, true).await
            }
            opened => opened,
        }
    }

    /// Of a complete copy.
    fn stored_part(&self, storage: Rc<dyn Storage>, record: &Record, n: usize) -> Result<Box<dyn Source>> {
        let missing =
            || Error::new(Code::Cache, format!("the cached copy of {} has no part {}", record.name, n + 1));
        let part = record.parts.get(n).cloned().ok_or_else(missing)?;
        let repair = match &self.request {
            Request::Url { .. } => {
                self.target(n).map_or(Repair::Nowhere, |target| Repair::Network(self.net.clone(), target))
            }
            Request::Files { .. } => Repair::File(Rc::clone(&self.world.files), n),
            Request::Cached { .. } => Repair::Nowhere,
        };
        let name = part.name.clone();
        let stored = Stored::new(storage, (&record.id, record.chunk_bytes), n, part, repair);
        Ok(Box::new(PartSource {
            name,
            n,
            stored: Some(stored),
            rest: Rest::Nothing,
            through: None,
            expected: None,
            status: Rc::clone(&self.status),
            notify: Rc::clone(&self.notify),
            position: 0,
            buffer: Vec::new(),
            origin: Origin::Cache,
        }))
    }

    /// From the network or a file, behind what an earlier load has stored of it; `anew`: that is of no use.
    async fn fetched_part(
        &self,
        n: usize,
        writing: Option<(Rc<dyn Storage>, Rc<Writer>)>,
        anew: bool,
    ) -> Result<Box<dyn Source>> {
        let (pinned, _) = self.request.pinned(n);
        let found = writing.as_ref().and_then(|(_, w)| w.found(n)).filter(|_| !anew).cloned();
        let url = match &self.request {
            Request::Url { .. } => Some(self.target(n)?.url),
            _ => None,
        };
        let mut part = found
            // Without a byte there is nothing to go on with, and what the hub stated of the file may be of another by now.
            .filter(|p| p.stored > 0)
            .filter(|p| {
                // What is there is of the same file: of the same address, or with the same SHA-256.
                let same_pin = pinned.is_some() && p.expected.as_ref().map(|e| e.sha256.as_str()) == pinned;
                let other_pin = pinned.is_some() && p.expected.as_ref().is_some_and(|_| !same_pin);
                (p.url == url && !other_pin) || same_pin
            })
            .filter(|p| hash_so_far(p).is_some())
            .unwrap_or_default();
        let pinned = pinned.map(|sha256| Expected { sha256: sha256.to_owned(), by: Authority::Caller });
        part.expected = pinned.or(part.expected);
        part.url = url;

        let (rest, origin) = self.rest(n, &mut part).await?;
        self.check_size(n, &part.name, part.version.total)?;
        let resumed = part.stored;
        let expected = part.expected.clone();
        let name = part.name.clone();
        let (through, stored) = match writing {
            None => {
                let passage = Passage::unstored();
                (Through { writer: None, required: false, passage }, None)
            }
            Some((storage, writer)) => {
                if let Some(total) = part.version.total {
                    self.make_room(storage.as_ref(), &writer, n, total.saturating_sub(part.stored)).await?;
                }
                let passage = writer.part(n, part.clone()).await;
                let repair = match &self.request {
                    Request::Url { .. } => Repair::Network(self.net.clone(), self.target(n)?),
                    _ => Repair::File(Rc::clone(&self.world.files), n),
                };
                let id = self.request.cache_id().unwrap_or_default();
                let stored = (part.stored > 0)
                    .then(|| Stored::new(storage, (id, writer.chunk_bytes()), n, part, repair));
                let required = self.manner.cache == CacheMode::Required;
                (Through { writer: Some(writer), required, passage }, stored)
            }
        };
        self.status.resumed.set(self.status.resumed.get() + resumed);
        Ok(Box::new(PartSource {
            name,
            n,
            stored,
            rest,
            through: Some(through),
            expected,
            status: Rc::clone(&self.status),
            notify: Rc::clone(&self.notify),
            position: 0,
            buffer: Vec::new(),
            origin,
        }))
    }

    fn check_size(&self, n: usize, name: &str, total: Option<u64>) -> Result<()> {
        match self.request.pinned(n).1.zip(total) {
            Some((bytes, total)) if bytes != total => {
                let message = format!(
                    "{name} has {total} bytes where it is from, and should have {bytes}: it is another file"
                );
                Err(Error::new(Code::Integrity, message))
            }
            _ => Ok(()),
        }
    }

    /// What storage does not have of part `n`; fills in what is learnt of the part.
    async fn rest(&self, n: usize, part: &mut cache::Part) -> Result<(Rest, Origin)> {
        match &self.request {
            Request::Url { .. } => {
                let target = self.target(n)?;
                let at = (part.stored, self.manner.head);
                let guard = match &part.expected {
                    None => Guard::Nothing,
                    Some(Expected { by: Authority::Hub, sha256 }) => {
                        parse_sha(sha256).map_or(Guard::Nothing, Guard::Hub)
                    }
                    Some(_) => Guard::Pinned,
                };
                let ask_hub = part.expected.is_none() && self.manner.head.is_none();
                let statement = ask_hub.then(|| Statement::ask(&self.net, &target));
                let open = Download::open(self.net.clone(), target.clone(), at, part.version.clone(), guard);
                let stated = async {
                    match &statement {
                        Some(statement) => statement.within(hub::PATIENCE).await.sha(),
                        None => None,
                    }
                };
                let (download, stated) = join(open, stated).await;
                let mut download = download?;
                if let Some(sha) = stated.or_else(|| download.linked_sha256().filter(|_| ask_hub)) {
                    part.expected = Some(Expected { sha256: hex(&sha), by: Authority::Hub });
                    download.guard(Guard::Hub(sha));
                }
                part.name = target.name;
                part.version = download.version().clone();
                Ok((Rest::Network(Box::new(download), statement), Origin::Network))
            }
            Request::Files { names, .. } => {
                let file = self.world.files.open(n, part.stored);
                let (file, name) = file.zip(names.get(n)).ok_or_else(|| missing_part(n))?;
                part.name.clone_from(name);
                part.version = Version { total: file.len(), ..Version::default() };
                Ok((Rest::File(file), Origin::File))
            }
            Request::Cached { .. } => Err(Error::internal("a cached model without its record")),
        }
    }

    /// Rather than filling the storage and then removing it all again: for `missing` bytes of part `n`, and for what those
    /// before it still lack.
    async fn make_room(&self, storage: &dyn Storage, writer: &Writer, n: usize, missing: u64) -> Result<()> {
        if writer.failure().is_some() {
            return Ok(()); // nothing more is stored
        }
        let made = async {
            let needed = missing + writer.lacking(n).await?;
            let keep = self.request.cache_id().unwrap_or_default();
            let locks = self.manner.evict.then_some(self.world.locks.as_ref());
            cache::make_room(storage, self.world.clock.as_ref(), needed, keep, locks).await
        };
        match made.await {
            Ok(evicted) => {
                for record in evicted {
                    (self.notify)(Notice::Evicted(record.name));
                }
                Ok(())
            }
            Err(e) if self.manner.cache == CacheMode::Required => Err(e),
            Err(e) => {
                writer.give_up(e);
                Ok(())
            }
        }
    }

    fn target(&self, n: usize) -> Result<Target> {
        let Request::Url { urls, headers, .. } = &self.request else {
            return Err(Error::internal("an address of a model that has none"));
        };
        let url = part_url(urls, n)?;
        let name = file_name(&url);
        Ok(Target { url, name, headers: headers.as_slice().into() })
    }

    /// Ends the storing after a load: a model that works becomes one of the cache's, and so does one that is whole and that
    /// something else failed; of a download that broke off the bytes stay, incomplete; a file that is no use is not kept.
    /// Says under which id the cache has the model.
    ///
    /// # Errors
    /// Why it could not be kept, where it had to be.
    pub(crate) async fn finish(&self, loaded: std::result::Result<(), Code>) -> Result<Option<String>> {
        let id = || self.request.cache_id().map(str::to_owned);
        if let Some((storage, record)) = &self.stored {
            // It is damaged, and there is nothing left to mend it with.
            if loaded == Err(Code::FileChanged) {
                cache::delete(storage.as_ref(), &record.id).await?;
            }
            return Ok(id());
        }
        let Some(writing) = self.writing.take() else { return Ok(None) };
        let writer = &writing.writer;
        let required = self.manner.cache == CacheMode::Required;
        match loaded {
            Err(code) if is_useless(code) => {
                writer.discard().await;
                return Ok(None);
            }
            Err(_) if !writer.is_whole() => {
                writer.keep_incomplete().await;
                return Ok(None);
            }
            _ => {}
        }
        match writer.finish().await {
            Ok(()) => Ok(id()),
            Err(e) if required => {
                writer.keep_incomplete().await;
                Err(Error::new(e.code(), e.message()))
            }
            Err(e) => {
                match e.code() {
                    // Without room for the rest, the beginning is of no use.
                    Code::QuotaExceeded => writer.discard().await,
                    _ => writer.keep_incomplete().await,
                }
                (self.notify)(Notice::NotCached(e));
                Ok(None)
            }
        }
    }
}

/// Begun anew so often, where the server's file changes while it is being read.
const RESTARTS: usize = 2;

/// Runs `load` with an opener, and again with another where it returns `None`, which goes on with what is stored by then,
/// or where the file changed on the way, from the start. Returns what it returns, the id under which the cache has the
/// model, and where it came from.
///
/// # Errors
/// Those of [`Opener::new`], `load` and [`Opener::finish`].
pub(crate) async fn with_opener<T>(
    request: Request,
    manner: Manner,
    world: World,
    notify: Notify,
    mut load: impl AsyncFnMut(Rc<Opener>) -> Result<Option<T>>,
) -> Result<(T, Option<String>, Origin)> {
    let mut restarts = 0;
    loop {
        let opener = Opener::new(request.clone(), manner, world.clone(), Rc::clone(&notify)).await?;
        let opener = Rc::new(opener);
        let loaded = load(Rc::clone(&opener)).await;
        let outcome = match &loaded {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Code::Aborted),
            Err(e) => Err(e.code()),
        };
        let kept = opener.finish(outcome).await;
        // The next opener knows nothing of a wait that this one told of.
        (opener.net.on_wait)(None);
        // What an earlier download left may be what is wrong, where the whole is not the file that it should be.
        let anew = |e: &Error| match e.code() {
            Code::FileChanged => restarts < RESTARTS,
            Code::Integrity => restarts == 0 && opener.status().resumed.get() > 0,
            _ => false,
        };
        match loaded {
            Err(e) if anew(&e) => {
                restarts += 1;
                notify(Notice::Restarted(e));
            }
            Err(e) => return Err(e),
            Ok(loaded) => {
                let kept = kept?;
                if let Some(loaded) = loaded {
                    return Ok((loaded, kept, opener.origin()));
                }
            }
        }
    }
}

/// Errors in spite of which a model can be loaded, without being kept.
fn is_of_storage(code: Code) -> bool {
    !matches!(code, Code::Aborted | Code::Network | Code::HttpStatus | Code::Integrity)
}

/// Errors that say that the file is no model, or not the one.
fn is_useless(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidGguf
            | Code::TruncatedFile
            | Code::UnsupportedArchitecture
            | Code::UnsupportedQuantization
            | Code::InvalidModel
            | Code::Tokenizer
            | Code::Template
            | Code::FileChanged
            | Code::Integrity
    )
}

fn part_url(urls: &[String], n: usize) -> Result<String> {
    match (urls.get(n), urls.first()) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(first)) if urls.len() == 1 => {
            PartName::parse(first).map(|part| part.sibling(n)).ok_or_else(|| missing_part(n))
        }
        _ => Err(missing_part(n)),
    }
}

fn missing_part(n: usize) -> Error {
    Error::invalid_argument(format!(
        "the model is split and its part {} was not given; give all parts together, or an address that ends in \
         -00001-of-0000N.gguf",
        n + 1
    ))
}

fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(url).to_owned()
}
