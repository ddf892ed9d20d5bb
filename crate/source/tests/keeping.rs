//! How models are kept, where storage is full, damaged, lost, or shared with other tabs.

use super::server::Fault;
use super::*;
use crate::source::cache::{Room, Writer, evict, make_room};
use crate::source::verify::verify;

#[test]
fn a_full_storage_fails_a_download_and_not_a_load() {
    let bench = Bench::new(file(50_000, 8));
    bench.memory.set_quota(20_000);
    assert_eq!(bench.run().unwrap_err().code(), Code::QuotaExceeded);
    let kept = bench.memory.record("model").unwrap();
    assert!(!kept.complete && kept.stored() > 10_000 && kept.stored() <= 20_000);
    let load = || bench.time.run(bench.load(bench.request(), CacheMode::Auto)).unwrap().unwrap();
    let loaded = load();
    assert!(loaded.bytes == bench.server.file());
    assert_eq!((loaded.kept, loaded.notices), (None, vec!["quota-exceeded".to_owned()]));
    assert!(bench.memory.is_empty()); // what is of no use takes no room
    // Where the browser says beforehand, nothing is stored at all.
    bench.memory.estimate.set(Some(20_000));
    assert_eq!(bench.run().unwrap_err().code(), Code::QuotaExceeded);
    assert!(bench.memory.is_empty());
}

#[test]
fn a_disk_without_any_room_is_no_reason_not_to_read() {
    let bench = Bench::new(file(50_000, 17));
    bench.run().unwrap();
    let sent = bench.server.sent();
    bench.memory.full.set(true);
    for request in [bench.request(), Request::Cached { id: "model".into() }] {
        let report = bench.time.run(bench.load(request, CacheMode::Auto)).unwrap().unwrap();
        assert_eq!((report.from, report.notices), (Some(Origin::Cache), vec![]));
    }
    assert_eq!(bench.server.sent(), sent);
}

#[test]
fn a_lost_connection_to_the_storage_is_opened_again() {
    let bench = Bench::new(file(50_000, 18));
    let lose = |after: &[u64]| *bench.memory.losses.borrow_mut() = after.iter().copied().collect();
    // While it is stored, twice in a row too, and while it is read.
    lose(&[1, 3, 1, 5, 2]);
    let report = bench.run().unwrap();
    assert_eq!(
        (report.kept.as_deref(), report.notices, bench.server.sent()),
        (Some("model"), vec![], 50_000)
    );
    assert!(bench.memory.bytes("model") == bench.server.file());
    lose(&[2, 5, 4]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    assert_eq!((report.from, bench.server.sent()), (Some(Origin::Cache), 50_000));
    assert!(bench.memory.losses.borrow().is_empty());
}

#[test]
fn storage_that_cannot_be_read_is_not_a_damaged_copy() {
    let bench = Bench::new(file(50_000, 19));
    bench.run().unwrap();
    let broken = || *bench.memory.losses.borrow_mut() = [&[9][..], &[1; 400]].concat().into();
    broken();
    let cached = bench.time.run(bench.load(Request::Cached { id: "model".into() }, CacheMode::Auto)).unwrap();
    let error = cached.unwrap_err();
    assert!(error.code() == Code::Cache && error.to_string().contains("lost"), "{error}");
    // Its pieces come from the server; where that has another file by now, the copy stays all the same.
    broken();
    assert!(bench.run().unwrap().bytes == bench.server.file());
    bench.server.change(file(50_000, 20));
    broken();
    assert_eq!(bench.run().unwrap_err().code(), Code::Cache);
    bench.memory.losses.borrow_mut().clear();
    assert_eq!(bench.run().unwrap().from, Some(Origin::Cache));
}

#[test]
fn storage_that_fails_on_the_way_keeps_what_it_has() {
    let bench = Bench::new(file(50_000, 21));
    *bench.memory.losses.borrow_mut() = [8, 1, 1].into();
    let report = bench.time.run(bench.load(bench.request(), CacheMode::Auto)).unwrap().unwrap();
    assert_eq!((report.kept, report.notices), (None, vec!["cache".to_owned()]));
    assert!(report.bytes == bench.server.file());
    bench.memory.losses.borrow_mut().clear();
    let (there, sent) = (bench.memory.record("model").unwrap().stored(), bench.server.sent());
    assert!(there > 0);
    bench.run().unwrap();
    assert_eq!(bench.server.sent() - sent, 50_000 - there);
}

#[test]
fn what_the_browser_says_of_room_need_not_be_so() {
    let bench = Bench::new(file(30_000, 12));
    let manner = |evict| Manner { cache: CacheMode::Required, evict, policy: bench.policy, head: None };
    for id in ["a", "b", "c"] {
        bench.time.run(bench.load_as(bench.named(id), manner(false))).unwrap().unwrap();
    }
    bench.memory.set_quota(100_000);
    let refused = bench.time.run(bench.load_as(bench.named("d"), manner(false))).unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::QuotaExceeded);
    assert!(refused.to_string().contains("a (1 MB), b (1 MB), c (1 MB)"), "{refused}");
    let evicting = bench.time.run(bench.load_as(bench.named("d"), manner(true))).unwrap().unwrap();
    assert_eq!((evicting.kept.as_deref(), evicting.notices), (Some("d"), vec!["a".to_owned()]));
    let there = |id: &str| bench.memory.record(id).is_some();
    assert_eq!(["a", "b", "c", "d"].map(there), [false, true, true, true]);
}

