//! The kernels' unit tests as exports, for a browser to run: each form of SIMD is only there.
#![allow(unreachable_pub, reason = "exports to JavaScript are public and nothing in Rust names them")]

use wasm_bindgen::prelude::*;

use crate::kernels::{matmul, simd};

/// Names a test and runs it; a failure is a panic, which ends the instance.
macro_rules! checks {
    ($($module:ident: $($name:ident)*;)*) => {
        const CHECKS: &[(&str, fn())] =
            &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::tests::$name)),*),*];
    };
}

checks! {
    simd: every_half_converts_exactly exp_is_accurate_over_its_range integer_operations_agree_with_the_scalar_form;
    matmul: rows_come_back_as_they_were_written quantized_activations_are_within_half_a_step unusual_activations_show_in_the_result products_match_the_reference every_instruction_set_and_number_of_lines_gives_the_same_bits shapes_that_do_not_fit_are_refused;
}

/// Names of the tests.
#[wasm_bindgen]
pub fn checks() -> Vec<String> {
    CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Runs test `i`; names the instruction set that it ran on.
#[wasm_bindgen]
pub fn run_check(i: usize) -> String {
    CHECKS[i].1();
    simd::name().to_owned()
}
