//! From a file's first bytes to a [`Header`].

use std::collections::HashSet;

use super::reader::{Read, Reader, Stop, invalid, truncated, within};
use super::value::{ARRAY_ID, STRING_ID, ScalarArray, ScalarType};
use super::{Array, DEFAULT_ALIGNMENT, Header, MAGIC, Metadata, StringArray, TensorInfo, Value};
use crate::error::{Code, Error, Result};
use crate::quant::GgmlType;

/// Real files have some 40 keys and, split experts included, some thousand tensors.
const MAX_KEYS: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 16;

/// As the format has it.
const MAX_KEY_BYTES: usize = 65_535;
/// The format says 64; some writers allow more.
const MAX_NAME_BYTES: usize = 255;

/// The least that a key with its value, and that a tensor info, takes.
const MIN_KEY_VALUE_BYTES: u64 = 8 + 1 + 4 + 1;
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// What a prefix of a file says.
#[derive(Debug)]
pub enum Parsed {
    Header(Box<Header>),
    /// The header is longer than the prefix: at least this many bytes in all are needed to get further, always more
    /// than were given. Each attempt starts over, so whoever has small pieces should collect several before the next.
    NeedMore(u64),
}

/// Parses a file's header from its first bytes. `file_len` bounds what the header may announce; without it the header is
/// not held against the file's end. Once the whole file has been read, its length is known: pass it.
///
/// # Errors
/// `invalid-gguf`, `truncated-file` or `unsupported-quantization`, naming the field.
pub fn parse(prefix: &[u8], file_len: Option<u64>) -> Result<Parsed> {
    match header(&mut Reader::new(prefix, file_len), prefix, file_len) {
        Ok(header) => Ok(Parsed::Header(Box::new(header))),
        Err(Stop::More(n)) => Ok(Parsed::NeedMore(n)),
        Err(Stop::Error(e)) => Err(e),
    }
}

fn header(r: &mut Reader<'_>, prefix: &[u8], file_len: Option<u64>) -> Read<Header> {
    check_magic(prefix)?;
    r.take(4, "magic")?;
    let version = check_version(r.u32("version")?)?;
    let n_tensors = r.u64("tensor count")?;
    let n_keys = r.u64("key count")?;
    check_count("tensor count", n_tensors, MAX_TENSORS)?;
    check_count("key count", n_keys, MAX_KEYS)?;
    // Tensors follow the keys: both lower bounds hold at once.
    r.expect(n_keys, MIN_KEY_VALUE_BYTES, "key count")?;

    let mut metadata = Metadata::new();
    for i in 0..n_keys {
        let key = within(key(r), || format!("metadata key {i} of {n_keys}"))?;
        let value = within(value(r), || format!("metadata key {key}"))?;
        if metadata.insert(key, value).is_some() {
            return invalid(format!("metadata key {key} occurs twice"));
        }
    }
    let alignment = alignment(&metadata)?;

    r.expect(n_tensors, MIN_TENSOR_BYTES, "tensor count")?;
    let mut tensors = Vec::with_capacity(n_tensors as usize);
    for i in 0..n_tensors {
        tensors.push(within(tensor(r, alignment), || format!("tensor {i} of {n_tensors}"))?);
    }
    let data_offset = r.position().next_multiple_of(alignment);
    place(&mut tensors, data_offset, alignment, file_len)?;
    Ok(Header { version, metadata, tensors, data_offset })
}

/// Compares with as much of the magic as is there, and names what else a file may be.
fn check_magic(prefix: &[u8]) -> Read<()> {
    let n = prefix.len().min(MAGIC.len());
    if prefix[..n] == MAGIC[..n] {
        return Ok(());
    }
    let start = prefix.trim_ascii_start();
    let what = if start.starts_with(b"<") {
        "; this looks like a web page: is the address that of the file itself?"
    } else if start.starts_with(b"version https://git-lfs") {
        "; this is a Git LFS pointer, not the file that it stands for"
    } else if [b"ggml", b"lmgg", b"fmgg", b"tjgg"].iter().any(|m| start.starts_with(*m)) {
        "; this is a model of an older format: convert it to GGUF"
    } else {
        ""
    };
    invalid(format!(
        "magic: not a GGUF file, it starts with {:?}{what}",
        String::from_utf8_lossy(&prefix[..n])
    ))
}

fn check_version(version: u32) -> Read<u32> {
    match version {
        2 | 3 => Ok(version),
        v if (1..=3).contains(&v.swap_bytes()) => {
            invalid("version: the file is big-endian, only little-endian files are supported; convert it")
        }
        v => invalid(format!("version: {v} is not supported, only 2 and 3 are; convert the file again")),
    }
}

fn check_count(what: &str, count: u64, max: u64) -> Read<()> {
    if count > max {
        return invalid(format!("{what}: {count} is more than the {max} that are supported"));
    }
    Ok(())
}

fn key<'a>(r: &mut Reader<'a>) -> Read<&'a str> {
    let key = r.str("key")?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return invalid(format!("key: has {} bytes, not 1 to {MAX_KEY_BYTES}", key.len()));
    }
    Ok(key)
}

fn value(r: &mut Reader<'_>) -> Read<Value> {
    match r.u32("value type")? {
        STRING_ID => Ok(Value::String(r.str("string")?.into())),
        ARRAY_ID => Ok(Value::Array(array(r)?)),
        id => {
            let Some(ty) = ScalarType::from_id(id) else {
                return invalid(format!("value type: {id} is unknown"));
            };
            match ty.decode(r.take(ty.bytes() as u64, ty.name())?) {
                Some(scalar) => Ok(Value::Scalar(scalar)),
                None => invalid(format!("{}: not a valid value", ty.name())),
            }
        }
    }
}

