//! What is known of a stored model.

use serde::{Deserialize, Serialize};

use crate::gguf::PartName;
use crate::source::digest::FileHash;
use crate::source::download::Version;

/// Of the records' form. 1: without sums; its complete models are read unchecked, its incomplete ones are begun anew.
pub(crate) const SCHEMA: u32 = 2;

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    #[serde(default = "first_schema")]
    pub(crate) schema: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) chunk_bytes: u32,
    /// Milliseconds since 1970.
    pub(crate) created: f64,
    pub(crate) last_used: f64,
    /// Set in the transaction that makes a whole and verified model visible, and only there.
    pub(crate) complete: bool,
    /// Names the load that writes; another load takes over by putting its own name here.
    pub(crate) writer: String,
    pub(crate) parts: Vec<Part>,
    /// How many parts the model has, as its first one says. Records that were completed without it may lack some.
    #[serde(default)]
    pub(crate) n_parts: Option<u32>,
}

fn first_schema() -> u32 {
    1
}

/// One file of a stored model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Where it is from; `None` for a file that the user chose.
    #[serde(default)]
    pub(crate) url: Option<String>,
    #[serde(default)]
    pub(crate) version: Version,
    /// Bytes there, from the start.
    pub(crate) stored: u64,
    /// The SHA-256 that it should have, in hexadecimal digits, and who says so.
    #[serde(default)]
    pub(crate) expected: Option<Expected>,
    /// The SHA-256 that it has, once it is whole.
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    #[serde(default)]
    pub(crate) sums: Sums,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Expected {
    pub(crate) sha256: String,
    pub(crate) by: Authority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Authority {
    /// Whoever asked for the model; the catalogue, perhaps.
    Caller,
    Hub,
}

/// Of each chunk: its checksum, and the state of the file's SHA-256 behind it. Two neighbouring states prove a chunk as well
/// as a digest of its own would, and the last one is where hashing goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sums(serde_bytes::ByteBuf);

/// One chunk's.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    pub(crate) checksum: u64,
    pub(crate) after: FileHash,
}

impl Sums {
    const SUM: usize = 8 + FileHash::STATE;

    pub(crate) fn len(&self) -> usize {
        self.0.len() / Self::SUM
    }

    pub(crate) fn get(&self, n: usize) -> Option<Sum> {
        let (checksum, state) = self.0.get(n * Self::SUM..(n + 1) * Self::SUM)?.split_at(8);
        Some(Sum {
            checksum: u64::from_le_bytes(checksum.try_into().ok()?),
            after: FileHash::restore(state)?,
        })
    }

    /// The hash in front of chunk `n`.
    pub(crate) fn before(&self, n: usize) -> Option<FileHash> {
        match n {
            0 => Some(FileHash::default()),
            n => Some(self.get(n - 1)?.after),
        }
    }

    /// Sets the sum of chunk `n`, which becomes the last one; false where chunks before it are missing.
    pub(crate) fn put(&mut self, n: usize, sum: &Sum) -> bool {
        if n > self.len() {
            return false;
        }
        self.0.truncate(n * Self::SUM);
        self.0.extend_from_slice(&sum.checksum.to_le_bytes());
        self.0.extend_from_slice(&sum.after.save());
        true
    }
}

impl Record {
    /// Whether it is complete and has every part: as many as its first one says, else as the name of that says, or as are
    /// `given`.
    pub(crate) fn is_whole(&self, given: usize) -> bool {
        let named = || PartName::parse(&self.parts.first()?.name).map(|part| part.count);
        let n_parts = match self.n_parts {
            Some(n) => n as usize,
            None => named().unwrap_or(1).max(given),
        };
        self.complete && self.parts.len() >= n_parts
    }

    /// Bytes in storage.
    pub(crate) fn stored(&self) -> u64 {
        self.parts.iter().map(|p| p.stored).sum()
    }

    /// Bytes of the whole model, where all the parts' sizes are known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.parts.iter().map(|p| if self.complete { Some(p.stored) } else { p.version.total }).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_grow_in_order_and_the_last_can_be_replaced() {
        let sum = |byte: u8| {
            let mut after = FileHash::default();
            after.update(&[byte]);
            Sum { checksum: u64::from(byte), after }
        };
        let mut sums = Sums::default();
        assert!(!sums.put(1, &sum(1)));
        assert!(sums.put(0, &sum(1)));
        assert!(sums.put(1, &sum(2)));
        assert!(sums.put(1, &sum(3)));
        assert_eq!(sums.len(), 2);
        assert_eq!(sums.get(1).unwrap().checksum, 3);
        assert_eq!(sums.before(1).unwrap().digest(), sum(1).after.digest());
        assert_eq!(sums.before(0).unwrap().digest(), FileHash::default().digest());
        assert!(sums.get(2).is_none() && sums.before(3).is_none());
    }

    #[test]
    fn a_record_of_the_first_schema_is_read() {
        let old = r#"{"id":"a","name":"a.gguf","chunkBytes":8388608,"created":1,"lastUsed":2,"complete":true,"writer":"w",
            "parts":[{"name":"a.gguf","total":5,"stored":5,"etag":null}]}"#;
        let record: Record = serde_json::from_str(old).unwrap();
        assert_eq!((record.schema, record.total(), record.parts[0].sums.len()), (1, Some(5), 0));
    }
}
