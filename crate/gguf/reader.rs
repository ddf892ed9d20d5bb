//! A cursor over the bytes that are there, which says how many more are needed.

use crate::error::{Code, Error, Result};

/// No header is longer: the largest vocabularies make some 20 MB.
pub(super) const MAX_HEADER_BYTES: u64 = 256 << 20;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The prefix is too short: at least this many bytes of the file are needed.
    More(u64),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

pub(super) type Read<T> = Result<T, Stop>;

pub(super) fn invalid<T>(message: impl Into<String>) -> Read<T> {
    Err(Stop::Error(Error::new(Code::InvalidGguf, message)))
}

/// Adds where it happened to an error; wanting more bytes is none.
pub(super) fn within<T>(read: Read<T>, place: impl FnOnce() -> String) -> Read<T> {
    read.map_err(|stop| match stop {
        Stop::More(n) => Stop::More(n),
        Stop::Error(e) => Stop::Error(e.context(place())),
    })
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    file_len: Option<u64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], file_len: Option<u64>) -> Self {
        Self { bytes, at: 0, file_len }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// Makes sure that `count` items of at least `min_bytes` each can follow, before anything is done for them.
    pub(super) fn expect(&self, count: u64, min_bytes: u64, what: &str) -> Read<()> {
        let end = count.checked_mul(min_bytes).and_then(|n| n.checked_add(self.at as u64));
        let Some(end) = end.filter(|&end| end <= MAX_HEADER_BYTES) else {
            return invalid(format!(
                "{what}: {count} is more than a header of at most {MAX_HEADER_BYTES} bytes can hold"
            ));
        };
        if let Some(len) = self.file_len
            && end > len
        {
            return Err(Stop::Error(truncated(what, len, end)));
        }
        if end > self.bytes.len() as u64 {
            return Err(Stop::More(end));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, n: u64, what: &str) -> Read<&'a [u8]> {
        self.expect(n, 1, what)?;
        // `expect` has compared with the length of a slice: it fits.
        let n = n as usize;
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }

    pub(super) fn u32(&mut self, what: &str) -> Read<u32> {
        let mut b = [0; 4];
        b.copy_from_slice(self.take(4, what)?);
        Ok(u32::from_le_bytes(b))
    }

    pub(super) fn u64(&mut self, what: &str) -> Read<u64> {
        let mut b = [0; 8];
        b.copy_from_slice(self.take(8, what)?);
        Ok(u64::from_le_bytes(b))
    }

    pub(super) fn str(&mut self, what: &str) -> Read<&'a str> {
        let n = self.u64(what)?;
        let bytes = self.take(n, what)?;
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(s),
            Err(e) => invalid(format!("{what}: not valid UTF-8 at byte {} of {n}", e.valid_up_to())),
        }
    }
}

pub(super) fn truncated(what: &str, len: u64, needed: u64) -> Error {
    Error::new(
        Code::TruncatedFile,
        format!(
            "{what}: the file ends too early, it has {len} bytes and at least {needed} are needed; get it again"
        ),
    )
}