#[test]
fn no_more_models_go_than_have_to() {
    let load = |bench: &Bench, id: &str, evict| {
        let manner = Manner { cache: CacheMode::Required, evict, policy: bench.policy, head: None };
        bench.time.run(bench.load_as(bench.named(id), manner)).unwrap()
    };
    let with_three = || {
        let bench = Bench::new(file(30_000, 28));
        for id in ["a", "b", "c"] {
            load(&bench, id, false).unwrap();
        }
        bench.memory.set_quota(100_000);
        bench
    };
    // The browser counts late what was deleted.
    let bench = with_three();
    bench.memory.late.set(1500.0);
    assert_eq!(load(&bench, "d", true).unwrap().notices, ["a"]);
    // Another tab stores the first of them.
    let mut bench = with_three();
    let time = Rc::clone(&bench.time);
    bench.locks = Rc::new(Busy { time, model: "a", reports: 0, suspended: false, stolen: Cell::new(false) });
    assert_eq!(load(&bench, "d", true).unwrap().notices, ["b"]);
    let evicted = bench.time.run(evict(bench.memory.as_ref(), 1_000_000, bench.locks.as_ref())).unwrap();
    assert_eq!(evicted.unwrap().into_iter().map(|r| r.id).collect::<Vec<_>>(), ["c", "d"]);
    assert!(bench.memory.record("a").is_some());
    // It is not the models that fill the disk.
    let bench = with_three();
    bench.memory.late.set(f64::INFINITY);
    assert_eq!(load(&bench, "d", true).unwrap_err().code(), Code::QuotaExceeded);
    assert_eq!(["a", "b", "c"].map(|id| bench.memory.record(id).is_some()), [false, true, true]);
}

