//! Single behaviours, each with its own few faults.

use super::server::{Fault, Tag};
use super::*;
use crate::source::cache::{Room, Writer, evict, make_room};
use crate::source::verify::verify;

/// The ranges that were asked for, and the answers' status.
fn asked(bench: &Bench) -> Vec<(Option<u64>, u16)> {
    bench.server.log.borrow().iter().map(|&(range, status)| (range.map(|r| r.0), status)).collect()
}

fn plan(bench: &Bench, faults: &[Fault]) {
    *bench.server.faults.borrow_mut() = faults.iter().cloned().collect();
}

#[test]
fn a_broken_connection_goes_on_at_the_byte() {
    let bench = Bench::new(file(50_000, 1));
    plan(&bench, &[Fault::Reset(20_000), Fault::Stall(5000), Fault::Truncate(3000), Fault::Mute]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    assert_eq!(report.lock.as_deref(), Some("qwenlet:model"));
    assert!(report.waits.contains(&Some(Waiting::Retry)) && report.waits.last() == Some(&None));
    assert_eq!(asked(&bench), [(None, 200), (Some(20_000), 206), (Some(25_000), 206), (Some(28_000), 206)]);
    assert_eq!(bench.server.sent(), 50_000);
}

#[test]
fn a_server_is_given_the_time_it_asks_for() {
    let bench = Bench::new(file(5000, 2));
    plan(&bench, &[Fault::Busy(Some(7)), Fault::Busy(None)]);
    let start = crate::source::world::Clock::now(bench.time.as_ref());
    bench.run().unwrap();
    let waited = crate::source::world::Clock::now(bench.time.as_ref()) - start;
    assert!((7000.0..8000.0).contains(&waited), "{waited}");
    plan(&bench, &[Fault::Busy(Some(3600))]);
    bench.memory.clear();
    let error = bench.run().unwrap_err();
    assert_eq!(error.code(), Code::HttpStatus);
    assert!(error.to_string().contains("503"), "{error}");
}

#[test]
fn a_load_that_begins_again_goes_on_with_what_is_stored() {
    let bench = Bench::new(file(50_000, 12));
    for (first, origin) in [(20_000, Origin::Network), (50_000, Origin::Cache)] {
        bench.memory.clear();
        let before = bench.server.sent();
        let attempts = std::cell::Cell::new(0);
        let read = async |opener: Rc<Opener>| {
            let enough = if attempts.replace(attempts.get() + 1) == 0 { first } else { usize::MAX };
            let mut source = opener.part(0).await?;
            let mut bytes = Vec::new();
            loop {
                let piece = source.next().await?;
                if bytes.len() + piece.len() > enough || (piece.is_empty() && enough < usize::MAX) {
                    return Ok(None);
                }
                if piece.is_empty() {
                    return Ok(Some(bytes));
                }
                bytes.extend_from_slice(piece);
            }
        };
        let manner = Manner { cache: CacheMode::Required, evict: false, policy: bench.policy, head: None };
        let load = with_opener(bench.request(), manner, bench.world(), Rc::new(|_| {}), read);
        let (bytes, kept, from) = bench.time.run(load).unwrap().unwrap();
        assert!(bytes == bench.server.file());
        assert_eq!((attempts.get(), kept.as_deref(), from), (2, Some("model"), origin));
        // Pieces of 4096 bytes are stored; what is under way of the next one is fetched again.
        let sent = bench.server.sent() - before;
        assert!((50_000..50_000 + 4096 * 2).contains(&sent), "{sent}");
    }
}

#[test]
fn it_gives_up_after_so_many_attempts_and_keeps_what_it_has() {
    let bench = Bench::new(file(50_000, 3));
    let mut faults = vec![Fault::Reset(10_000)];
    faults.extend(vec![Fault::Reset(0); 4]);
    plan(&bench, &faults);
    let error = bench.run().unwrap_err();
    assert_eq!(error.code(), Code::Network);
    assert!(error.to_string().contains("after 4 attempts") && error.to_string().contains("10000"), "{error}");
    let record = bench.memory.record("model").unwrap();
    assert_eq!((record.complete, record.stored()), (false, 10_000));
    let sent = bench.server.sent();
    plan(&bench, &[]);
    let second = bench.run().unwrap();
    assert!(second.bytes == bench.server.file());
    assert_eq!((second.resumed, bench.server.sent() - sent), (10_000, 40_000));
}

#[test]
fn what_may_not_be_read_is_not_asked_for_again_but_what_expired_is() {
    let bench = Bench::new(file(50_000, 4));
    plan(&bench, &[Fault::Expired]);
    assert_eq!(bench.run().unwrap_err().code(), Code::HttpStatus);
    assert_eq!(asked(&bench), [(None, 403)]);
    plan(&bench, &[Fault::Reset(10_000), Fault::Expired, Fault::Expired]);
    assert!(bench.run().unwrap().bytes == bench.server.file());
}

#[test]
fn offline_is_told_at_once_or_waited_out() {
    let bench = Bench::new(file(50_000, 5));
    plan(&bench, &[Fault::Offline]);
    assert_eq!(bench.run().unwrap_err().code(), Code::Network);
    bench.time.online.set(true);
    plan(&bench, &[Fault::Reset(10_000), Fault::Offline]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    assert_eq!(report.waits, [Some(Waiting::Retry), Some(Waiting::Offline), None]);
}

#[test]
fn another_tab_is_waited_for_and_its_progress_told() {
    let mut bench = Bench::new(file(5000, 15));
    bench.locks = Rc::new(Taken);
    let report = bench.run().unwrap();
    assert_eq!((report.waits, report.others), (vec![Some(Waiting::OtherTab), None], vec![(5, Some(10))]));
    assert!(report.bytes == bench.server.file()); // the other tab failed: this one does it
}

#[test]
fn headers_go_with_every_request() {
    let bench = Bench::new(file(5000, 16));
    *bench.server.token.borrow_mut() = Some("secret".into());
    assert_eq!(bench.run().unwrap_err().code(), Code::HttpStatus);
    let Request::Url { id, name, urls, sha256, bytes, .. } = bench.request() else { unreachable!() };
    let headers = vec![("token".into(), "secret".into())];
    let request = Request::Url { id, name, urls, headers, sha256, bytes };
    plan(&bench, &[Fault::Reset(1000)]);
    assert!(
        bench.time.run(bench.load(request, CacheMode::Auto)).unwrap().unwrap().bytes == bench.server.file()
    );
}

#[test]
fn a_mixture_of_versions_is_never_made() {
    for tag in [Tag::Strong, Tag::Weak, Tag::None] {
        for ranges in [true, false] {
            for states in [true, false] {
                let bench = Bench::new(file(50_000, 6));
                bench.server.tag.set(tag);
                bench.server.ranges.set(ranges);
                bench.server.states.set(states);
                let other = file(50_000, 7); // of the same size
                plan(&bench, &[Fault::Reset(30_000), Fault::Change(other.clone())]);
                let case = format!("{tag:?}, ranges {ranges}, hash {states}");
                match bench.run() {
                    Ok(report) => assert!(report.bytes == other, "{case}"),
                    Err(e) => {
                        // Without a tag the hash of the first version is what tells, at the end.
                        assert!(tag == Tag::None && ranges && states, "{case}: {e}");
                        assert_eq!(e.code(), Code::Integrity, "{case}");
                        assert!(bench.memory.is_empty(), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_that_changes_before_its_first_byte_is_begun_anew() {
    let bench = Bench::new(file(50_000, 13));
    plan(&bench, &[Fault::Reset(0), Fault::Change(file(60_000, 14))]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    assert_eq!(report.notices, ["file-changed"]); // what was told of it, its size say, is of the other file
}

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
    *bench.memory.losses.borrow_mut() = [&[8][..], &[1; 12]].concat().into();
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
fn room_is_made_only_if_allowed_and_by_the_least_recently_used() {
    let bench = Bench::new(file(10_000, 9));
    let get = |id: &str| bench.time.run(bench.load(bench.named(id), CacheMode::Required)).unwrap();
    for id in ["a", "b", "c"] {
        get(id).unwrap();
    }
    get("a").unwrap(); // used again
    bench.memory.estimate.set(Some(31_000));
    let room = |allowed| {
        bench.time.run(make_room(bench.memory.as_ref(), bench.time.as_ref(), 12_000, "d", allowed)).unwrap()
    };
    let error = room(false).unwrap_err();
    assert_eq!(error.code(), Code::QuotaExceeded);
    assert!(error.to_string().contains("b (1 MB), c (1 MB), a (1 MB)"), "{error}");
    let ids = |records: Vec<Record>| records.into_iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(room(true).unwrap()), ["b", "c"]);
    let far = make_room(bench.memory.as_ref(), bench.time.as_ref(), 1_000_000, "d", true);
    let error = bench.time.run(far).unwrap().unwrap_err();
    assert!(error.to_string().contains("not be enough") && bench.memory.record("a").is_some(), "{error}");
    assert_eq!(ids(bench.time.run(evict(bench.memory.as_ref(), 1)).unwrap().unwrap()), ["a"]);
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
        bench.time.run(Writer::begin(storage, clock, "model", "model", 64, None)).unwrap().unwrap()
    };
    let first = begin();
    let second = begin();
    for (writer, works) in [(first, false), (second, true)] {
        let passage = bench.time.run(writer.part(0, crate::source::cache::Part::default())).unwrap();
        bench.time.run(writer.pass(0, &passage, &[7; 100])).unwrap();
        passage.borrow_mut().ended = true;
        assert_eq!(bench.time.run(writer.finish()).unwrap().is_ok(), works);
    }
    let record = bench.memory.record("model").unwrap();
    assert_eq!((record.complete, bench.memory.bytes("model")), (true, vec![7; 100]));
}
