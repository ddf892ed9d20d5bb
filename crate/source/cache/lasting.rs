//! Storage that outlives its connection: browsers drop those of tabs in the background, above all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use super::{Chunk, ChunkKey, Edit, Record, Room, Storage};
use crate::error::Result;
use crate::source::world::OpenStorage;

/// How often one thing is tried, each time by a new connection.
const ATTEMPTS: usize = 3;

/// Storage that is opened again where its connection is lost, and asked once more.
#[derive(Clone)]
pub(crate) struct Lasting {
    open: Rc<OpenStorage>,
    current: Rc<RefCell<Rc<dyn Storage>>>,
    /// Whether pieces are to be stored.
    expecting: Rc<Cell<bool>>,
}

impl Lasting {
    /// # Errors
    /// Those of `open`.
    pub(crate) async fn open(open: Rc<OpenStorage>) -> Result<Rc<dyn Storage>> {
        let current = Rc::new(RefCell::new(open().await?));
        Ok(Rc::new(Self { open, current, expecting: Rc::default() }))
    }

    fn run<T: 'static>(
        &self,
        ask: impl Fn(&dyn Storage) -> LocalBoxFuture<'static, Result<T>> + 'static,
    ) -> LocalBoxFuture<'static, Result<T>> {
        let this = self.clone();
        // Asked now: requests are answered in the order in which they are made.
        let mut storage = Rc::clone(&this.current.borrow());
        let mut answer = ask(storage.as_ref());
        Box::pin(async move {
            for _ in 1..ATTEMPTS {
                match answer.await {
                    Err(_) if storage.is_lost() => {}
                    answer => return answer,
                }
                storage = this.instead_of(&storage).await?;
                answer = ask(storage.as_ref());
            }
            answer.await
        })
    }

    /// The connection that takes the place of a lost one; another request may have opened it by now.
    async fn instead_of(&self, lost: &Rc<dyn Storage>) -> Result<Rc<dyn Storage>> {
        let current = Rc::clone(&self.current.borrow());
        if !Rc::ptr_eq(&current, lost) && !current.is_lost() {
            return Ok(current);
        }
        let opened = (self.open)().await?;
        if self.expecting.get() {
            opened.expect_pieces().await;
        }
        *self.current.borrow_mut() = Rc::clone(&opened);
        Ok(opened)
    }
}

impl Storage for Lasting {
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<Record>>> {
        self.run(|storage| storage.list())
    }

    fn get(&self, id: &str) -> LocalBoxFuture<'static, Result<Option<Record>>> {
        let id = id.to_owned();
        self.run(move |storage| storage.get(&id))
    }

    fn expect_pieces(&self) -> LocalBoxFuture<'static, ()> {
        self.expecting.set(true);
        self.current.borrow().expect_pieces()
    }

    fn change(&self, id: &str, edit: Edit) -> LocalBoxFuture<'static, Result<()>> {
        let id = id.to_owned();
        self.run(move |storage| storage.change(&id, Rc::clone(&edit)))
    }

    fn chunk(&self, key: &ChunkKey) -> LocalBoxFuture<'static, Result<Option<Chunk>>> {
        let key = key.clone();
        self.run(move |storage| storage.chunk(&key))
    }

    fn room(&self) -> LocalBoxFuture<'static, Option<Room>> {
        self.current.borrow().room()
    }
}
