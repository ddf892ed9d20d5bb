//! Where a load in the browser takes its bytes from: the cache if the model is there, else the network or a file, and
//! then through the cache.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Function;
use serde::{Deserialize, Serialize};
use web_sys::{AbortSignal, Blob};

use super::Source;
use super::blob::BlobSource;
use super::cache::{CacheSource, CacheWriter, Record, Store};
use super::http::HttpSource;
use super::lock::Lock;
use crate::error::{Code, Error, Result};
use crate::gguf::PartName;

/// What to load.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Request {
    /// One address, or that of every part. Where there is only the first, the others are named after it.
    Url { id: String, name: String, urls: Vec<String>, headers: Vec<(String, String)> },
    /// Files of the page, handed over beside the request. Without an id they are not cached.
    Files { id: Option<String>, name: String, names: Vec<String> },
    /// A model of the cache, and nothing else.
    Cached { id: String },
}

impl Request {
    fn cache_id(&self) -> Option<&str> {
        match self {
            Request::Url { id, .. } | Request::Cached { id } => Some(id),
            Request::Files { id, .. } => id.as_deref(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Request::Url { name, .. } | Request::Files { name, .. } => name,
            Request::Cached { id } => id,
        }
    }
}

/// Whether to keep the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheMode {
    Off,
    /// If possible; else a warning says why not.
    Auto,
    Required,
}

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Network,
    Cache,
    File,
}

/// What the caller should know beside the result.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Another tab downloads this model; this load waits to use its copy.
    Waiting,
    /// The model is not kept.
    NotCached(Rc<Error>),
}

/// Opens the parts of one model.
pub(crate) struct Opener {
    request: Request,
    files: Vec<Blob>,
    /// Makes the requests in place of `fetch`.
    fetcher: Option<Function>,
    signal: AbortSignal,
    mode: CacheMode,
    /// The complete copy to read.
    stored: Option<(Rc<Store>, Record)>,
    /// Stores what is read from elsewhere, as long as the lock is held.
    writing: RefCell<Option<(Rc<CacheWriter>, Lock)>>,
}

impl Opener {
    /// Decides where the bytes come from; waits where another tab is storing this model.
    ///
    /// # Errors
    /// `cache` for a model that should be in the cache and is not, what storage reports where the cache is required,
    /// `aborted`.
    pub(crate) async fn new(
        request: Request,
        files: Vec<Blob>,
        fetcher: Option<Function>,
        mode: CacheMode,
        signal: AbortSignal,
        notify: &dyn Fn(Notice),
    ) -> Result<Self> {
        let mut opener =
            Self { request, files, fetcher, signal, mode, stored: None, writing: RefCell::default() };
        let cached_only = matches!(opener.request, Request::Cached { .. });
        let Some(id) = opener.request.cache_id().map(str::to_owned) else { return Ok(opener) };
        if mode == CacheMode::Off && !cached_only {
            return Ok(opener);
        }
        match opener.use_cache(&id, cached_only, notify).await {
            Ok(()) => Ok(opener),
            Err(e) if cached_only || mode == CacheMode::Required || e.code() == Code::Aborted => Err(e),
            Err(e) => {
                notify(Notice::NotCached(Rc::new(e)));
                Ok(opener)
            }
        }
    }

    async fn use_cache(&mut self, id: &str, cached_only: bool, notify: &dyn Fn(Notice)) -> Result<()> {
        let store = Rc::new(Store::open().await?);
        if self.find(&store, id).await? {
            return Ok(());
        }
        if cached_only {
            return Err(Error::new(
                Code::Cache,
                format!("the cache has no complete model {id:?}; load it by its URL or file"),
            ));
        }
        let lock_name = format!("qwenlet:{id}");
        let lock = match Lock::try_acquire(&lock_name).await? {
            Some(lock) => lock,
            None => {
                notify(Notice::Waiting);
                let lock = Lock::acquire(&lock_name, &self.signal).await?;
                if self.find(&store, id).await? {
                    return Ok(());
                }
                lock
            }
        };
        let writer =
            CacheWriter::begin(store, id, self.request.name(), self.mode == CacheMode::Required).await?;
        *self.writing.borrow_mut() = Some((writer, lock));
        Ok(())
    }

    async fn find(&mut self, store: &Rc<Store>, id: &str) -> Result<bool> {
        match store.get(id).await? {
            Some(record) if record.complete => {
                store.touch(id).await?;
                self.stored = Some((Rc::clone(store), record));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        match (&self.stored, &self.request) {
            (Some(_), _) | (None, Request::Cached { .. }) => Origin::Cache,
            (None, Request::Files { .. }) => Origin::File,
            (None, Request::Url { .. }) => Origin::Network,
        }
    }

    /// Opens part `n`, from 0.
    pub(crate) async fn part(&self, n: usize) -> Result<Box<dyn Source>> {
        if let Some((store, record)) = &self.stored {
            return Ok(Box::new(CacheSource::open(Rc::clone(store), record, n, &self.signal)?));
        }
        let (source, etag): (Box<dyn Source>, _) = match &self.request {
            Request::Url { urls, headers, .. } => {
                let url = part_url(urls, n)?;
                let source =
                    HttpSource::open(&url, &file_name(&url), headers, self.fetcher.as_ref(), &self.signal)
                        .await?;
                let etag = source.etag().map(str::to_owned);
                (Box::new(source), etag)
            }
            Request::Files { names, .. } => match (self.files.get(n), names.get(n)) {
                (Some(file), Some(name)) => {
                    (Box::new(BlobSource::new(file.clone(), name, &self.signal)), None)
                }
                _ => return Err(missing_part(n)),
            },
            Request::Cached { .. } => return Err(Error::internal("a cached model without its record")),
        };
        let writer = self.writing.borrow().as_ref().map(|(writer, _)| Rc::clone(writer));
        match writer {
            Some(writer) => Ok(Box::new(writer.part(source, etag).await)),
            None => Ok(source),
        }
    }

    /// Ends the storing after a load: a model that works becomes one of the cache's, and so does one that is whole and
    /// that the device failed; of a download that broke off the bytes stay, incomplete; a file that is no use is not
    /// kept. Says under which id the cache has the model.
    ///
    /// # Errors
    /// Why it could not be kept, where it had to be.
    pub(crate) async fn finish(
        &self,
        loaded: std::result::Result<(), Code>,
        notify: &dyn Fn(Notice),
    ) -> Result<Option<String>> {
        let id = || self.request.cache_id().map(str::to_owned);
        if self.stored.is_some() {
            return Ok(id());
        }
        let Some((writer, _lock)) = self.writing.take() else { return Ok(None) };
        let device_failed = matches!(loaded, Err(Code::Gpu | Code::DeviceLost | Code::OutOfMemory));
        match loaded {
            Err(Code::Network | Code::Aborted) => {
                writer.keep_incomplete().await;
                Ok(None)
            }
            Err(_) if !(device_failed && writer.is_whole()) => {
                writer.discard().await;
                Ok(None)
            }
            _ => match writer.finish().await {
                Ok(()) => Ok(id()),
                Err(e) if self.mode == CacheMode::Required => Err(Error::new(e.code(), e.message())),
                Err(e) => {
                    notify(Notice::NotCached(e));
                    Ok(None)
                }
            },
        }
    }
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
