//! Many strings in two allocations.

use crate::error::{Code, Error, Result};

/// Strings end to end: a vocabulary of 150,000 tokens is two allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringArray {
    text: String,
    ends: Vec<u32>,
}

impl StringArray {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The `i`-th string.
    pub fn get(&self, i: usize) -> Option<&str> {
        let end = *self.ends.get(i)? as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        Some(&self.text[start..end])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let s = &self.text[start..end as usize];
            start = end as usize;
            s
        })
    }

    /// Adds a string.
    ///
    /// # Errors
    /// `invalid-gguf` where all strings together pass 4 GiB.
    pub fn push(&mut self, s: &str) -> Result<()> {
        let end = u32::try_from(self.text.len() + s.len())
            .map_err(|_| Error::new(Code::InvalidGguf, "the strings of an array pass 4 GiB"))?;
        self.text.push_str(s);
        self.ends.push(end);
        Ok(())
    }

    pub(super) fn reserve(&mut self, strings: usize) {
        self.ends.reserve(strings);
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringArray {
    /// # Panics
    /// Where all strings together pass 4 GiB: made for data of the program's own.
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut array = Self::new();
        for s in strings {
            array.push(s.as_ref()).expect("less than 4 GiB");
        }
        array
    }
}
