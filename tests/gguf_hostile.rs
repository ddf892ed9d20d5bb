//! Whatever bytes a file has, parsing it ends in a header that holds or in a typed error, and takes memory in
//! proportion to the bytes that are there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;

use arbtest::arbitrary::{Result as Arbitrary, Unstructured};
use arbtest::arbtest;
use qwenlet::gguf::{Header, Parsed, PartName, StringArray, parse, writer::Writer};
use qwenlet::quant::GgmlType;
use qwenlet::{Code, Error};

/// The system's allocator, counting what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grew(n: usize) {
    let held = HELD.get().wrapping_add(n);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: passes everything on to the system's allocator unchanged; the counters are plain cells without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller's promise about `layout` holds here too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise about `pointer` and `layout` holds here too.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `work`, and the most bytes that this thread held for it at a time.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

fn sample() -> Vec<u8> {
    let mut w = Writer::new();
    w.set("general.architecture", "qwen2").set("general.alignment", 32u32);
    w.set("qwen2.block_count", 24u32)
        .set("eps", 1e-6f32)
        .set("flag", true)
        .set("long", -1i64)
        .set("byte", 7u8);
    w.set("tokens", (0..20).map(|i| format!("token {i} ü")).collect::<StringArray>());
    w.set("types", [1i32; 20].as_slice()).set("flags", [true, false].as_slice());
    for (name, cols, ty) in [("a", 256, GgmlType::Q4K), ("b", 32, GgmlType::Q8_0), ("c", 7, GgmlType::F32)] {
        let bytes = ty.row_bytes(cols).unwrap() as usize * 3;
        w.tensor(format!("{name}.weight"), &[cols, 3], ty, vec![1; bytes]).unwrap();
    }
    w.to_bytes()
}

/// Numbers that break things.
const NUMBERS: [u64; 12] =
    [0, 1, 7, 31, 255, 4096, 65_536, 1 << 31, u32::MAX as u64, 1 << 60, i64::MAX as u64, u64::MAX];

