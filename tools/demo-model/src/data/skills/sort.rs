//! Short lists in order.

use std::cmp::Reverse;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::language::{WORDS, invented};
use super::super::wording::{careless, fill};
use super::super::{Dialogue, Rng, Skill};

const NUMBERS: &[&str] = &[
    "Sort {}.",
    "Sort: {}",
    "Sort the numbers {}.",
    "Sort these numbers: {}",
    "Sort these numbers: {}.",
    "Put these numbers in order: {}",
    "Put {} in order.",
    "Order the numbers {}.",
    "Sort {} from smallest to largest.",
    "Sort this list: {}",
];

const FALLING: &[&str] = &[
    "Sort {} from largest to smallest.",
    "Sort the numbers {} from largest to smallest.",
    "Sort {} in descending order.",
    "Put {} in order, largest first.",
];

const NAMES: &[&str] = &[
    "Sort {}.",
    "Sort these words: {}",
    "Sort the words {}.",
    "Sort {} alphabetically.",
    "Put these words in order: {}",
    "Put {} in alphabetical order.",
    "Sort this list: {}",
];

pub(super) fn sort(rng: &mut Rng) -> Dialogue {
    if rng.random_bool(0.35) { words(rng) } else { numbers(rng) }
}

fn numbers(rng: &mut Rng) -> Dialogue {
    let (n, below) =
        if rng.random_bool(0.35) { (rng.random_range(3..=6), 10) } else { (rng.random_range(3..=5), 100) };
    let mut list: Vec<u32> = Vec::new();
    while list.len() < n {
        let v = rng.random_range(0..below);
        if !list.contains(&v) {
            list.push(v);
        }
    }
    let falling = rng.random_bool(0.25);
    let question = careless(&fill(if falling { FALLING } else { NUMBERS }, &[&join(&list, rng)], rng), rng);
    if falling {
        list.sort_unstable_by_key(|&v| Reverse(v));
    } else {
        list.sort_unstable();
    }
    let answer = list.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    // The order in which they were asked is not what makes a list another one.
    list.sort_unstable();
    Dialogue::new(Skill::Sort, format!("{list:?}"), question, answer)
}

fn words(rng: &mut Rng) -> Dialogue {
    let n = rng.random_range(3..=4);
    let mut list: Vec<String> = Vec::new();
    while list.len() < n {
        let word = if rng.random_bool(0.95) {
            (*WORDS.choose(rng).expect("some")).to_owned()
        } else {
            invented(rng)
        };
        // Words that begin alike are a finer art than is asked of it.
        if list.iter().all(|w| w.as_bytes()[0] != word.as_bytes()[0]) {
            list.push(word);
        }
    }
    let question = careless(&fill(NAMES, &[&join(&list, rng)], rng), rng);
    list.sort_unstable();
    Dialogue::new(Skill::Sort, list.join(" "), question, list.join(", "))
}

fn join<T: ToString>(list: &[T], rng: &mut Rng) -> String {
    let parts: Vec<String> = list.iter().map(T::to_string).collect();
    match rng.random_range(0..10) {
        0..=1 => {
            let (last, first) = parts.split_last().expect("not empty");
            format!("{} and {last}", first.join(", "))
        }
        2..=4 => parts.join(" "),
        _ => parts.join(", "),
    }
}
