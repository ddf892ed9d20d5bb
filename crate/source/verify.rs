//! Reading a stored model once more, to see whether every byte is what was stored.

use std::rc::Rc;

use super::cache::{Change, ChunkKey, Part, Record, SCHEMA, Storage, Sum, Sums};
use super::digest::{FileHash, checksum, hex};
use crate::error::{Code, Error, Result};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Bytes of the chunks that are damaged or gone.
    pub(crate) damaged: u64,
    /// SHA-256 of each part as it should be, where it is known.
    pub(crate) sha256: Vec<Option<String>>,
}

/// Reads all of a model, complete or not, and compares it with its sums. One of the first schema, which has none, is given
/// them. `check` is asked between chunks whether to go on.
///
/// # Errors
/// `cache` where there is no such model, what storage reports, and what `check` says.
pub(crate) async fn verify(
    storage: &dyn Storage,
    id: &str,
    check: &dyn Fn() -> Result<()>,
) -> Result<Verified> {
    let unknown = || Error::new(Code::Cache, format!("the cache has no model {id:?}"));
    let record = storage.get(id).await?.ok_or_else(unknown)?;
    let mut found = Verified::default();
    let mut adopted = Vec::new();
    for (n, part) in record.parts.iter().enumerate() {
        let sums = verify_part(storage, &record, n, part, &mut found, check).await?;
        let last = sums.len().checked_sub(1).and_then(|n| sums.get(n));
        let digest = last.map(|sum| hex(&sum.after.digest())).filter(|_| record.complete);
        found.sha256.push(part.sha256.clone().or_else(|| digest.clone()));
        adopted.push((sums, digest));
    }
    if record.schema < SCHEMA && record.complete && found.damaged == 0 {
        adopt(storage, id, adopted).await?;
    }
    Ok(found)
}

/// The sums of a part as they are stored, or, of one that has none, as they are.
async fn verify_part(
    storage: &dyn Storage,
    record: &Record,
    n: usize,
    part: &Part,
    found: &mut Verified,
    check: &dyn Fn() -> Result<()>,
) -> Result<Sums> {
    let chunk_bytes = u64::from(record.chunk_bytes.max(1));
    let has_sums = part.sums.len() > 0;
    let mut sums = part.sums.clone();
    let mut hash = FileHash::default();
    let mut bytes = Vec::new();
    for index in 0..part.stored.div_ceil(chunk_bytes) as u32 {
        check()?;
        let from = u64::from(index) * chunk_bytes;
        let len = chunk_bytes.min(part.stored - from);
        let key = ChunkKey { id: record.id.clone(), part: n, index };
        match storage.chunk(&key).await? {
            Some(chunk) => chunk.read(&mut bytes),
            None => bytes.clear(),
        }
        hash.update(&bytes);
        let mut good = bytes.len() as u64 == len;
        if has_sums {
            let sum = part.sums.get(index as usize);
            good &= sum.as_ref().is_some_and(|s| s.after.save() == hash.save());
            // What follows is judged by itself.
            hash = sum.map_or(hash, |s| s.after);
        } else {
            sums.put(index as usize, &Sum { checksum: checksum(&bytes), after: hash.clone() });
        }
        found.bytes += bytes.len() as u64;
        found.damaged += if good { 0 } else { len };
    }
    Ok(sums)
}

async fn adopt(storage: &dyn Storage, id: &str, adopted: Vec<(Sums, Option<String>)>) -> Result<()> {
    let edit = move |record: Option<Record>| {
        let record = record.map(|mut record| {
            if record.schema < SCHEMA && record.complete && record.parts.len() == adopted.len() {
                for (part, (sums, digest)) in record.parts.iter_mut().zip(&adopted) {
                    (part.sums, part.sha256) = (sums.clone(), digest.clone());
                }
                record.schema = SCHEMA;
            }
            record
        });
        Ok(Change { record, ..Change::default() })
    };
    storage.change(id, Rc::new(edit)).await
}
