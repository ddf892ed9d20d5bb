//! Values of metadata, as wide as the file has them.

use std::fmt;

use super::StringArray;

/// A number or truth value, of the type it has in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// The type of a [`Scalar`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

/// The type number of a string, and of an array.
pub(super) const STRING_ID: u32 = 8;
pub(super) const ARRAY_ID: u32 = 9;

/// `(type, number in the file, name, bytes)`, in the order of [`ScalarType`].
const SCALARS: [(ScalarType, u32, &str, usize); 11] = [
    (ScalarType::U8, 0, "u8", 1),
    (ScalarType::I8, 1, "i8", 1),
    (ScalarType::U16, 2, "u16", 2),
    (ScalarType::I16, 3, "i16", 2),
    (ScalarType::U32, 4, "u32", 4),
    (ScalarType::I32, 5, "i32", 4),
    (ScalarType::F32, 6, "f32", 4),
    (ScalarType::Bool, 7, "bool", 1),
    (ScalarType::U64, 10, "u64", 8),
    (ScalarType::I64, 11, "i64", 8),
    (ScalarType::F64, 12, "f64", 8),
];

impl ScalarType {
    /// The number that stands for the type in a file.
    pub fn id(self) -> u32 {
        SCALARS[self as usize].1
    }

    pub fn name(self) -> &'static str {
        SCALARS[self as usize].2
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        SCALARS[self as usize].3
    }

    pub(super) fn from_id(id: u32) -> Option<Self> {
        SCALARS.iter().find(|s| s.1 == id).map(|s| s.0)
    }

    /// The value of exactly [`ScalarType::bytes`] bytes; `None` for another number of them or a truth value that is
    /// neither 0 nor 1.
    pub(super) fn decode(self, b: &[u8]) -> Option<Scalar> {
        Some(match self {
            ScalarType::U8 => Scalar::U8(u8::from_le_bytes(b.try_into().ok()?)),
            ScalarType::I8 => Scalar::I8(i8::from_le_bytes(b.try_into().ok()?)),
            ScalarType::U16 => Scalar::U16(u16::from_le_bytes(b.try_into().ok()?)),
            ScalarType::I16 => Scalar::I16(i16::from_le_bytes(b.try_into().ok()?)),
            ScalarType::U32 => Scalar::U32(u32::from_le_bytes(b.try_into().ok()?)),
            ScalarType::I32 => Scalar::I32(i32::from_le_bytes(b.try_into().ok()?)),
            ScalarType::F32 => Scalar::F32(f32::from_le_bytes(b.try_into().ok()?)),
            ScalarType::Bool => match b {
                [0] => Scalar::Bool(false),
                [1] => Scalar::Bool(true),
                _ => return None,
            },
            ScalarType::U64 => Scalar::U64(u64::from_le_bytes(b.try_into().ok()?)),
            ScalarType::I64 => Scalar::I64(i64::from_le_bytes(b.try_into().ok()?)),
            ScalarType::F64 => Scalar::F64(f64::from_le_bytes(b.try_into().ok()?)),
        })
    }
}

impl Scalar {
    pub fn ty(self) -> ScalarType {
        match self {
            Scalar::U8(_) => ScalarType::U8,
            Scalar::I8(_) => ScalarType::I8,
            Scalar::U16(_) => ScalarType::U16,
            Scalar::I16(_) => ScalarType::I16,
            Scalar::U32(_) => ScalarType::U32,
            Scalar::I32(_) => ScalarType::I32,
            Scalar::F32(_) => ScalarType::F32,
            Scalar::Bool(_) => ScalarType::Bool,
            Scalar::U64(_) => ScalarType::U64,
            Scalar::I64(_) => ScalarType::I64,
            Scalar::F64(_) => ScalarType::F64,
        }
    }

    /// A whole number, of whatever width.
    pub fn as_integer(self) -> Option<i128> {
        Some(match self {
            Scalar::U8(v) => v.into(),
            Scalar::I8(v) => v.into(),
            Scalar::U16(v) => v.into(),
            Scalar::I16(v) => v.into(),
            Scalar::U32(v) => v.into(),
            Scalar::I32(v) => v.into(),
            Scalar::U64(v) => v.into(),
            Scalar::I64(v) => v.into(),
            Scalar::F32(_) | Scalar::F64(_) | Scalar::Bool(_) => return None,
        })
    }

