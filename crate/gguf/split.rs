//! Models in several files: `<prefix>-00001-of-00003.gguf` and its siblings.
//!
//! Each part is a GGUF file of its own. The first has the model's metadata; all have `split.no` (from 0), `split.count`
//! and `split.tensors.count` (of all parts together).

use std::collections::BTreeMap;

use super::{Header, Metadata, TensorInfo};
use crate::error::{Code, Error, Result};

pub const KEY_NO: &str = "split.no";
pub const KEY_COUNT: &str = "split.count";
pub const KEY_TENSORS: &str = "split.tensors.count";

const SUFFIX: &str = ".gguf";

/// The name (or path, or address) of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartName {
    prefix: String,
    /// From 0; the name counts from 1.
    pub no: usize,
    pub count: usize,
    /// What follows the path of an address: `?download=true`.
    rest: String,
}

impl PartName {
    /// `None` where the name is not that of a part.
    pub fn parse(name: &str) -> Option<Self> {
        let path = if name.ends_with(SUFFIX) { name } else { name.split(['?', '#']).next()? };
        let rest = &name[path.len()..];
        let (head, count) = number(path.strip_suffix(SUFFIX)?)?;
        let (prefix, no) = number(head.strip_suffix("-of")?)?;
        (1 <= no && no <= count).then(|| Self { prefix: prefix.into(), no: no - 1, count, rest: rest.into() })
    }

    /// The name of part `no`, counted from 0.
    pub fn sibling(&self, no: usize) -> String {
        format!("{}-{:05}-of-{:05}{SUFFIX}{}", self.prefix, no + 1, self.count, self.rest)
    }
}

/// Splits `-00001` off the end; five digits, as the tools that split write them.
fn number(s: &str) -> Option<(&str, usize)> {
    let (head, digits) = s.rsplit_once('-')?;
    let all_digits = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
    Some((head, digits.parse().ok().filter(|_| all_digits)?))
}

/// What a file says of the split that it is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    no: u32,
    count: u32,
    /// Of all parts; some writers leave it out.
    n_tensors: Option<u64>,
}

impl Split {
    fn of(metadata: &Metadata) -> Result<Self> {
        // The tool that merges parts leaves a 0.
        let count = metadata.u32(KEY_COUNT)?.map_or(1, |count| count.max(1));
        if !(1..=99_999).contains(&count) {
            return Err(invalid(format!("metadata key {KEY_COUNT} is {count}, not 0 to 99999")));
        }
        let no = if count == 1 { 0 } else { metadata.require_u32(KEY_NO)? };
        Ok(Self { no, count, n_tensors: metadata.u64(KEY_TENSORS)? })
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidModel, message)
}

/// The parts of a model as one: which part has a tensor. A model in one file has one part.
#[derive(Debug)]
pub struct ModelFiles {
    split: Split,
    parts: Vec<Header>,
    /// Part and index into its tensors, by name.
    index: BTreeMap<String, (usize, usize)>,
}

/// A tensor and the part (from 0) that its data is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorRef<'a> {
    pub part: usize,
    pub info: &'a TensorInfo,
}

impl ModelFiles {
    /// Starts with the first part, which says how many there are.
    ///
    /// # Errors
    /// `invalid-model` where the file is a later part, or as [`ModelFiles::add`].
    pub fn new(first: Header) -> Result<Self> {
        let split = Split::of(&first.metadata)?;
        if split.no != 0 {
            return Err(invalid(format!(
                "this is part {} of {} of a model: start with the first, …-00001-of-{:05}.gguf",
                split.no + 1,
                split.count,
                split.count
            )));
        }
        let mut files = Self { split, parts: Vec::new(), index: BTreeMap::new() };
        files.push(first)?;
        Ok(files)
    }

    /// Adds the next part.
    ///
    /// # Errors
    /// `invalid-model` where it is not the next part of this model, repeats a tensor, or is the last and tensors are
    /// missing.
    pub fn add(&mut self, part: Header) -> Result<()> {
        let split = Split::of(&part.metadata)?;
        let expected = Split { no: self.parts.len() as u32, ..self.split };
        if self.is_complete() {
            return Err(invalid(format!("the model has {} parts, this is one more", self.split.count)));
        }
        if (split.no, split.count) != (expected.no, expected.count) {
            return Err(invalid(format!(
                "part {} of {} was expected, this file is part {} of {}",
                expected.no + 1,
                expected.count,
                u64::from(split.no) + 1,
                split.count
            )));
        }
        if split.n_tensors != expected.n_tensors {
            return Err(invalid(format!(
                "{KEY_TENSORS} is {} in this part and {} in the first: they are of different models",
                shown(split.n_tensors),
                shown(expected.n_tensors)
            )));
        }
        self.push(part)
    }

