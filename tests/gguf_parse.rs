//! GGUF parsing: what is written is read back, and what is malformed is refused with the field's name.

use qwenlet::Code;
use qwenlet::gguf::{Header, Parsed, StringArray, Value, parse, writer::Writer};
use qwenlet::quant::{FORMATS, GgmlType};

/// A file with a key of every type and two tensors.
fn sample() -> Vec<u8> {
    let mut w = Writer::new();
    w.set("general.architecture", "qwen2");
    w.set("u8", 1u8).set("i8", -1i8).set("u16", 2u16).set("i16", -2i16).set("u32", 3u32).set("i32", -3i32);
    w.set("f32", 0.5f32).set("bool", true).set("u64", 4u64).set("i64", -4i64).set("f64", 0.25f64);
    w.set("strings", ["a", "", "ü"].into_iter().collect::<StringArray>());
    w.set("numbers", [1i32, -2, 3].as_slice()).set("flags", [true, false].as_slice());
    w.tensor("a.weight", &[32, 2], GgmlType::Q4_0, vec![7; 36]).unwrap();
    w.tensor("b.weight", &[3], GgmlType::F32, vec![1; 12]).unwrap();
    w.to_bytes()
}

fn header(bytes: &[u8]) -> Header {
    match parse(bytes, Some(bytes.len() as u64)).unwrap() {
        Parsed::Header(h) => *h,
        Parsed::NeedMore(n) => panic!("the whole file is there, but {n} bytes are wanted"),
    }
}

fn refused(bytes: &[u8]) -> (Code, String) {
    match parse(bytes, Some(bytes.len() as u64)) {
        Ok(parsed) => panic!("accepted: {parsed:?}"),
        Err(e) => (e.code(), e.message()),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = sample();
    let h = header(&bytes);
    assert_eq!(h.version, 3);
    assert_eq!(h.metadata.len(), 15);
    assert_eq!(h.metadata.str("general.architecture").unwrap(), Some("qwen2"));
    assert_eq!(h.metadata.get("i16"), Some(&Value::from(-2i16)));
    assert_eq!(h.metadata.get("f64"), Some(&Value::from(0.25f64)));
    assert_eq!(h.metadata.get("i64"), Some(&Value::from(-4i64)));
    assert_eq!(h.metadata.bool("bool").unwrap(), Some(true));
    let strings = h.metadata.require_strings("strings").unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), ["a", "", "ü"]);
    assert_eq!((strings.get(2), strings.get(3)), (Some("ü"), None));
    assert_eq!(h.metadata.require_i32s("numbers").unwrap(), [1, -2, 3]);
    assert_eq!(h.metadata.require_bools("flags").unwrap(), [true, false]);
    let [a, b] = h.tensors.as_slice() else { panic!("{:?}", h.tensors) };
    assert_eq!(
        (a.name.as_str(), a.dims.as_slice(), a.ty, a.bytes),
        ("a.weight", [32, 2].as_slice(), GgmlType::Q4_0, 36)
    );
    assert_eq!((a.offset, b.offset), (h.data_offset, h.data_offset + 64));
    assert_eq!(bytes[a.offset as usize..][..36], [7; 36]);
    assert_eq!(bytes[b.offset as usize..][..12], [1; 12]);
    assert_eq!(h.data_end(), b.offset + 12);
}

#[test]
fn every_type_has_its_place_in_the_index() {
    let mut w = Writer::new();
    for f in &FORMATS {
        w.tensor(f.name, &[256, 3], f.ty, vec![0; 256 / f.block_elems * f.block_bytes * 3]).unwrap();
    }
    let h = header(&w.to_bytes());
    for (f, t) in FORMATS.iter().zip(&h.tensors) {
        assert_eq!((t.name.as_str(), t.ty, t.n_elements()), (f.name, f.ty, 768));
    }
}

