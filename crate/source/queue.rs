//! Waiting for another tab that stores the same model.

use std::any::Any;
use std::cell::Cell;

use futures_util::future::{Either, select};

use super::cache::Storage;
use super::world::{World, lock_name};
use crate::error::Result;

/// Milliseconds without a word from the other tab, nor a byte in storage, until it is taken for suspended: a tab that runs
/// says something every few seconds.
pub(crate) const SILENCE: f64 = 60_000.0;

/// Waits for the lock of a model, and tells `on_bytes` how far the other tab is. From one that is suspended, and may be so for
/// days, it is taken: the other notices by its record's writer when it goes on.
///
/// # Errors
/// `aborted`, `cache`.
pub(crate) async fn wait(
    world: &World,
    storage: &dyn Storage,
    id: &str,
    on_bytes: &dyn Fn(u64, Option<u64>),
) -> Result<Box<dyn Any>> {
    let (name, clock) = (lock_name(id), world.clock.as_ref());
    let heard = Cell::new(clock.elapsed());
    let on_bytes = |bytes, total| {
        heard.set(clock.elapsed());
        on_bytes(bytes, total);
    };
    let bytes = async || Ok(storage.get(id).await?.map(|r| r.stored()));
    let mut before = bytes().await?;
    let mut given = world.locks.acquire(&name, &on_bytes);
    loop {
        match select(given, clock.sleep(SILENCE)).await {
            Either::Left((lock, _)) => return lock,
            Either::Right(((), same)) => given = same,
        }
        clock.check()?;
        let now = bytes().await?;
        if now == before && clock.elapsed() - heard.get() >= SILENCE {
            drop(given);
            return world.locks.steal(&name).await;
        }
        before = now;
    }
}
