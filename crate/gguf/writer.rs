//! Writes GGUF v3 files: small models of tests and demonstrations.

use std::io::{self, Write};

use super::value::{ARRAY_ID, STRING_ID};
use super::{Array, DEFAULT_ALIGNMENT, MAGIC, Value};
use crate::error::{Error, Result};
use crate::quant::GgmlType;

/// A file to be: keys in the order in which they were set, tensors in the order in which they were added.
#[derive(Debug, Default)]
pub struct Writer {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    ty: GgmlType,
    data: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key that was not set before.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Adds a tensor; `dims` has the fastest dimension first.
    ///
    /// # Errors
    /// `invalid-argument` where `data` is not as long as shape and type say.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        dims: &[u64],
        ty: GgmlType,
        data: Vec<u8>,
    ) -> Result<&mut Self> {
        let name = name.into();
        let bytes = dims
            .split_first()
            .and_then(|(&cols, rest)| rest.iter().try_fold(ty.row_bytes(cols)?, |n, &d| n.checked_mul(d)));
        if bytes != Some(data.len() as u64) {
            return Err(Error::invalid_argument(format!(
                "tensor {name}: {} bytes do not make {dims:?} of {}",
                data.len(),
                ty.name()
            )));
        }
        self.tensors.push(Tensor { name, dims: dims.into(), ty, data });
        Ok(self)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What `out` fails with.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend(MAGIC);
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_str(&mut head, key);
            put_value(&mut head, value);
        }
        let mut offset = 0u64;
        for t in &self.tensors {
            put_str(&mut head, &t.name);
            head.extend((t.dims.len() as u32).to_le_bytes());
            for d in &t.dims {
                head.extend(d.to_le_bytes());
            }
            head.extend(t.ty.format().id.to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += self.aligned(t.data.len()) as u64;
        }
        head.resize(self.aligned(head.len()), 0);
        out.write_all(&head)?;
        for t in &self.tensors {
            out.write_all(&t.data)?;
            out.write_all(&vec![0; self.aligned(t.data.len()) - t.data.len()])?;
        }
        out.flush()
    }

    /// The file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes).expect("a vector takes everything");
        bytes
    }

    fn aligned(&self, n: usize) -> usize {
        n.next_multiple_of(DEFAULT_ALIGNMENT as usize)
    }
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Scalar(s) => {
            out.extend(s.ty().id().to_le_bytes());
            s.encode(out);
        }
        Value::String(s) => {
            out.extend(STRING_ID.to_le_bytes());
            put_str(out, s);
        }
        Value::Array(array) => {
            out.extend(ARRAY_ID.to_le_bytes());
            let id = match array {
                Array::Scalars(a) => a.ty().id(),
                Array::Strings(_) => STRING_ID,
            };
            out.extend(id.to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            match array {
                Array::Scalars(a) => out.extend(a.bytes()),
                Array::Strings(a) => a.iter().for_each(|s| put_str(out, s)),
            }
        }
    }
}
