//! Sequences and the pages that hold their state.
//!
//! A page holds [`PAGE_TOKENS`] positions of every layer. Pages are counted references: a fork shares all of them, and
//! a shared page is copied before one of its owners writes to it.

use crate::error::{Code, Error, Result};

/// Positions a page.
pub const PAGE_TOKENS: usize = 64;

/// Names a page of the backend's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// A copy that the backend has to make before the next run writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCopy {
    pub from: PageId,
    pub to: PageId,
}

/// The pages of one sequence, and how many positions of them are written.
#[derive(Debug, Default)]
pub struct PageTable {
    pages: Vec<PageId>,
    len: usize,
}

impl PageTable {
    pub fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Who uses which page.
#[derive(Debug)]
pub struct PagePool {
    references: Vec<u32>,
    free: Vec<PageId>,
}

impl PagePool {
    pub fn new(n_pages: usize) -> Self {
        // Popped from the end: low numbers first, so that a short conversation touches little memory.
        let free = (0..n_pages as u32).rev().map(PageId).collect();
        Self { references: vec![0; n_pages], free }
    }

    pub fn n_pages(&self) -> usize {
        self.references.len()
    }

    pub fn n_free(&self) -> usize {
        self.free.len()
    }

    /// Makes room for `n` more positions, to be written by the next run; `table.len` grows by `n`. Nothing changes on
    /// an error.
    ///
    /// # Errors
    /// `context-full` where the pool has too few free pages.
    pub fn extend(&mut self, table: &mut PageTable, n: usize) -> Result<Option<PageCopy>> {
        if n == 0 {
            return Ok(None);
        }
        let tail_shared = !table.len.is_multiple_of(PAGE_TOKENS)
            && self.references[table.pages[table.len / PAGE_TOKENS].0 as usize] > 1;
        let wanted = (table.len + n).div_ceil(PAGE_TOKENS);
        let needed = wanted - table.pages.len() + usize::from(tail_shared);
        if needed > self.free.len() {
            return Err(Error::new(
                Code::ContextFull,
                format!(
                    "no room for {n} more tokens: {needed} pages of {PAGE_TOKENS} needed, {} free",
                    self.free.len()
                ),
            ));
        }
        let copy = tail_shared.then(|| {
            let at = table.len / PAGE_TOKENS;
            let copy = PageCopy { from: table.pages[at], to: self.take() };
            self.drop_page(copy.from);
            table.pages[at] = copy.to;
            copy
        });
        while table.pages.len() < wanted {
            let page = self.take();
            table.pages.push(page);
        }
        table.len += n;
        Ok(copy)
    }

    /// Forgets every position from `len` on.
    pub fn truncate(&mut self, table: &mut PageTable, len: usize) {
        if len >= table.len {
            return;
        }
        for page in table.pages.drain(len.div_ceil(PAGE_TOKENS)..) {
            self.references[page.0 as usize] -= 1;
            if self.references[page.0 as usize] == 0 {
                self.free.push(page);
            }
        }
        table.len = len;
    }

    /// A second sequence with the same positions; nothing is copied until one of the two writes.
    pub fn fork(&mut self, table: &PageTable) -> PageTable {
        for page in &table.pages {
            self.references[page.0 as usize] += 1;
        }
        PageTable { pages: table.pages.clone(), len: table.len }
    }

    fn take(&mut self) -> PageId {
        let page = self.free.pop().expect("checked by extend");
        self.references[page.0 as usize] = 1;
        page
    }

    fn drop_page(&mut self, page: PageId) {
        self.references[page.0 as usize] -= 1;
        if self.references[page.0 as usize] == 0 {
            self.free.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_copies_the_shared_tail_when_it_writes() {
        let mut pool = PagePool::new(8);
        let mut a = PageTable::default();
        assert_eq!(pool.extend(&mut a, PAGE_TOKENS + 3).unwrap(), None);
        let mut b = pool.fork(&a);
        assert_eq!(pool.n_free(), 6);
        let copy = pool.extend(&mut b, 1).unwrap().expect("the tail page is shared");
        assert_eq!(copy.from, a.pages()[1]);
        assert_eq!(copy.to, b.pages()[1]);
        assert_eq!(a.pages()[0], b.pages()[0]);
        // a is the only owner of its tail now.
        assert_eq!(pool.extend(&mut a, 1).unwrap(), None);
        pool.truncate(&mut a, 0);
        pool.truncate(&mut b, 0);
        assert_eq!(pool.n_free(), 8);
    }

    #[test]
    fn a_full_pool_changes_nothing() {
        let mut pool = PagePool::new(2);
        let mut a = PageTable::default();
        pool.extend(&mut a, PAGE_TOKENS).unwrap();
        let error = pool.extend(&mut a, 2 * PAGE_TOKENS).unwrap_err();
        assert_eq!(error.code(), Code::ContextFull);
        assert_eq!((a.len(), pool.n_free()), (PAGE_TOKENS, 1));
    }

    #[test]
    fn truncation_frees_whole_pages_only() {
        let mut pool = PagePool::new(4);
        let mut a = PageTable::default();
        pool.extend(&mut a, 3 * PAGE_TOKENS).unwrap();
        pool.truncate(&mut a, PAGE_TOKENS + 1);
        assert_eq!((a.pages().len(), pool.n_free()), (2, 2));
        pool.truncate(&mut a, PAGE_TOKENS);
        assert_eq!((a.pages().len(), pool.n_free()), (1, 3));
    }
}
