//! The metadata of a file by key, and typed ways to ask for it.

use std::collections::BTreeMap;

use super::{Array, Scalar, StringArray, Value};
use crate::error::{Code, Error, Result};

/// The metadata of a file, by key.
///
/// A getter gives `None` for a key that is absent and an `invalid-model` error, naming the key and what was found, for a
/// value of another kind. Whole numbers of any width and sign are accepted where the value fits. Each has a `require_`
/// twin for which absence is an error too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; returns what it had.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.values.insert(key.into(), value.into())
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v))
    }

    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", |v| match v {
            Value::String(s) => Some(s.as_str()),
            _ => None,
        })
    }

    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "a whole number of 32 bits", |v| integer(v)?.try_into().ok())
    }

    pub fn i32(&self, key: &str) -> Result<Option<i32>> {
        self.typed(key, "a whole number of 32 bits with a sign", |v| integer(v)?.try_into().ok())
    }

    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number of 64 bits", |v| integer(v)?.try_into().ok())
    }

    /// A finite number.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a finite number", |v| match v {
            Value::Scalar(s) => s.as_f64().map(|v| v as f32).filter(|v| v.is_finite()),
            _ => None,
        })
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |v| match v {
            Value::Scalar(s) => s.as_bool(),
            _ => None,
        })
    }

    pub fn strings(&self, key: &str) -> Result<Option<&StringArray>> {
        self.typed(key, "an array of strings", |v| match v {
            Value::Array(Array::Strings(a)) => Some(a),
            _ => None,
        })
    }

    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.typed(key, "an array of whole numbers of 32 bits", |v| {
            scalars(v, |s| s.as_integer()?.try_into().ok())
        })
    }

    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.typed(key, "an array of whole numbers of 32 bits", |v| {
            scalars(v, |s| s.as_integer()?.try_into().ok())
        })
    }

    pub fn bools(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.typed(key, "an array of true and false", |v| scalars(v, Scalar::as_bool))
    }

    pub fn require_str(&self, key: &str) -> Result<&str> {
        require(key, self.str(key))
    }

    pub fn require_u32(&self, key: &str) -> Result<u32> {
        require(key, self.u32(key))
    }

    pub fn require_u64(&self, key: &str) -> Result<u64> {
        require(key, self.u64(key))
    }

    pub fn require_f32(&self, key: &str) -> Result<f32> {
        require(key, self.f32(key))
    }

    pub fn require_bool(&self, key: &str) -> Result<bool> {
        require(key, self.bool(key))
    }

    pub fn require_strings(&self, key: &str) -> Result<&StringArray> {
        require(key, self.strings(key))
    }

    pub fn require_u32s(&self, key: &str) -> Result<Vec<u32>> {
        require(key, self.u32s(key))
    }

    pub fn require_i32s(&self, key: &str) -> Result<Vec<i32>> {
        require(key, self.i32s(key))
    }

    pub fn require_bools(&self, key: &str) -> Result<Vec<bool>> {
        require(key, self.bools(key))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        match convert(value) {
            Some(v) => Ok(Some(v)),
            None => Err(Error::new(
                Code::InvalidModel,
                format!("metadata key {key} is {}, not {wanted}", value.describe()),
            )),
        }
    }
}

fn require<T>(key: &str, value: Result<Option<T>>) -> Result<T> {
    value?.ok_or_else(|| Error::new(Code::InvalidModel, format!("metadata key {key} is missing")))
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Scalar(s) => s.as_integer(),
        _ => None,
    }
}

fn scalars<T>(value: &Value, convert: impl Fn(Scalar) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(Array::Scalars(a)) => a.iter().map(convert).collect(),
        // An empty array may have any element type.
        Value::Array(a) if a.is_empty() => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_any_width_are_accepted_where_they_fit() {
        let mut m = Metadata::new();
        m.insert("small", 7u8);
        m.insert("signed", 7i64);
        m.insert("negative", -1i32);
        m.insert("large", 1u64 << 32);
        m.insert("types", [1i32, 3, 4].as_slice());
        assert_eq!(m.u32("small").unwrap(), Some(7));
        assert_eq!(m.u32("signed").unwrap(), Some(7));
        assert_eq!(m.u64("large").unwrap(), Some(1 << 32));
        assert_eq!(m.u32s("types").unwrap(), Some(vec![1, 3, 4]));
        assert_eq!(m.u32("absent").unwrap(), None);
        for key in ["negative", "large"] {
            let error = m.u32(key).unwrap_err();
            assert_eq!(error.code(), Code::InvalidModel);
            assert!(error.message().contains(key), "{error}");
        }
        assert_eq!(m.str("small").unwrap_err().message(), "metadata key small is u8 7, not a string");
        assert_eq!(m.require_f32("absent").unwrap_err().message(), "metadata key absent is missing");
    }

    #[test]
    fn numbers_are_finite() {
        let mut m = Metadata::new();
        m.insert("eps", 1e-6f32);
        m.insert("theta", 1_000_000u32);
        m.insert("nan", f32::NAN);
        m.insert("huge", 1e300f64);
        assert_eq!(m.f32("eps").unwrap(), Some(1e-6));
        assert_eq!(m.f32("theta").unwrap(), Some(1e6));
        assert!(m.f32("nan").is_err());
        assert!(m.f32("huge").is_err());
    }

    #[test]
    fn an_empty_array_is_an_array_of_anything() {
        let mut m = Metadata::new();
        m.insert("none", StringArray::new());
        assert_eq!(m.bools("none").unwrap(), Some(vec![]));
        assert_eq!(m.strings("none").unwrap().map(StringArray::len), Some(0));
    }
}
