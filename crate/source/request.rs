//! What can be asked of a source, and what it tells meanwhile.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::download::{Policy, Waiting};
use crate::error::Error;

/// What to load.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Request {
    /// One address, or that of every part. Where there is only the first, the others are named after it. SHA-256 digests and
    /// sizes of the parts, where they are known.
    Url {
        id: String,
        name: String,
        urls: Vec<String>,
        headers: Vec<(String, String)>,
        #[serde(default)]
        sha256: Vec<String>,
        #[serde(default)]
        bytes: Vec<u64>,
    },
    /// Files of the page, handed over beside the request. Without an id they are not cached.
    Files { id: Option<String>, name: String, names: Vec<String> },
    /// A model of the cache, and nothing else.
    Cached { id: String },
}

impl Request {
    pub(crate) fn cache_id(&self) -> Option<&str> {
        match self {
            Request::Url { id, .. } | Request::Cached { id } => Some(id),
            Request::Files { id, .. } => id.as_deref(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Request::Url { name, .. } | Request::Files { name, .. } => name,
            Request::Cached { id } => id,
        }
    }

    /// Names of the files of the page.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn file_names(&self) -> Vec<String> {
        match self {
            Request::Files { names, .. } => names.clone(),
            Request::Url { .. } | Request::Cached { .. } => Vec::new(),
        }
    }

    /// How many parts are named; where only the first is, there may be more.
    pub(crate) fn n_given(&self) -> usize {
        match self {
            Request::Url { urls, .. } => urls.len(),
            Request::Files { names, .. } => names.len(),
            Request::Cached { .. } => 0,
        }
    }

    /// What part `n` is pinned to.
    pub(crate) fn pinned(&self, n: usize) -> (Option<&str>, Option<u64>) {
        match self {
            Request::Url { sha256, bytes, .. } => (sha256.get(n).map(String::as_str), bytes.get(n).copied()),
            Request::Files { .. } | Request::Cached { .. } => (None, None),
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

/// How to go about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) cache: CacheMode,
    /// Models that were not used for longest may go where storage is full.
    pub(crate) evict: bool,
    pub(crate) policy: Policy,
    /// Ask the network for no more than the first so many bytes of a file: its header is what is wanted.
    pub(crate) head: Option<u64>,
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
    /// Why nothing arrives; `None`: something does again.
    Waiting(Option<Waiting>),
    /// The other tab, which downloads this model, has so many bytes of so many.
    OtherTab(u64, Option<u64>),
    /// The model is not kept.
    NotCached(Rc<Error>),
    /// What was there is of no use any more; the download begins anew.
    Restarted(Error),
    /// The hub did not say which SHA-256 this file should have.
    Unverified(String),
    /// A model was deleted to make room.
    Evicted(String),
}

pub(crate) type Notify = Rc<dyn Fn(Notice)>;
