//! The kernels' unit tests as exports, for a browser to run: each form of SIMD is only there.
#![allow(unreachable_pub, reason = "exports to JavaScript are public and nothing in Rust names them")]

use wasm_bindgen::prelude::*;

use crate::kernels;
use crate::kernels::{
    attention::cpu::tests as attention, matmul::tests as matmul, simd::tests as simd,
    store_kv::cpu::tests as store_kv, tests as references,
};

/// Names tests and where they are; a failure is a panic, which ends the instance.
macro_rules! checks {
    ($($module:ident: $($name:ident)*;)*) => {
        const CHECKS: &[(&str, fn())] =
            &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*),*];
    };
}

checks! {
    simd:
        every_half_converts_exactly
        exp_is_accurate_over_its_range
        the_larger_of_two_is_the_first_unless_it_is_less
        integer_operations_agree_with_the_scalar_form;
    matmul:
        rows_come_back_as_they_were_written
        quantized_activations_are_within_half_a_step
        unusual_activations_show_in_the_result
        products_match_the_reference
        every_instruction_set_and_number_of_lines_gives_the_same_bits
        shapes_that_do_not_fit_are_refused;
    attention:
        every_shape_gives_what_the_reference_gives
        sequences_do_not_mix
        scores_and_values_of_any_size_are_held
        a_row_gives_the_same_bits_alone_and_among_others
        what_is_no_number_shows_in_rows_that_see_it_alone;
    store_kv:
        values_of_any_size_are_held_within_their_heads_resolution
        what_is_no_number_shows
        a_position_writes_its_own_slot_alone;
    references:
        embed_takes_the_tokens_rows
        matmul_adds_bias_and_what_was_there
        rms_norm_works_on_each_head
        rope_turns_half_split_pairs_and_leaves_the_rest
        silu_mul_and_select_rows
        attention_weighs_the_positions_of_its_own_sequence
        silu_and_norm_keep_up_with_the_references_over_their_range;
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
    kernels::simd::name().to_owned()
}