    fn push(&mut self, part: Header) -> Result<()> {
        let no = self.parts.len();
        for (i, tensor) in part.tensors.iter().enumerate() {
            if let Some((other, _)) = self.index.insert(tensor.name.clone(), (no, i)) {
                return Err(invalid(format!(
                    "tensor {} is in part {} and in part {}",
                    tensor.name,
                    other + 1,
                    no + 1
                )));
            }
        }
        self.parts.push(part);
        if self.is_complete()
            && let Some(n) = self.split.n_tensors
            && n != self.index.len() as u64
        {
            return Err(invalid(format!("{KEY_TENSORS} is {n}, the parts have {}", self.index.len())));
        }
        Ok(())
    }

    /// How many parts the model has, of which [`ModelFiles::parts`] are there.
    pub fn n_parts(&self) -> usize {
        self.split.count as usize
    }

    pub fn is_complete(&self) -> bool {
        self.parts.len() == self.n_parts()
    }

    pub fn parts(&self) -> &[Header] {
        &self.parts
    }

    /// The model's metadata, which is the first part's.
    pub fn metadata(&self) -> &Metadata {
        &self.parts[0].metadata
    }

    pub fn tensor(&self, name: &str) -> Option<TensorRef<'_>> {
        let &(part, i) = self.index.get(name)?;
        Some(TensorRef { part, info: &self.parts[part].tensors[i] })
    }

    /// All tensors, in the order in which their bytes arrive: by part, then by offset.
    pub fn tensors(&self) -> impl Iterator<Item = TensorRef<'_>> {
        self.parts
            .iter()
            .enumerate()
            .flat_map(|(part, h)| h.tensors.iter().map(move |info| TensorRef { part, info }))
    }
}

fn shown(n: Option<u64>) -> String {
    n.map_or_else(|| "absent".into(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::GgmlType;

    #[test]
    fn names_of_parts() {
        let name = PartName::parse("dir/qwen-7b-00002-of-00003.gguf").unwrap();
        assert_eq!((name.no, name.count), (1, 3));
        assert_eq!(name.sibling(0), "dir/qwen-7b-00001-of-00003.gguf");
        let url = PartName::parse("https://h/m-00001-of-00002.gguf?download=true#x").unwrap();
        assert_eq!(url.sibling(1), "https://h/m-00002-of-00002.gguf?download=true#x");
        for other in [
            "qwen.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-1-of-3.gguf",
            "a-00001-of-00003.bin",
            "a-0000é-of-00003.gguf",
            "-of-.gguf",
            "",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }

    fn part(no: u16, count: u16, total: i32, names: &[&str]) -> Header {
        let mut metadata = Metadata::new();
        metadata.insert(KEY_NO, no);
        metadata.insert(KEY_COUNT, count);
        metadata.insert(KEY_TENSORS, total);
        let tensors = names
            .iter()
            .map(|n| TensorInfo {
                name: n.to_string(),
                dims: vec![8],
                ty: GgmlType::F32,
                offset: 0,
                bytes: 32,
            })
            .collect();
        Header { version: 3, metadata, tensors, data_offset: 0 }
    }

    #[test]
    fn parts_that_fit() {
        let mut files = ModelFiles::new(part(0, 2, 3, &[])).unwrap();
        assert!(!files.is_complete());
        files.add(part(1, 2, 3, &["a", "b", "c"])).unwrap();
        assert!(files.is_complete());
        assert_eq!(files.tensor("b").unwrap().part, 1);
        assert!(files.tensor("d").is_none());
        assert_eq!(files.tensors().count(), 3);
    }

    #[test]
    fn parts_that_were_merged_are_one_file() {
        let files = ModelFiles::new(part(0, 0, 2, &["a", "b"])).unwrap();
        assert!(files.is_complete());
        assert_eq!(files.n_parts(), 1);
        let lost = ModelFiles::new(part(0, 0, 3, &["a", "b"])).unwrap_err();
        assert!(lost.message().contains("the parts have 2"), "{lost}");
    }

    #[test]
    fn parts_that_do_not_fit() {
        let message = |e: Error| {
            assert_eq!(e.code(), Code::InvalidModel);
            e.message()
        };
        assert!(message(ModelFiles::new(part(1, 2, 3, &["a"])).unwrap_err()).contains("00001-of-00002"));
        let mut many = part(0, 2, 3, &["a"]);
        many.metadata.insert(KEY_COUNT, 100_000u32);
        assert!(message(ModelFiles::new(many).unwrap_err()).contains(KEY_COUNT));
        let first = || ModelFiles::new(part(0, 2, 3, &["a"])).unwrap();
        for (wrong, says) in [
            (part(0, 2, 3, &["b", "c"]), "part 2 of 2 was expected"),
            (part(1, 3, 3, &["b", "c"]), "part 2 of 2 was expected"),
            (part(1, 2, 4, &["b", "c", "d"]), "different models"),
            (part(1, 2, 3, &["a", "b"]), "tensor a is in part 1 and in part 2"),
            (part(1, 2, 3, &["b"]), "the parts have 2"),
        ] {
            let text = message(first().add(wrong).unwrap_err());
            assert!(text.contains(says), "{text}");
        }
        let mut whole = first();
        whole.add(part(1, 2, 3, &["b", "c"])).unwrap();
        assert!(message(whole.add(part(1, 2, 3, &["d"])).unwrap_err()).contains("one more"));
    }
}
