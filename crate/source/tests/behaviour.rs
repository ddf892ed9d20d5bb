//! Single behaviours, each with its own few faults.

use super::server::{Fault, Tag};
use super::*;

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
    assert_eq!(
        asked(&bench),
        [(Some(0), 206), (Some(20_000), 206), (Some(25_000), 206), (Some(28_000), 206)]
    );
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
            source.announce(1);
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
    assert_eq!(asked(&bench), [(Some(0), 403)]);
    plan(&bench, &[Fault::Reset(10_000), Fault::Expired, Fault::Expired]);
    assert!(bench.run().unwrap().bytes == bench.server.file());
}

#[test]
fn a_host_that_compresses_what_is_not_asked_for_by_range() {
    for (ranges, exposes) in [(true, true), (true, false), (false, true)] {
        let bench = Bench::new(file(50_000, 22));
        bench.server.compresses.set(true);
        bench.server.ranges.set(ranges);
        bench.server.exposes.set(exposes);
        bench.server.states.set(false);
        plan(&bench, &[Fault::Reset(20_000), Fault::Reset(30_000)]);
        let report = bench.run().unwrap();
        assert!(report.bytes == bench.server.file());
        assert_eq!(report.notices, Vec::<String>::new());
    }
}

#[test]
fn where_ranges_are_refused_the_beginning_is_passed_over() {
    let bench = Bench::new(file(50_000, 23));
    bench.server.refuses.set(true);
    plan(&bench, &[Fault::None, Fault::Reset(20_000)]);
    assert!(bench.run().unwrap().bytes == bench.server.file());
    // Without one at first to see whether anything is answered, then for good.
    let all = [Some(0), None, Some(0), None, None];
    assert_eq!(asked(&bench).into_iter().map(|a| a.0).collect::<Vec<_>>(), all);
    // The same with what an earlier load left.
    bench.memory.clear();
    bench.server.refuses.set(false);
    plan(&bench, &[Fault::Reset(20_000), Fault::Expired, Fault::Expired, Fault::Expired, Fault::Expired]);
    bench.run().unwrap_err();
    bench.server.refuses.set(true);
    bench.server.log.borrow_mut().clear();
    assert!(bench.run().unwrap().bytes == bench.server.file());
    let all = [Some(20_000), Some(20_000), None, Some(20_000), None];
    assert_eq!(asked(&bench).into_iter().map(|a| a.0).collect::<Vec<_>>(), all);
}

#[test]
fn a_network_that_is_away_is_no_refusal_of_ranges() {
    let bench = Bench::new(file(50_000, 24));
    plan(&bench, &[Fault::Reset(20_000), Fault::Unreachable, Fault::Unreachable]);
    assert!(bench.run().unwrap().bytes == bench.server.file());
    assert_eq!(asked(&bench).last(), Some(&(Some(20_000), 206)));
    bench.memory.clear();
    bench.server.log.borrow_mut().clear();
    plan(&bench, &[Fault::Reset(20_000), Fault::Unreachable, Fault::Unreachable, Fault::Unreachable]);
    bench.run().unwrap_err(); // after 4 attempts
    plan(&bench, &[]);
    assert_eq!(bench.run().unwrap().resumed, 20_000);
}