#[test]
fn version_2_is_read_and_others_are_refused() {
    let mut bytes = sample();
    bytes[4] = 2;
    assert_eq!(header(&bytes).version, 2);
    for (version, says) in [(1u32, "version: 1"), (4, "version: 4"), (3u32.swap_bytes(), "big-endian")] {
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        let (code, message) = refused(&bytes);
        assert_eq!(code, Code::InvalidGguf);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn other_files_are_named() {
    for (start, says) in [
        ("<!doctype html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1", "Git LFS"),
        ("tjgg\u{3}\0\0\0", "older format"),
        ("PK\u{3}\u{4}", "magic"),
    ] {
        let (code, message) = refused(start.as_bytes());
        assert_eq!(code, Code::InvalidGguf);
        assert!(message.contains(says), "{message}");
    }
}

/// A prefix asks for more, never for less than it has nor for more than the file, until it has the header.
#[test]
fn any_prefix_is_enough_or_asks_for_more() {
    let bytes = sample();
    let len = bytes.len() as u64;
    let data = header(&bytes).data_offset;
    let mut asked = 0;
    for n in 0..bytes.len() {
        for file_len in [Some(len), None] {
            match parse(&bytes[..n], file_len).unwrap() {
                Parsed::NeedMore(need) => {
                    asked += 1;
                    assert!((n as u64) < need && need <= data, "{need} of {n}");
                }
                Parsed::Header(_) => assert!(n as u64 + 32 > data, "parsed from {n} of {data}"),
            }
        }
    }
    assert!(asked > 500);
}

/// Following what is asked for ends, in few steps.
#[test]
fn what_is_asked_for_leads_to_the_header() {
    let bytes = sample();
    let (mut n, mut steps) = (0, 0);
    while let Parsed::NeedMore(need) = parse(&bytes[..n], None).unwrap() {
        n = need as usize;
        steps += 1;
        assert!(steps < 200);
    }
}

#[test]
fn a_file_that_is_cut_off_says_how_long_it_is_and_should_be() {
    let bytes = sample();
    for n in 0..header(&bytes).data_end() as usize {
        let (code, message) = refused(&bytes[..n]);
        assert_eq!(code, Code::TruncatedFile, "{n}: {message}");
        assert!(message.contains(&format!("{n} bytes")), "{n}: {message}");
    }
    let end = header(&bytes).data_end();
    let (_, message) = refused(&bytes[..end as usize - 1]);
    assert!(message.contains("tensor b.weight") && message.contains(&format!("at least {end}")), "{message}");
}

/// Raw bytes of a file, put together by hand so that anything can be wrong with it.
#[derive(Clone)]
struct Raw {
    n_tensors: u64,
    n_keys: u64,
    keys: Vec<u8>,
    tensors: Vec<u8>,
    data: usize,
}

impl Raw {
    fn new() -> Self {
        Self { n_tensors: 0, n_keys: 0, keys: vec![], tensors: vec![], data: 4096 }
    }

    fn key(mut self, name: &[u8], ty: u32, value: &[&[u8]]) -> Self {
        self.n_keys += 1;
        self.keys.extend((name.len() as u64).to_le_bytes());
        self.keys.extend(name);
        self.keys.extend(ty.to_le_bytes());
        self.keys.extend(value.concat());
        self
    }

    fn tensor(mut self, name: &str, dims: &[u64], ty: u32, offset: u64) -> Self {
        self.n_tensors += 1;
        self.tensors.extend((name.len() as u64).to_le_bytes());
        self.tensors.extend(name.as_bytes());
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        for d in dims {
            self.tensors.extend(d.to_le_bytes());
        }
        self.tensors.extend(ty.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut b = b"GGUF\x03\0\0\0".to_vec();
        b.extend(self.n_tensors.to_le_bytes());
        b.extend(self.n_keys.to_le_bytes());
        b.extend(&self.keys);
        b.extend(&self.tensors);
        b.resize(b.len().next_multiple_of(32) + self.data, 0);
        b
    }
}

const HUGE: [u8; 8] = (1u64 << 60).to_le_bytes();
const ONE: [u8; 8] = 1u64.to_le_bytes();
const STRING: [u8; 4] = 8u32.to_le_bytes();
const U32: [u8; 4] = 4u32.to_le_bytes();

#[test]
fn hostile_files_are_refused_with_the_field_named() {
    let raw = Raw::new;
    let good = |name: &str, offset| raw().tensor(name, &[32], 0, offset);
    let cases: Vec<(&str, Raw, Code, &str)> = vec![
        (
            "tensors",
            Raw { n_tensors: 1 << 60, ..raw() },
            Code::InvalidGguf,
            "tensor count: 1152921504606846976",
        ),
        ("keys", Raw { n_keys: u64::MAX, ..raw() }, Code::InvalidGguf, "key count"),
        ("keys beyond the file", Raw { n_keys: 60_000, ..raw() }, Code::TruncatedFile, "key count"),
        ("tensors beyond the file", Raw { n_tensors: 60_000, ..raw() }, Code::TruncatedFile, "tensor count"),
        ("key", Raw { n_keys: 1, keys: HUGE.into(), ..raw() }, Code::InvalidGguf, "metadata key 0 of 1: key"),
        ("empty key", raw().key(b"", 0, &[&[0]]), Code::InvalidGguf, "key: has 0 bytes"),
        ("bad UTF-8 key", raw().key(b"a\xff", 0, &[&[0]]), Code::InvalidGguf, "UTF-8"),
        (
            "duplicate key",
            raw().key(b"k", 0, &[&[0]]).key(b"k", 0, &[&[0]]),
            Code::InvalidGguf,
            "k occurs twice",
        ),
        ("value type", raw().key(b"k", 13, &[&[0]]), Code::InvalidGguf, "metadata key k: value type: 13"),
        ("bool", raw().key(b"k", 7, &[&[2]]), Code::InvalidGguf, "metadata key k: bool"),
        ("string", raw().key(b"k", 8, &[&HUGE]), Code::InvalidGguf, "metadata key k: string"),
        (
            "string beyond the file",
            raw().key(b"k", 8, &[&9999u64.to_le_bytes()]),
            Code::TruncatedFile,
            "k: string",
        ),
        (
            "bad UTF-8",
            raw().key(b"k", 8, &[&ONE, b"\xff"]),
            Code::InvalidGguf,
            "metadata key k: string: not valid UTF-8",
        ),
        ("array", raw().key(b"k", 9, &[&U32, &HUGE]), Code::InvalidGguf, "metadata key k: array length"),
        (
            "array overflow",
            raw().key(b"k", 9, &[&U32, &[255; 8]]),
            Code::InvalidGguf,
            "metadata key k: array length",
        ),
        (
            "array beyond the file",
            raw().key(b"k", 9, &[&U32, &9999u64.to_le_bytes()]),
            Code::TruncatedFile,
            "k: array",
        ),
        ("strings", raw().key(b"k", 9, &[&STRING, &HUGE]), Code::InvalidGguf, "metadata key k: array length"),
        (
            "string in strings",
            raw().key(b"k", 9, &[&STRING, &ONE, &HUGE]),
            Code::InvalidGguf,
            "k: element 0 of 1",
        ),
        (
            "nested array",
            raw().key(b"k", 9, &[&9u32.to_le_bytes(), &ONE]),
            Code::InvalidGguf,
            "arrays of arrays",
        ),
        (
            "element type",
            raw().key(b"k", 9, &[&99u32.to_le_bytes(), &ONE]),
            Code::InvalidGguf,
            "element type: 99",
        ),
        (
            "bools",
            raw().key(b"k", 9, &[&7u32.to_le_bytes(), &ONE, &[9]]),
            Code::InvalidGguf,
            "not a valid bool",
        ),
        (
            "alignment 0",
            raw().key(b"general.alignment", 4, &[&[0; 4]]),
            Code::InvalidGguf,
            "general.alignment is 0",
        ),
        ("alignment 48", raw().key(b"general.alignment", 4, &[&[48, 0, 0, 0]]), Code::InvalidGguf, "is 48"),
        (
            "alignment text",
            raw().key(b"general.alignment", 8, &[&ONE, b"x"]),
            Code::InvalidGguf,
            "general.alignment",
        ),
        ("no dimensions", raw().tensor("t", &[], 0, 0), Code::InvalidGguf, "t: dimension count: 0"),
        ("5 dimensions", raw().tensor("t", &[1; 5], 0, 0), Code::InvalidGguf, "t: dimension count: 5"),
        ("zero", raw().tensor("t", &[32, 0], 0, 0), Code::InvalidGguf, "t: dimension 1: is 0"),
        ("product", raw().tensor("t", &[1 << 60, 1 << 60], 0, 0), Code::InvalidGguf, "t: dimensions"),
        ("bytes", raw().tensor("t", &[1 << 62, 3], 0, 0), Code::InvalidGguf, "t: dimensions"),
        ("half a block", raw().tensor("t", &[48], 2, 0), Code::InvalidGguf, "t: dimension 0: 48"),
        (
            "type",
            raw().tensor("blk.0.t", &[256], 16, 0),
            Code::UnsupportedQuantization,
            "blk.0.t: tensor type 16",
        ),
        (
            "type number",
            raw().tensor("t", &[256], u32::MAX, 0),
            Code::UnsupportedQuantization,
            "t: tensor type",
        ),
        ("misaligned", good("t", 8), Code::InvalidGguf, "t: offset: 8"),
        ("past the end", good("t", 1 << 40), Code::InvalidGguf, "tensor t: offset: 1099511"),
        ("overflow", good("t", !31), Code::InvalidGguf, "tensor t: offset"),
        ("overlap", good("s", 0).tensor("t", &[32], 0, 96), Code::InvalidGguf, "tensor t: offset"),
        ("cycle", good("s", 128).tensor("t", &[64], 0, 0), Code::InvalidGguf, "inside tensor t"),
        ("same place", good("s", 0).tensor("t", &[32], 0, 0), Code::InvalidGguf, "inside tensor s"),
        (
            "duplicate tensor",
            good("t", 0).tensor("t", &[32], 0, 128),
            Code::InvalidGguf,
            "tensor t occurs twice",
        ),
        ("no name", good("", 0), Code::InvalidGguf, "name: has 0 bytes"),
        (
            "longer than the file",
            raw().tensor("t", &[4096], 0, 0),
            Code::TruncatedFile,
            "tensor t: the file ends",
        ),
    ];
    for (name, raw, code, says) in cases {
        let (found, message) = refused(&raw.bytes());
        assert_eq!(found, code, "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
    }
    // The parts that the cases are made of are fine by themselves; order is not important.
    let h = header(&good("s", 128).tensor("t", &[32], 0, 0).bytes());
    assert_eq!(h.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["t", "s"]);
}

#[test]
fn without_a_known_length_a_header_has_a_limit() {
    let bytes = Raw::new().key(b"k", 9, &[&U32, &(1u64 << 40).to_le_bytes()]).bytes();
    let error = parse(&bytes, None).unwrap_err();
    assert!(error.message().contains("metadata key k: array length"), "{error}");
    let bytes = Raw::new().key(b"k", 9, &[&U32, &10_000u64.to_le_bytes()]).bytes();
    assert!(matches!(parse(&bytes, None), Ok(Parsed::NeedMore(n)) if n > 40_000));
}
