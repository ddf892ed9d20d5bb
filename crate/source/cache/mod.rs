//! Models in storage: records, and pieces of files. A record and the pieces that it counts change in one transaction, so that
//! whatever breaks off, what a record says is there is there.

mod chunk;
#[cfg(target_arch = "wasm32")]
mod idb;
mod lasting;
mod record;
mod room;
mod writer;

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

pub(crate) use chunk::Chunk;
#[cfg(target_arch = "wasm32")]
pub(crate) use idb::{IndexedDb, use_reader};
pub(crate) use lasting::Lasting;
pub(crate) use record::{Authority, Expected, Part, Record, SCHEMA, Sum, Sums};
pub(crate) use room::{evict, make_room};
pub(crate) use writer::{Evicting, Passage, Writer};

use crate::error::{Code, Error, Result};

/// Names a piece of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkKey {
    pub(crate) id: String,
    pub(crate) part: usize,
    pub(crate) index: u32,
}

/// What a transaction does.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The model's record from now on; `None` removes it.
    pub(crate) record: Option<Record>,
    /// Removes the pieces of this part, or of all, before `put`.
    pub(crate) clear: Clear,
    pub(crate) put: Option<(ChunkKey, Chunk)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Clear {
    #[default]
    Nothing,
    Part(usize),
    All,
}

/// Decides, inside a transaction, by the record that there is; asked again where the transaction has to be run again.
pub(crate) type Edit = Rc<dyn Fn(Option<Record>) -> Result<Change>>;

/// What storage has room for, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Room {
    pub(crate) usage: u64,
    pub(crate) quota: u64,
}

/// Where models are kept.
pub(crate) trait Storage {
    /// Every model of which anything is stored, last used first.
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<Record>>>;

    fn get(&self, id: &str) -> LocalBoxFuture<'static, Result<Option<Record>>>;

    /// Finds out how pieces are stored best, where some are to be.
    fn expect_pieces(&self) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Runs one transaction: all of it happens, or nothing. An error of `edit` ends it.
    ///
    /// # Errors
    /// `quota-exceeded`, `cache`.
    fn change(&self, id: &str, edit: Edit) -> LocalBoxFuture<'static, Result<()>>;

    fn chunk(&self, key: &ChunkKey) -> LocalBoxFuture<'static, Result<Option<Chunk>>>;

    /// `None`: the browser does not say.
    fn room(&self) -> LocalBoxFuture<'static, Option<Room>>;

    /// Whether the connection to it is gone, so that nothing more will work by it.
    fn is_lost(&self) -> bool {
        false
    }
}

/// Notes that a model is being used.
pub(crate) async fn touch(storage: &dyn Storage, id: &str, now: f64) -> Result<()> {
    let edit = move |record: Option<Record>| {
        let record = record.map(|r| Record { last_used: now, ..r });
        Ok(Change { record, ..Change::default() })
    };
    storage.change(id, Rc::new(edit)).await
}

/// Removes a model; false where there is none.
pub(crate) async fn delete(storage: &dyn Storage, id: &str) -> Result<bool> {
    let existed = storage.get(id).await?.is_some();
    storage.change(id, Rc::new(|_| Ok(Change { clear: Clear::All, ..Change::default() }))).await?;
    Ok(existed)
}

pub(crate) fn quota_exceeded(details: &str) -> Error {
    Error::new(
        Code::QuotaExceeded,
        format!(
            "the browser's storage for this site is full, so this model is not kept; delete other models from the cache \
             or free disk space{details}"
        ),
    )
}