/// Changes a file at a few places.
fn mutate(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Arbitrary<()> {
    for _ in 0..u.int_in_range(0..=4)? {
        if bytes.is_empty() {
            break;
        }
        let at = u.choose_index(bytes.len())?;
        match u.int_in_range(0..=6)? {
            0 => bytes[at] = u.arbitrary()?,
            1 => bytes[at] ^= 1 << u.int_in_range(0..=7)?,
            2 | 3 => {
                let number = u.choose(&NUMBERS)?.to_le_bytes();
                let n = (*u.choose(&[4, 8])?).min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            4 => bytes.truncate(at),
            5 => {
                let end = bytes.len().min(at + u.int_in_range(1..=64)?);
                bytes.drain(at..end);
            }
            _ => {
                let end = bytes.len().min(at + u.int_in_range(1..=64)?);
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    Ok(())
}

/// Everything that others rely on when they read tensors by a header.
fn check_header(h: &Header, file_len: u64) {
    let mut end = h.data_offset;
    let mut names = HashSet::new();
    for t in &h.tensors {
        assert!(names.insert(&t.name), "{} twice", t.name);
        assert!(t.offset >= end, "{} overlaps", t.name);
        assert!((1..=4).contains(&t.dims.len()) && t.dims.iter().all(|&d| d > 0), "{:?}", t.dims);
        let rows = t.dims[1..].iter().map(|&d| d as u128).product::<u128>();
        assert_eq!(t.ty.row_bytes(t.dims[0]).unwrap() as u128 * rows, t.bytes as u128);
        assert_eq!(t.n_elements() as u128, rows * t.dims[0] as u128);
        end = t.offset.checked_add(t.bytes).unwrap();
    }
    assert_eq!(h.data_end(), end);
    assert!(h.tensors.is_empty() || end <= file_len, "{end} of {file_len}");
}

fn check_error(error: &Error) {
    let codes = [Code::InvalidGguf, Code::TruncatedFile, Code::UnsupportedQuantization];
    assert!(codes.contains(&error.code()), "{error:?}");
    let fields = ["magic", "version", "tensor count", "key count", "metadata key ", "tensor "];
    assert!(fields.iter().any(|f| error.message().starts_with(f)), "no field: {error}");
}

/// Keys and tensors take some bytes beyond their own: map nodes and vectors. Nothing takes what a count announces.
fn check_peak(peak: usize, bytes: usize) {
    assert!(peak <= 16 * bytes + 32_768, "{peak} bytes held for {bytes}");
}

fn check(bytes: &[u8], prefix: usize) {
    let len = bytes.len() as u64;
    let (whole, peak) = peak_of(|| parse(bytes, Some(len)));
    check_peak(peak, bytes.len());
    match &whole {
        Ok(Parsed::Header(h)) => check_header(h, len),
        Ok(Parsed::NeedMore(n)) => panic!("{n} bytes wanted of a file of {len}"),
        Err(e) => check_error(e),
    }
    for file_len in [Some(len), None] {
        let (part, peak) = peak_of(|| parse(&bytes[..prefix], file_len));
        check_peak(peak, prefix);
        match part {
            Ok(Parsed::Header(h)) => check_header(&h, file_len.unwrap_or(u64::MAX)),
            Ok(Parsed::NeedMore(n)) => assert!(n > prefix as u64 && file_len.is_none_or(|len| n <= len)),
            Err(e) => {
                check_error(&e);
                // What a prefix shows to be wrong is wrong in the whole.
                assert!(whole.is_err(), "{e}");
            }
        }
    }
}

#[test]
fn a_changed_file_never_breaks_the_parser() {
    let sample = sample();
    assert!(matches!(parse(&sample, Some(sample.len() as u64)), Ok(Parsed::Header(_))));
    arbtest(|u| {
        let mut bytes = sample.clone();
        mutate(u, &mut bytes)?;
        let prefix = u.choose_index(bytes.len() + 1)?;
        check(&bytes, prefix);
        Ok(())
    })
    .size_min(64)
    .budget_ms(4_000);
}

#[test]
fn random_bytes_never_break_the_parser() {
    arbtest(|u| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        // Small counts, so that what follows is reached.
        for _ in 0..2 {
            bytes.extend(u64::from(u.int_in_range(0..=3u8)?).to_le_bytes());
        }
        while !u.is_empty() {
            match u.int_in_range(0..=3)? {
                0 => bytes.push(u.arbitrary()?),
                1 => bytes.extend(u.int_in_range(0..=14u32)?.to_le_bytes()),
                2 => bytes.extend(u64::from(u.int_in_range(0..=20u8)?).to_le_bytes()),
                _ => bytes.extend(u.choose(&NUMBERS)?.to_le_bytes()),
            }
        }
        let prefix = u.choose_index(bytes.len() + 1)?;
        check(&bytes, prefix);
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn a_vocabulary_takes_little_more_memory_than_its_file() {
    let mut w = Writer::new();
    w.set("tokens", (0..100_000).map(|i| format!("token{i}")).collect::<StringArray>());
    w.set("types", vec![1i32; 100_000].as_slice());
    let bytes = w.to_bytes();
    let (parsed, peak) = peak_of(|| parse(&bytes, Some(bytes.len() as u64)));
    assert!(matches!(parsed, Ok(Parsed::Header(_))));
    assert!(peak < 2 * bytes.len(), "{peak} bytes held for {}", bytes.len());
}

#[test]
fn names_of_parts_never_break_anything() {
    arbtest(|u| {
        let mut name = String::new();
        while !u.is_empty() {
            name +=
                u.choose(&["-", "of", "-of-", "00001", "00003", "99999", ".gguf", "?", "#", "é", "a", "/"])?;
        }
        if let Some(part) = PartName::parse(&name) {
            assert!(part.no < part.count);
            assert_eq!(part.sibling(part.no), name);
            assert_eq!(PartName::parse(&part.sibling(0)).unwrap().sibling(part.no), name);
        }
        Ok(())
    })
    .budget_ms(500);
}
