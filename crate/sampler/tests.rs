use super::*;
use crate::Code;

fn sampler(params: Params, n_vocab: usize) -> Sampler {
    Sampler::new(params, n_vocab).unwrap()
}

#[test]
fn greedy_takes_the_first_of_the_best() {
    let params = Params { temperature: 0.0, top_k: 1, ..Params::default() };
    assert_eq!(sampler(params, 4).sample(&[0.0, 3.0, 3.0, -1.0]).unwrap(), 1);
}

/// The tokens that may be drawn, found by sorting everything.
fn plainly(scores: &[f32], p: &Params) -> Vec<u32> {
    let settings = Settings::new(p);
    let mut all: Vec<(u32, f32)> =
        (0..).zip(scores.iter().copied()).filter(|(_, s)| *s > f32::NEG_INFINITY).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = all[0].1;
    all.truncate(if p.top_k == 0 { usize::MAX } else { p.top_k as usize });
    if settings.top_p > 0 {
        let weight = |a: &(u32, f32)| u64::from(settings::weight(best, a.1));
        let goal = settings::goal(all.iter().map(weight).sum(), settings.top_p);
        let mut sum = 0;
        all.retain(|a| {
            let short = sum < goal;
            sum += weight(a);
            short
        });
    }
    all.retain(|a| best - a.1 <= settings.min_p_distance);
    all.into_iter().map(|a| a.0).collect()
}

#[test]
fn what_is_kept_is_what_sorting_everything_keeps() {
    let noisy = |i: u32, steps: u32| (i.wrapping_mul(2_654_435_761) >> 8) % steps;
    let cases: [Vec<f32>; 4] = [
        (0..3000).map(|i| noisy(i, 1 << 20) as f32 * 1e-5).collect(),
        (0..3000).map(|i| noisy(i, 7) as f32).collect(),
        (0..300).map(|i| if i % 2 == 0 { f32::NEG_INFINITY } else { noisy(i, 40) as f32 * 0.3 }).collect(),
        vec![2.5; 500],
    ];
    for logits in &cases {
        for top_k in [0, 1, 20, 64, 2000] {
            for top_p in [1e-9, 0.3, 0.9, 0.999, 1.0] {
                for min_p in [0.0, 0.01, 0.5, 1.0] {
                    let params = Params { top_k, top_p, min_p, ..Params::default() };
                    let want = plainly(logits, &params);
                    let got = sampler(params.clone(), logits.len()).distribution(logits).unwrap();
                    let mut got: Vec<u32> = got.into_iter().map(|g| g.0).collect();
                    got.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
                    assert_eq!(got, want, "{params:?}");
                }
            }
        }
    }
}