#[test]
fn what_is_passed_over_is_progress_where_it_gets_further() {
    let bench = Bench::new(file(50_000, 25));
    bench.server.tag.set(Tag::None);
    bench.server.states.set(false);
    let breaks = |at: &[u64]| plan(&bench, &at.iter().map(|&n| Fault::Reset(n)).collect::<Vec<_>>());
    breaks(&[40_000, 5000, 10_000, 15_000, 20_000, 25_000, 30_000]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    // What comes again ends a wait, though nothing new has come.
    assert_eq!(report.waits.iter().filter(|w| w.is_none()).count(), 7);
    bench.memory.clear();
    breaks(&[40_000, 5000, 5000, 5000, 5000, 5000, 5000]);
    assert_eq!(bench.run().unwrap_err().code(), Code::Network);
}

#[test]
fn another_tag_of_the_same_file_is_no_other_file() {
    let bench = Bench::new(file(50_000, 26));
    plan(&bench, &[Fault::Reset(20_000), Fault::Retag(10_000), Fault::Retag(5000)]);
    let report = bench.run().unwrap();
    assert!(report.bytes == bench.server.file());
    assert_eq!((report.notices, bench.server.sent()), (vec![], 50_000));
    // On another day too.
    bench.memory.clear();
    plan(&bench, &[Fault::Reset(20_000), Fault::Expired, Fault::Expired, Fault::Expired, Fault::Expired]);
    bench.run().unwrap_err();
    bench.server.retag();
    let report = bench.run().unwrap();
    assert_eq!((report.notices, report.resumed), (vec![], 20_000));
}

#[test]
fn a_hub_may_be_slow_to_say_what_a_file_should_be() {
    let slow = |ms, failures| {
        let bench = Bench::new(file(50_000, 27));
        bench.server.list.set((ms, failures));
        bench
    };
    // Slower than the whole download, or only at the second time: a wrong byte is noticed all the same.
    for (ms, failures) in [(7000.0, 0), (0.0, 1)] {
        let bench = slow(ms, failures);
        plan(&bench, &[Fault::Flip(300)]);
        assert_eq!(bench.run().unwrap_err().code(), Code::Integrity);
        assert_eq!(slow(ms, failures).run().unwrap().notices, Vec::<String>::new());
    }
    // Never: the file is taken as it is, and that is said.
    for (ms, failures) in [(100_000.0, 0), (0.0, 9)] {
        let report = slow(ms, failures).run().unwrap();
        assert_eq!(
            (report.kept.as_deref(), report.notices),
            (Some("model"), vec!["unverified: model.gguf".to_owned()])
        );
    }
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
fn a_tab_that_is_suspended_is_not_waited_for() {
    for (reports, suspended, stolen) in [(3, true, true), (30, false, false)] {
        let mut bench = Bench::new(file(5000, 29));
        let time = Rc::clone(&bench.time);
        let locks = Rc::new(Busy { time, model: "model", reports, suspended, stolen: Cell::new(false) });
        bench.locks = Rc::clone(&locks) as _;
        let start = bench.time.elapsed();
        let report = bench.run().unwrap();
        assert!(report.bytes == bench.server.file());
        assert_eq!((report.kept.as_deref(), locks.stolen.get()), (Some("model"), stolen));
        assert_eq!(report.waits, [Some(Waiting::OtherTab), None]);
        let waited = bench.time.elapsed() - start;
        assert!(
            if stolen { (80_000.0..130_000.0).contains(&waited) } else { waited > 300_000.0 },
            "{waited}"
        );
    }
}

#[test]
fn a_clock_that_is_set_does_not_make_a_silent_connection_a_good_one() {
    let bench = Bench::new(file(50_000, 30));
    plan(&bench, &[Fault::Stall(20_000)]);
    let (time, set) = (Rc::clone(&bench.time), Rc::clone(&bench.time.set));
    let later = bench.time.sleep(3000.0);
    time.spawn(Box::pin(async move {
        later.await;
        set.set(-3_600_000.0);
    }));
    let start = time.elapsed();
    assert!(bench.run().unwrap().bytes == bench.server.file());
    assert!(time.elapsed() - start < 60_000.0);
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
fn what_is_there_stays_until_the_hub_says_that_it_is_of_another_file() {
    let with_a_beginning = || {
        let bench = Bench::new(file(50_000, 31));
        plan(&bench, &[Fault::Reset(20_000), Fault::Expired, Fault::Expired, Fault::Expired]);
        bench.run().unwrap_err();
        bench.server.retag();
        bench
    };
    // Slower than one attempt waits, and busy for a while.
    for list in [(7000.0, 0), (0.0, 2)] {
        let bench = with_a_beginning();
        bench.server.list.set(list);
        let report = bench.run().unwrap();
        assert_eq!((report.notices, report.resumed, bench.server.sent()), (vec![], 20_000, 50_000));
        assert_eq!(report.waits, [Some(Waiting::Server), None]);
    }
    // Busy for long.
    let bench = with_a_beginning();
    bench.server.list.set((0.0, 9));
    let error = bench.run().unwrap_err();
    assert!(error.code() == Code::Network && error.to_string().contains("after 4 attempts"), "{error}");
    assert_eq!(bench.memory.record("model").unwrap().stored(), 20_000);
    bench.server.list.set((0.0, 0));
    assert_eq!((bench.run().unwrap().resumed, bench.server.sent()), (20_000, 50_000));
    // It says that it knows of no such file.
    let bench = with_a_beginning();
    bench.server.states.set(false);
    assert_eq!(bench.run().unwrap().notices, ["file-changed"]);
}

#[test]
fn a_download_that_is_begun_anew_waits_for_nothing() {
    let bench = Bench::new(file(50_000, 32));
    plan(&bench, &[Fault::Reset(20_000), Fault::Change(file(50_000, 33))]);
    let report = bench.run().unwrap();
    assert_eq!(
        (report.notices, report.waits),
        (vec!["file-changed".into()], vec![Some(Waiting::Retry), None])
    );
    // Nor does one that gives up the cache while another tab has the model.
    let mut bench = Bench::new(file(5000, 34));
    bench.locks = Rc::new(Taken);
    *bench.memory.losses.borrow_mut() = [2, 1, 1].into();
    let report = bench.time.run(bench.load(bench.request(), CacheMode::Auto)).unwrap().unwrap();
    assert_eq!(
        (report.notices, report.waits),
        (vec!["cache".to_owned()], vec![Some(Waiting::OtherTab), None])
    );
}