fn array(r: &mut Reader<'_>) -> Read<Array> {
    let id = r.u32("array element type")?;
    let count = r.u64("array length")?;
    match id {
        STRING_ID => {
            r.expect(count, 8, "array length")?;
            let mut strings = StringArray::new();
            strings.reserve(count as usize);
            for i in 0..count {
                let s = within(r.str("string"), || format!("element {i} of {count}"))?;
                strings.push(s)?;
                // Says early how much is needed, whatever the strings hold.
                r.expect(count - i - 1, 8, "array length")?;
            }
            Ok(Array::Strings(strings))
        }
        ARRAY_ID => invalid("array element type: arrays of arrays are not supported"),
        id => {
            let Some(ty) = ScalarType::from_id(id) else {
                return invalid(format!("array element type: {id} is unknown"));
            };
            r.expect(count, ty.bytes() as u64, "array length")?;
            let bytes = r.take(count * ty.bytes() as u64, "array")?;
            match ScalarArray::from_bytes(ty, bytes.to_vec()) {
                Some(array) => Ok(Array::Scalars(array)),
                None => invalid(format!("array: an element is not a valid {}", ty.name())),
            }
        }
    }
}

fn alignment(metadata: &Metadata) -> Read<u64> {
    let key = "general.alignment";
    let alignment = metadata.u32(key).map_err(|e| Error::new(Code::InvalidGguf, e.message()))?;
    match alignment.unwrap_or(DEFAULT_ALIGNMENT) {
        a if a.is_power_of_two() => Ok(a.into()),
        a => invalid(format!("metadata key {key} is {a}, not a power of two")),
    }
}

/// A tensor info; its offset is still the file's own, from the start of the data.
fn tensor(r: &mut Reader<'_>, alignment: u64) -> Read<TensorInfo> {
    let name = r.str("name")?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return invalid(format!("name: has {} bytes, not 1 to {MAX_NAME_BYTES}", name.len()));
    }
    within(shape_and_place(r, name, alignment), || name.to_string())
}

fn shape_and_place(r: &mut Reader<'_>, name: &str, alignment: u64) -> Read<TensorInfo> {
    let n_dims = r.u32("dimension count")?;
    if !(1..=4).contains(&n_dims) {
        return invalid(format!("dimension count: {n_dims} is not 1 to 4"));
    }
    let mut dims = Vec::with_capacity(n_dims as usize);
    for i in 0..n_dims {
        match r.u64("dimension")? {
            0 => return invalid(format!("dimension {i}: is 0")),
            d => dims.push(d),
        }
    }
    let ty = GgmlType::from_id(r.u32("type")?)?;
    let offset = r.u64("offset")?;
    let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let rows = dims[1..].iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let block = ty.format().block_elems as u64;
    if !dims[0].is_multiple_of(block) {
        return invalid(format!(
            "dimension 0: {} is not a multiple of {block}, the block of {}",
            dims[0],
            ty.name()
        ));
    }
    let bytes = rows.and_then(|rows| ty.row_bytes(dims[0])?.checked_mul(rows));
    let (Some(_), Some(bytes)) = (elements, bytes) else {
        return invalid(format!("dimensions: {dims:?} overflow"));
    };
    if !offset.is_multiple_of(alignment) {
        return invalid(format!("offset: {offset} is not a multiple of the alignment {alignment}"));
    }
    Ok(TensorInfo { name: name.into(), dims, ty, offset, bytes })
}

/// Turns offsets into places in the file, sorts by them, and holds them against each other and the file's end.
fn place(tensors: &mut [TensorInfo], data_offset: u64, alignment: u64, file_len: Option<u64>) -> Read<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    if let Some(t) = tensors.iter().find(|t| !names.insert(&t.name)) {
        return invalid(format!("tensor {} occurs twice", t.name));
    }
    let mut total = data_offset;
    for t in tensors.iter_mut() {
        let end = t.offset.checked_add(data_offset).and_then(|start| {
            t.offset = start;
            // Room for rounding up to the alignment, too.
            start.checked_add(t.bytes)?.checked_add(alignment)
        });
        match end {
            Some(_) => total = total.max(t.offset + t.bytes),
            None => {
                return invalid(format!(
                    "tensor {}: offset: {} with {} bytes overflows",
                    t.name, t.offset, t.bytes
                ));
            }
        }
    }
    tensors.sort_by_key(|t| t.offset);
    // Where tensors without gaps would be by now: a file that is cut off looks different from an offset that is wrong.
    let mut packed = data_offset;
    let mut before: Option<&TensorInfo> = None;
    for t in tensors.iter() {
        if let Some(b) = before
            && t.offset < b.offset + b.bytes
        {
            return invalid(format!(
                "tensor {}: offset: {} lies inside tensor {} ({} to {})",
                t.name,
                t.offset,
                b.name,
                b.offset,
                b.offset + b.bytes
            ));
        }
        if let Some(len) = file_len
            && t.offset + t.bytes > len
        {
            if t.offset == packed {
                return Err(Stop::Error(truncated(&format!("tensor {}", t.name), len, total)));
            }
            return invalid(format!(
                "tensor {}: offset: {} to {} is past the file's end at {len}",
                t.name,
                t.offset,
                t.offset + t.bytes
            ));
        }
        packed = (t.offset + t.bytes).next_multiple_of(alignment);
        before = Some(t);
    }
    Ok(())
}