#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = (0..40).map(|i| ((i * 29) % 17) as f32 * 0.3).collect();
    let params = Params { temperature: 0.8, top_k: 12, top_p: 0.95, seed: 42, ..Params::default() };
    let mut sampler = sampler(params, logits.len());
    let expected = sampler.distribution(&logits).unwrap();
    let n = 20_000;
    let mut counts = vec![0u32; logits.len()];
    for _ in 0..n {
        counts[sampler.sample(&logits).unwrap() as usize] += 1;
    }
    let kept: u32 = expected.iter().map(|&(id, _)| counts[id as usize]).sum();
    assert_eq!(kept, n, "a token that was filtered out was drawn");
    let chi2: f64 = expected
        .iter()
        .map(|&(id, p)| (f64::from(counts[id as usize]) - p * f64::from(n)).powi(2) / (p * f64::from(n)))
        .sum();
    // At most 11 degrees of freedom: above 40 with probability 4e-5.
    assert!(expected.len() > 5 && chi2 < 40.0, "{chi2} over {} tokens", expected.len());
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let logits: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 * 0.05).collect();
    let draw = |seed| {
        let mut s = sampler(Params { seed, ..Params::default() }, logits.len());
        (0..50).map(|_| s.sample(&logits).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(draw(1), draw(1 << 40 | 1), "the seed's upper half counts");
}

#[test]
fn a_draw_hardly_depends_on_the_last_bits_of_the_logits() {
    let logits: Vec<f32> = (0..500).map(|i| ((i * 37) % 101) as f32 * 0.05).collect();
    let shifted: Vec<f32> =
        (0..).zip(&logits).map(|(i, l)| l + if i % 2 == 0 { 1e-4 } else { -1e-4 }).collect();
    let (mut a, mut b) = (sampler(Params::default(), 500), sampler(Params::default(), 500));
    let same = (0..1000).filter(|_| a.sample(&logits).unwrap() == b.sample(&shifted).unwrap()).count();
    assert!(same >= 995, "{same}");
}

#[test]
fn presence_and_frequency_count_the_answer_only() {
    let params = Params {
        repetition_penalty: 2.0,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..Params::default()
    };
    let mut s = sampler(params, 3);
    s.observe_prompt(&[0, 0, 1]);
    s.accept(1);
    s.accept(1);
    let p = s.distribution(&[2.0, 2.0, 1.0]).unwrap();
    // 2 / 2; 2 / 2 - 2 * 0.25 - 0.5; 1.
    let expected: Vec<f64> = [1.0f64, 0.0, 1.0].iter().map(|l| l.exp()).collect();
    let sum: f64 = expected.iter().sum();
    for ((id, p), want) in p.into_iter().zip(&expected) {
        assert!((p - want / sum).abs() < 1e-7, "token {id}: {p}");
    }
}

#[test]
fn logprobs_are_of_the_logits_as_they_came() {
    let params = Params { temperature: 0.1, top_k: 1, logit_bias: vec![(2, 50.0)], ..Params::default() };
    let mut s = sampler(params, 4);
    let logits = [1.0, 3.0, 2.0, 3.0];
    let id = s.sample(&logits).unwrap();
    assert_eq!(id, 2);
    let l = s.logprobs(&logits, id, 3).unwrap();
    let sum: f64 = logits.iter().map(|&l: &f32| f64::from(l).exp()).sum();
    let want = |l: f32| (f64::from(l) - sum.ln()) as f32;
    assert_eq!(l.logprob, want(2.0));
    assert_eq!(l.top, [(1, want(3.0)), (3, want(3.0)), (2, want(2.0))]);
    assert_eq!(s.logprobs(&logits, 4, 0).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn the_best_of_many_is_the_first_of_the_largest() {
    arbtest::arbtest(|u| {
        let n = u.int_in_range(1..=1200)?;
        // Few values, so that many are equal.
        let value = |u: &mut arbtest::arbitrary::Unstructured<'_>| {
            Ok(match u.int_in_range(0..=40)? {
                0 => f32::NEG_INFINITY,
                1 => -0.0,
                i => (i as f32 - 20.0) / 4.0,
            })
        };
        let mut scores = (0..n).map(|_| value(u)).collect::<arbtest::arbitrary::Result<Vec<f32>>>()?;
        let mut plain = None;
        for (i, &score) in scores.iter().enumerate() {
            if score > plain.map_or(f32::NEG_INFINITY, |(_, best)| best) {
                plain = Some((i as u32, score));
            }
        }
        assert_eq!(finite_best(&scores).ok().map(|best| (best.id, best.score)), plain);
        let at = u.choose_index(n)?;
        scores[at] = if u.arbitrary()? { f32::NAN } else { f32::INFINITY };
        let message = finite_best(&scores).unwrap_err().to_string();
        assert!(message.contains(&format!("token {at} is")), "{message}");
        Ok(())
    });
}

#[test]
fn broken_logits_are_an_error() {
    for broken in [[0.0, f32::NAN], [0.0, f32::INFINITY], [f32::NEG_INFINITY; 2]] {
        for temperature in [0.0, 1.0] {
            let mut s = sampler(Params { temperature, ..Params::default() }, 2);
            assert_eq!(s.sample(&broken).unwrap_err().code(), Code::Internal, "{broken:?}");
        }
    }
    assert_eq!(sampler(Params::default(), 3).sample(&[0.0]).unwrap_err().code(), Code::Internal);
}

#[test]
fn parameters_out_of_range_are_named() {
    let d = Params::default;
    let cases = [
        ("temperature", Params { temperature: -0.1, ..d() }),
        ("temperature", Params { temperature: f32::NAN, ..d() }),
        ("top_p", Params { top_p: 0.0, ..d() }),
        ("top_p", Params { top_p: 1.5, ..d() }),
        ("min_p", Params { min_p: -0.1, ..d() }),
        ("repetition_penalty", Params { repetition_penalty: 0.0, ..d() }),
        ("presence_penalty", Params { presence_penalty: f32::INFINITY, ..d() }),
        ("frequency_penalty", Params { frequency_penalty: f32::NAN, ..d() }),
        ("logit_bias", Params { logit_bias: vec![(5, 1.0)], ..d() }),
        ("logit_bias", Params { logit_bias: vec![(0, f32::NAN)], ..d() }),
    ];
    for (name, params) in cases {
        let error = Sampler::new(params, 5).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with(name), "{error}");
    }
}

#[test]
fn nothing_is_allocated_after_the_first_token() {
    let logits: Vec<f32> = (0..4096).map(|i| ((i * 37) % 1013) as f32 * 0.02).collect();
    let params = Params { top_k: 40, top_p: 0.9, min_p: 0.05, presence_penalty: 0.1, ..Params::default() };
    let mut s = sampler(params, logits.len());
    s.sample(&logits).unwrap();
    let before = (s.scores.capacity(), s.scores.as_ptr(), s.candidates.kept().as_ptr());
    for _ in 0..100 {
        let id = s.sample(&logits).unwrap();
        s.accept(id);
    }
    assert_eq!((s.scores.capacity(), s.scores.as_ptr(), s.candidates.kept().as_ptr()), before);
}
