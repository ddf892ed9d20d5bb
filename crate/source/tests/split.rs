//! Models in several parts, read as the engine reads them.

use std::ops::ControlFlow;

use super::server::Fault;
use super::*;
use crate::engine::read_through;
use crate::gguf::split::{KEY_COUNT, KEY_NO};
use crate::gguf::writer::Writer;
use crate::quant::GgmlType;

const FIRST: &str = "https://hub.test/owner/repo/resolve/main/model-00001-of-";

/// Parts of one model, each with a tensor of so many bytes.
fn parts(bytes: &[usize]) -> Vec<Vec<u8>> {
    let part = |(n, &len): (usize, &usize)| {
        let mut writer = Writer::new();
        writer.set(KEY_NO, n as u16).set(KEY_COUNT, bytes.len() as u16);
        let data = file(len, 100 + n as u64);
        writer.tensor(format!("tensor {n}"), &[len as u64 / 4], GgmlType::F32, data).unwrap();
        writer.to_bytes()
    };
    bytes.iter().enumerate().map(part).collect()
}

impl Bench {
    /// With a model of parts that have so many bytes of weights each.
    fn split(bytes: &[usize]) -> Self {
        let mut parts = parts(bytes).into_iter();
        let bench = Self::new(parts.next().unwrap());
        *bench.server.further.borrow_mut() = parts.map(Rc::new).collect();
        bench
    }

    fn split_request(&self) -> Request {
        let Request::Url { id, name, headers, sha256, bytes, .. } = self.request() else { unreachable!() };
        let urls = vec![format!("{FIRST}{:05}.gguf", 1 + self.server.further.borrow().len())];
        Request::Url { id, name, urls, headers, sha256, bytes }
    }

    fn run_split(&self, cache: CacheMode) -> Result<Report> {
        let read = async |opener: Rc<Opener>| {
            let mut open = |n| {
                let opener = Rc::clone(&opener);
                Box::pin(async move { opener.part(n).await }) as LocalBoxFuture<'static, _>
            };
            read_through(&mut open, &mut |_| ControlFlow::Continue(())).await?;
            Ok(Some((Vec::new(), opener.status().resumed.get(), opener.lock_name())))
        };
        let manner = Manner { cache, evict: false, policy: self.policy, head: None };
        self.time.run(self.load_by(self.split_request(), manner, read)).unwrap()
    }

    /// All parts, one behind the other.
    fn whole(&self) -> Vec<u8> {
        let further = self.server.further.borrow();
        further.iter().fold(self.server.file(), |whole, part| [whole, part.to_vec()].concat())
    }
}

#[test]
fn parts_are_more_than_a_host_has_connections() {
    for ranges in [true, false] {
        let bench = Bench::split(&[20_000; 7]);
        bench.server.connections.set(3);
        bench.server.ranges.set(ranges);
        let report = bench.run_split(CacheMode::Required).unwrap();
        assert_eq!((report.kept.as_deref(), report.notices), (Some("model"), vec![]));
        assert!(bench.memory.bytes("model") == bench.whole());
        // What came with the headers is not fetched again, where that can be asked for.
        let (sent, len) = (bench.server.sent(), bench.whole().len() as u64);
        assert!(if ranges { sent == len } else { sent < 2 * len }, "{sent} of {len}");
        assert_eq!(bench.run_split(CacheMode::Required).unwrap().from, Some(Origin::Cache));
        assert_eq!(bench.server.sent(), sent);
    }
}

#[test]
fn a_model_without_all_of_its_parts_is_not_complete() {
    let bench = Bench::split(&[1000, 20_000]);
    // All of the first part comes with its header; the second cannot be had.
    let refuse = || *bench.server.faults.borrow_mut() = [Fault::None, Fault::Expired].into();
    refuse();
    assert_eq!(bench.run_split(CacheMode::Required).unwrap_err().code(), Code::HttpStatus);
    let first = bench.server.file().len() as u64;
    let record = bench.memory.record("model").unwrap();
    assert_eq!((record.complete, record.stored(), bench.server.sent()), (false, first, first));
    let report = bench.run_split(CacheMode::Required).unwrap();
    assert_eq!((report.kept.as_deref(), report.resumed), (Some("model"), first));
    assert!(bench.memory.bytes("model") == bench.whole());
    assert_eq!(bench.server.sent(), bench.whole().len() as u64);
}

#[test]
fn a_complete_model_that_lacks_parts_is_completed() {
    let bench = Bench::split(&[1000, 20_000]);
    *bench.server.faults.borrow_mut() = [Fault::None, Fault::Expired].into();
    bench.run_split(CacheMode::Required).unwrap_err();
    // As such records were left by earlier versions.
    bench.memory.change_record("model", |record| record.complete = true);
    let cached = bench.time.run(bench.load(Request::Cached { id: "model".into() }, CacheMode::Auto)).unwrap();
    assert!(cached.unwrap_err().to_string().contains("no complete model"));
    let report = bench.run_split(CacheMode::Required).unwrap();
    assert_eq!((report.kept.as_deref(), report.notices), (Some("model"), vec![]));
    assert!(bench.memory.bytes("model") == bench.whole());
    assert_eq!(bench.server.sent(), bench.whole().len() as u64);
    assert_eq!(bench.run_split(CacheMode::Required).unwrap().from, Some(Origin::Cache));
}

#[test]
fn room_is_asked_for_all_parts_together() {
    let bench = Bench::split(&[30_000; 2]);
    // Enough for either part.
    bench.memory.estimate.set(Some(50_000));
    assert_eq!(bench.run_split(CacheMode::Required).unwrap_err().code(), Code::QuotaExceeded);
    let sent = bench.server.sent();
    assert!(sent < 20_000, "{sent}"); // it was told with the headers
    bench.memory.clear();
    let report = bench.run_split(CacheMode::Auto).unwrap();
    assert_eq!((report.kept, report.notices), (None, vec!["quota-exceeded".to_owned()]));
    assert!(bench.memory.is_empty());
    bench.memory.estimate.set(Some(bench.whole().len() as u64));
    assert_eq!(bench.run_split(CacheMode::Required).unwrap().kept.as_deref(), Some("model"));
}
