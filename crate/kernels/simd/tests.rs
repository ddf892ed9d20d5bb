use super::*;

/// Runs a closure-like kernel on the best instruction set.
macro_rules! on_simd {
    (|$s:ident| -> $output:ty $body:block) => {{
        struct Test;
        impl Kernel for Test {
            type Output = $output;

            #[inline(always)]
            fn run<S: Simd>(self, $s: S) -> $output $body
        }
        dispatch(Test)
    }};
}

#[cfg_attr(test, test)]
pub(crate) fn every_half_converts_exactly() {
    let [halves, scales] = on_simd!(|s| -> [Vec<f32>; 2] {
        let bits: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut all = [vec![0.0; 1 << 16], vec![0.0; 1 << 16]];
        let [halves, scales] = all.each_mut().map(|all| all.as_chunks_mut::<4>().0);
        for ((bits, half), scale) in bits.as_chunks::<8>().0.iter().zip(halves).zip(scales) {
            s.store(s.halves(bits), half);
            s.store(s.scales(bits), scale);
        }
        all
    });
    for ((bits, half), scale) in (0..=u16::MAX).zip(halves).zip(scales) {
        let want = half::f16::from_bits(bits).to_f32();
        let same = |got: f32| got.to_bits() == want.to_bits();
        assert!(same(half) || (half.is_nan() && want.is_nan()), "{bits:#x}: {half}, not {want}");
        let neither_is_finite = !scale.is_finite() && !want.is_finite();
        assert!(same(scale) || neither_is_finite, "{bits:#x} as a scale: {scale}, not {want}");
    }
}

#[cfg_attr(test, test)]
pub(crate) fn exp_is_accurate_over_its_range() {
    let values = on_simd!(|s| -> Vec<(f32, f32)> {
        let mut out = Vec::new();
        for i in 0..44_000 {
            let x = [0, 1, 2, 3].map(|lane| -87.0 + 0.001 * (4 * i + lane) as f32);
            let mut y = [0.0; 4];
            s.store(exp(s, s.load(&x)), &mut y);
            out.extend(x.into_iter().zip(y));
        }
        out
    });
    let mut worst = 0.0f64;
    for (x, y) in values {
        let want = f64::from(x.min(88.0)).exp();
        worst = worst.max((f64::from(y) - want).abs() / want);
    }
    assert!(worst < 2.5e-7, "{worst}");
    let ends = on_simd!(|s| -> [f32; 4] {
        let mut y = [0.0; 4];
        s.store(exp(s, s.load(&[f32::NEG_INFINITY, -1e30, 1e30, 0.0])), &mut y);
        y
    });
    assert!(
        ends[0] < 1e-37 && ends[1] < 1e-37 && ends[2] > 1e38 && ends[2].is_finite() && ends[3] == 1.0,
        "{ends:?}"
    );
}

#[cfg_attr(test, test)]
pub(crate) fn the_larger_of_two_is_the_first_unless_it_is_less() {
    const VALUES: [f32; 6] = [f32::NAN, 1.0, -2.0, f32::NEG_INFINITY, 0.0, -0.0];
    let got = on_simd!(|s| -> Vec<u32> {
        let pairs = VALUES.iter().flat_map(|&a| VALUES.iter().map(move |&b| (a, b)));
        let larger = pairs.flat_map(|(a, b)| {
            let mut lanes = [0.0; 4];
            s.store(s.max(s.splat(a), s.splat(b)), &mut lanes);
            lanes
        });
        larger.map(f32::to_bits).collect()
    });
    let pairs = VALUES.iter().flat_map(|&a| VALUES.iter().map(move |&b| if a < b { b } else { a }));
    let want: Vec<u32> = pairs.flat_map(|v| [v.to_bits(); 4]).collect();
    assert_eq!(got, want);
}