#[test]
fn room_is_made_only_if_allowed_and_by_the_least_recently_used() {
    let bench = Bench::new(file(10_000, 9));
    let get = |id: &str| bench.time.run(bench.load(bench.named(id), CacheMode::Required)).unwrap();
    for id in ["a", "b", "c"] {
        get(id).unwrap();
    }
    get("a").unwrap(); // used again
    bench.memory.estimate.set(Some(31_000));
    let room = |allowed: bool| {
        bench
            .time
            .run(make_room(
                bench.memory.as_ref(),
                bench.time.as_ref(),
                12_000,
                "d",
                allowed.then_some(&Free as _),
            ))
            .unwrap()
    };
    let error = room(false).unwrap_err();
    assert_eq!(error.code(), Code::QuotaExceeded);
    assert!(error.to_string().contains("b (1 MB), c (1 MB), a (1 MB)"), "{error}");
    let ids = |records: Vec<Record>| records.into_iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(room(true).unwrap()), ["b", "c"]);
    let far = make_room(bench.memory.as_ref(), bench.time.as_ref(), 1_000_000, "d", Some(&Free));
    let error = bench.time.run(far).unwrap().unwrap_err();
    assert!(error.to_string().contains("not be enough") && bench.memory.record("a").is_some(), "{error}");
    assert_eq!(ids(bench.time.run(evict(bench.memory.as_ref(), 1, &Free)).unwrap().unwrap()), ["a"]);
    assert_eq!(bench.memory.room_now(), Some(Room { usage: 0, quota: 31_000 }));
}

#[test]
fn verifying_finds_what_is_damaged_and_nothing_else() {
    let bench = Bench::new(file(50_000, 10));
    bench.run().unwrap();
    let look = || bench.time.run(verify(bench.memory.as_ref(), "model", &|| Ok(()))).unwrap();
    let found = look().unwrap();
    assert_eq!((found.bytes, found.damaged), (50_000, 0));
    assert_eq!(found.sha256, [Some(bench.server.sha256())]);
    bench.memory.damage("model", 5, false);
    bench.memory.damage("model", 12, true);
    assert_eq!(look().unwrap().damaged, 4096 + (50_000 - 12 * 4096));
    assert_eq!(
        bench.time.run(verify(bench.memory.as_ref(), "none", &|| Ok(()))).unwrap().unwrap_err().code(),
        Code::Cache
    );
}

#[test]
fn of_two_writers_the_later_one_has_the_model() {
    let bench = Bench::new(file(1000, 11));
    let begin = || {
        let (storage, clock) = (Rc::clone(&bench.memory) as _, Rc::clone(&bench.time) as _);
        bench.time.run(Writer::begin(storage, clock, ("model", "model"), 1, 64, None)).unwrap().unwrap()
    };
    let first = begin();
    let second = begin();
    for (writer, works) in [(first, false), (second, true)] {
        let passage = bench.time.run(writer.part(0, crate::source::cache::Part::default())).unwrap();
        bench.time.run(writer.pass(0, &passage, &[7; 100])).unwrap();
        passage.borrow_mut().ended = true;
        writer.expect(1);
        assert_eq!(bench.time.run(writer.finish()).unwrap().is_ok(), works);
    }
    let record = bench.memory.record("model").unwrap();
    assert_eq!((record.complete, bench.memory.bytes("model")), (true, vec![7; 100]));
}

#[test]
fn a_copy_stays_until_there_is_an_answer_for_what_replaces_it() {
    let bench = Bench::new(file(9000, 31));
    bench.run().unwrap();
    let pinned = |sha: &str, len| {
        let Request::Url { id, name, urls, headers, .. } = bench.request() else { unreachable!() };
        Request::Url { id, name, urls, headers, sha256: vec![sha.to_owned()], bytes: vec![len] }
    };
    let sha256 = bench.server.sha256();
    for cache in [CacheMode::Auto, CacheMode::Required] {
        for (fault, request, code) in [
            (Fault::Offline, pinned(&"0".repeat(64), 9000), Code::Network),
            (Fault::Expired, pinned(&"0".repeat(64), 9000), Code::HttpStatus),
            (Fault::None, pinned(&sha256, 9001), Code::Integrity),
        ] {
            bench.server.faults.borrow_mut().push_back(fault);
            let error = bench.time.run(bench.load(request, cache)).unwrap().unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            bench.time.online.set(true);
            let kept = bench.memory.record("model").is_some_and(|record| record.complete);
            assert!(kept && bench.memory.bytes("model") == bench.server.file(), "{error}");
        }
    }
}