    /// A number.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Scalar::F32(v) => Some(v.into()),
            Scalar::F64(v) => Some(v),
            other => other.as_integer().map(|v| v as f64),
        }
    }

    pub fn as_bool(self) -> Option<bool> {
        match self {
            Scalar::Bool(v) => Some(v),
            _ => None,
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Scalar::U8(v) => out.extend(v.to_le_bytes()),
            Scalar::I8(v) => out.extend(v.to_le_bytes()),
            Scalar::U16(v) => out.extend(v.to_le_bytes()),
            Scalar::I16(v) => out.extend(v.to_le_bytes()),
            Scalar::U32(v) => out.extend(v.to_le_bytes()),
            Scalar::I32(v) => out.extend(v.to_le_bytes()),
            Scalar::F32(v) => out.extend(v.to_le_bytes()),
            Scalar::Bool(v) => out.push(v.into()),
            Scalar::U64(v) => out.extend(v.to_le_bytes()),
            Scalar::I64(v) => out.extend(v.to_le_bytes()),
            Scalar::F64(v) => out.extend(v.to_le_bytes()),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::F32(v) => write!(f, "{v}"),
            Scalar::F64(v) => write!(f, "{v}"),
            Scalar::Bool(v) => write!(f, "{v}"),
            other => match other.as_integer() {
                Some(v) => write!(f, "{v}"),
                None => Ok(()),
            },
        }
    }
}

/// Scalars of one type, packed as in the file, so that they take no more memory than there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalarArray {
    ty: ScalarType,
    bytes: Vec<u8>,
}

impl ScalarArray {
    /// `bytes` is a whole number of values that all decode.
    pub(super) fn from_bytes(ty: ScalarType, bytes: Vec<u8>) -> Option<Self> {
        let valid = bytes.len().is_multiple_of(ty.bytes())
            && (ty != ScalarType::Bool || bytes.iter().all(|&b| b <= 1));
        valid.then_some(Self { ty, bytes })
    }

    pub fn ty(&self) -> ScalarType {
        self.ty
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.ty.bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Scalar> + '_ {
        self.bytes.chunks_exact(self.ty.bytes()).filter_map(|b| self.ty.decode(b))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// An array of one element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Array {
    Scalars(ScalarArray),
    Strings(StringArray),
}

impl Array {
    pub fn len(&self) -> usize {
        match self {
            Array::Scalars(a) => a.len(),
            Array::Strings(a) => a.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    String(String),
    Array(Array),
}

impl Value {
    /// What it is, for messages: `u32 7`, `"qwen2"`, `an array of 3 strings`.
    pub fn describe(&self) -> String {
        match self {
            Value::Scalar(s) => format!("{} {s}", s.ty().name()),
            Value::String(s) if s.chars().count() <= 40 => format!("{s:?}"),
            Value::String(s) => format!("a string of {} bytes", s.len()),
            Value::Array(Array::Scalars(a)) => format!("an array of {} {}", a.len(), a.ty().name()),
            Value::Array(Array::Strings(a)) => format!("an array of {} strings", a.len()),
        }
    }
}

macro_rules! scalar_conversions {
    ($($t:ty => $variant:ident),*) => {$(
        impl From<$t> for Scalar {
            fn from(v: $t) -> Self {
                Scalar::$variant(v)
            }
        }
        impl From<$t> for Value {
            fn from(v: $t) -> Self {
                Value::Scalar(v.into())
            }
        }
        impl From<&[$t]> for Value {
            fn from(values: &[$t]) -> Self {
                let mut bytes = Vec::with_capacity(std::mem::size_of_val(values));
                for &v in values {
                    Scalar::from(v).encode(&mut bytes);
                }
                Value::Array(Array::Scalars(ScalarArray { ty: ScalarType::$variant, bytes }))
            }
        }
    )*};
}
scalar_conversions!(
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
    u64 => U64, i64 => I64, f64 => F64
);

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::String(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::String(s)
    }
}

impl From<StringArray> for Value {
    fn from(strings: StringArray) -> Self {
        Value::Array(Array::Strings(strings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, s) in SCALARS.iter().enumerate() {
            assert_eq!(s.0 as usize, i, "{}", s.2);
            assert_eq!(ScalarType::from_id(s.1), Some(s.0));
        }
        assert_eq!(ScalarType::from_id(STRING_ID), None);
        assert_eq!(ScalarType::from_id(ARRAY_ID), None);
        assert_eq!(ScalarType::from_id(13), None);
    }

    #[test]
    fn a_truth_value_is_0_or_1() {
        assert_eq!(ScalarType::Bool.decode(&[1]), Some(Scalar::Bool(true)));
        assert_eq!(ScalarType::Bool.decode(&[2]), None);
        assert!(ScalarArray::from_bytes(ScalarType::Bool, vec![0, 1, 2]).is_none());
    }
}
