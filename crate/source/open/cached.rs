//! Looking for a model in the cache, and getting leave to store it there.

use std::rc::Rc;

use super::{Opener, Writing};
use crate::error::{Code, Error, Result};
use crate::source::cache::{self, Evicting, Lasting, Storage, Writer};
use crate::source::download::{Download, Guard, Version, Waiting};
use crate::source::queue;
use crate::source::request::Notice;
use crate::source::world::lock_name;

/// What the cache has of a model.
enum Found {
    /// The complete copy to read.
    Copy,
    /// A complete copy, of which this part is not what is asked for.
    Other(usize),
    /// Nothing, or the beginning.
    Rest,
}

impl Opener {
    /// Finds the complete copy to read, or waits until this tab may store the model.
    ///
    /// # Errors
    /// `cache` for a model that should be in the cache and is not, what storage reports, `aborted`, and those of a download
    /// where a copy would have to go for it.
    pub(super) async fn use_cache(&mut self, id: &str, cached_only: bool) -> Result<()> {
        let storage = Lasting::open(Rc::clone(&self.world.storage)).await?;
        let mut found = self.find(&storage, id).await?;
        if matches!(found, Found::Copy) {
            return Ok(());
        }
        if cached_only {
            return Err(Error::new(
                Code::Cache,
                format!("the cache has no complete model {id:?}; load it by its URL or file"),
            ));
        }
        let lock = match self.world.locks.try_acquire(&lock_name(id)).await? {
            Some(lock) => lock,
            None => {
                (self.notify)(Notice::Waiting(Some(Waiting::OtherTab)));
                let notify = Rc::clone(&self.notify);
                let on_bytes = move |bytes, total| notify(Notice::OtherTab(bytes, total));
                let lock = queue::wait(&self.world, storage.as_ref(), id, &on_bytes).await;
                (self.notify)(Notice::Waiting(None));
                let lock = lock?;
                found = self.find(&storage, id).await?;
                if matches!(found, Found::Copy) {
                    return Ok(());
                }
                lock
            }
        };
        if let Found::Other(n) = found {
            self.expect_another(n).await?;
        }
        let clock = Rc::clone(&self.world.clock);
        let (name, chunk_bytes) = (self.request.name(), self.manner.policy.chunk_bytes);
        let notify = Rc::clone(&self.notify);
        let evicting = self.manner.evict.then(|| Evicting {
            locks: Rc::clone(&self.world.locks),
            on_evict: Rc::new(move |name| notify(Notice::Evicted(name))),
        });
        let given = self.request.n_given();
        let writer =
            Writer::begin(Rc::clone(&storage), clock, (id, name), given, chunk_bytes, evicting).await?;
        *self.writing.borrow_mut() = Some(Writing { storage, writer, _lock: lock });
        Ok(())
    }

    /// Looks for a complete copy of what is asked for.
    async fn find(&mut self, storage: &Rc<dyn Storage>, id: &str) -> Result<Found> {
        let given = self.request.n_given();
        let Some(record) = storage.get(id).await?.filter(|r| r.is_whole(given)) else {
            return Ok(Found::Rest);
        };
        let differs = record.parts.iter().enumerate().position(|(n, part)| {
            let (sha256, bytes) = self.request.pinned(n);
            let other = |pin: Option<&str>| pin.zip(part.sha256.as_deref()).is_some_and(|(a, b)| a != b);
            other(sha256) || bytes.is_some_and(|b| b != part.stored)
        });
        if let Some(n) = differs {
            return Ok(Found::Other(n));
        }
        // A full disk takes not even this, and is no reason not to read.
        let _ = cache::touch(storage.as_ref(), id, self.world.clock.now()).await;
        self.stored = Some((Rc::clone(storage), record));
        Ok(Found::Copy)
    }

    /// Before a copy goes that is not what is asked for: whether part `n` is to be had, as far as an answer tells.
    async fn expect_another(&self, n: usize) -> Result<()> {
        let target = self.target(n)?;
        let name = target.name.clone();
        let answered =
            Download::open(self.net.clone(), target, (0, None), Version::default(), Guard::Pinned).await?;
        self.check_size(n, &name, answered.version().total)?;
        let message =
            format!("the cached copy of {name} is not the file that is asked for; it is fetched anew");
        (self.notify)(Notice::Restarted(Error::new(Code::Integrity, message)));
        Ok(())
    }
}