/// The integers that a form's operations give.
#[inline(always)]
fn integers<S: Simd>(s: S) -> Vec<i32> {
    let mut rng = crate::testing::Rng::new(7);
    let mut out = Vec::new();
    let mut keep = |v| {
        let mut lanes = [0; 4];
        s.store_i(v, &mut lanes);
        out.extend(lanes);
    };
    for i in 0..500 {
        let mut bytes: [u8; 16] = std::array::from_fn(|_| rng.next() as u8);
        // Extremes: every weight the smallest, the largest, alternating.
        match i {
            0 => bytes = [0x80; 16],
            1 => bytes = [0x7f; 16],
            2 => bytes = std::array::from_fn(|j| if j % 2 == 0 { 0x80 } else { 0x7f }),
            _ => {}
        }
        let x: [Quant; 4] = match i % 3 {
            0 => [-127, -127, 127, 127],
            1 => [127; 4],
            _ => std::array::from_fn(|_| (rng.below(255) as i32 - 127) as Quant),
        };
        let b = s.load_b(&bytes);
        let (n, mask) = (i % 5, 0xf);
        keep(s.lanes(s.shr_b(b, n.min(4), mask)));
        keep(s.lanes(s.shl_b(b, n.min(4), 0xf0)));
        keep(s.lanes(s.or_b(s.shr_b(b, 0, 1), s.shl_b(b, 1, 2))));
        keep(s.lanes(s.lookup(&crate::quant::iq4_nl::LEVELS, s.shr_b(b, 4, 15))));
        let start = s.start_unsigned(s.splat_i(i as i32 * 1000 - 250_000));
        keep(s.rows_unsigned(s.dot_unsigned(start, s.unsigned(s.shr_b(b, 0, 127)), &x)));
        for (max, words) in [(15, 8), (31, 4), (63, 2), (127, 1)] {
            assert_eq!(words, words_in_16_bits(max).min(8));
            let w = s.unsigned(s.shr_b(b, 0, max as u8));
            let sum = (0..3 * words).fold(start, |sum, i| {
                let sum = if i % words == 0 { s.settle(sum) } else { sum };
                s.dot_unsigned(sum, w, &x)
            });
            keep(s.rows_unsigned(sum));
        }
        let less = s.splat_i(x.iter().map(|&x| -i32::from(x)).sum());
        keep(s.rows_signed(s.dot_signed(s.start_signed(less), s.signed(b), &x)));
        let sum = (0..8).fold(s.start_signed(s.shl_i(less, 3)), |sum, _| s.dot_signed(sum, s.signed(b), &x));
        keep(s.rows_signed(sum));
        let mut quants = [[0; 4]; 4];
        let ints = [x, bytes.as_chunks().0[0].map(|b| Quant::from((b as i8).max(-127))), [1, 2, 3, -4], x];
        s.store_quants(ints.map(|x| s.load_i(bytemuck::cast_ref(&x.map(i32::from)))), quants.each_mut());
        let mut halves = [0; 4];
        s.store_i16(s.shr_i(s.load_i(&bytes), 17), &mut halves);
        for four in quants.map(|q| q.map(i32::from)).into_iter().chain([halves.map(i32::from)]) {
            keep(s.load_i(bytemuck::cast_ref(&four)));
        }
        let v = s.load_i(&bytes);
        keep(s.add_i(s.and_i(v, s.splat_i(0xff)), s.or_i(v, s.splat_i(1))));
        keep(s.shl_i(v, 9));
        keep(s.shr_i(v, 9));
        keep(s.sar_i(v, 9));
        keep(s.load_u16(bytes.first_chunk().unwrap()));
        let pairs: [u8; 16] = std::array::from_fn(|_| rng.next() as u8);
        keep(s.dot_pairs(v, s.load_i(&bytes), s.load_i(&pairs)));
        keep(s.dot_pairs(s.splat_i(i32::MAX), v, v));
        keep(s.round(s.mul(s.to_f(v), s.splat(1e-7))));
    }
    out
}

#[cfg_attr(test, test)]
pub(crate) fn integer_operations_agree_with_the_scalar_form() {
    let work = || on_simd!(|s| -> [Vec<i32>; 2] { [integers(s), integers(s.lines())] });
    assert_eq!(work(), with_scalar(work));
}
