//! Room in storage: asked for before bytes come, and made only where the caller says so.

use super::{Record, Storage, delete, quota_exceeded};
use crate::error::{Error, Result};
use crate::source::world::{Clock, Locks, lock_name};

/// How often, and how long apart in milliseconds, the browser is asked whether what was deleted is free by now.
pub(super) const PATIENCE: (u32, f64) = (20, 100.0);

/// Sees to it that `needed` bytes fit. Where `locks` allow it, complete and incomplete models other than `keep` are deleted,
/// the least recently used first, until they do, but for those that another tab is storing; those deleted are returned. Where
/// the browser does not say how much fits, all does.
///
/// # Errors
/// `quota-exceeded`, which names the models that could be deleted. Nothing is deleted then.
pub(crate) async fn make_room(
    storage: &dyn Storage,
    clock: &dyn Clock,
    needed: u64,
    keep: &str,
    locks: Option<&dyn Locks>,
) -> Result<Vec<Record>> {
    let missing = async || storage.room().await.map_or(0, |r| (r.usage + needed).saturating_sub(r.quota));
    let lacking = missing().await;
    if lacking == 0 {
        return Ok(Vec::new());
    }
    let others: Vec<Record> = storage.list().await?.into_iter().filter(|r| r.id != keep).collect();
    let enough = others.iter().map(Record::stored).sum::<u64>() >= lacking;
    let Some(locks) = locks.filter(|_| enough) else {
        return Err(quota_exceeded(&details(needed, lacking, &others, enough)));
    };
    let victims = evict_of(storage, others, lacking, locks).await?;
    // Browsers count what was deleted a little later.
    for _ in 0..PATIENCE.0 {
        if missing().await == 0 {
            break;
        }
        clock.sleep(PATIENCE.1).await;
    }
    Ok(victims)
}

/// Deletes the least recently used model other than `keep` and those that another tab is storing; `None`: there is no other.
pub(super) async fn evict_one(
    storage: &dyn Storage,
    keep: &str,
    locks: &dyn Locks,
) -> Result<Option<Record>> {
    let mut others = storage.list().await?;
    others.retain(|r| r.id != keep);
    Ok(evict_of(storage, others, 1, locks).await?.pop())
}

/// The error of a write that found no room, with the models that could be deleted.
pub(super) async fn full(storage: &dyn Storage, keep: &str, error: Error) -> Error {
    match storage.list().await {
        Ok(mut others) => {
            others.retain(|r| r.id != keep);
            quota_exceeded(&candidates(&others)).with_cause(error)
        }
        Err(_) => error,
    }
}

/// Deletes the least recently used models, but for those that a tab is storing, until `bytes` are freed, or none is left;
/// returns those deleted.
pub(crate) async fn evict(storage: &dyn Storage, bytes: u64, locks: &dyn Locks) -> Result<Vec<Record>> {
    evict_of(storage, storage.list().await?, bytes, locks).await
}

/// Leaves out those of which the lock is not free.
async fn evict_of(
    storage: &dyn Storage,
    mut models: Vec<Record>,
    bytes: u64,
    locks: &dyn Locks,
) -> Result<Vec<Record>> {
    let mut freed = 0;
    let mut victims = Vec::new();
    while freed < bytes
        && let Some(victim) = models.pop()
    {
        let Some(_lock) = locks.try_acquire(&lock_name(&victim.id)).await? else { continue };
        delete(storage, &victim.id).await?;
        freed += victim.stored();
        victims.push(victim);
    }
    Ok(victims)
}

fn details(needed: u64, lacking: u64, others: &[Record], would_do: bool) -> String {
    let (needed, lacking) = (megabytes(needed), megabytes(lacking));
    let mut text = format!(": {needed} are needed, {lacking} are missing{}", candidates(others));
    if !others.is_empty() && !would_do {
        text.push_str(", but all of them would not be enough");
    }
    text
}

fn candidates(others: &[Record]) -> String {
    let name = |r: &Record| format!("{} ({})", r.name, megabytes(r.stored()));
    match others {
        [] => String::new(),
        others => {
            let names: Vec<String> = others.iter().rev().map(name).collect();
            format!("; these could be deleted, least recently used first: {}", names.join(", "))
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", (bytes as f64 / 1e6).ceil())
}
