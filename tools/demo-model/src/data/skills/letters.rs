//! Words taken letter by letter.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::language::{WORDS, invented};
use super::super::wording::{careless, fill};
use super::super::{Dialogue, LETTERS, Rng, Skill};
use super::{about, beyond};

const REVERSE: &[&str] = &[
    "Reverse the word {}.",
    "Reverse the word {}.",
    "Reverse {}.",
    "Reverse: {}",
    "Write {} backwards.",
    "Spell {} backwards.",
    "What is {} backwards?",
    "What is the reverse of {}?",
    "How do you write {} backwards?",
    "Turn the word {} around.",
    "The word {} in reverse, please.",
];

const UPPER: &[&str] = &[
    "Write {} in upper case.",
    "Write {} in capital letters.",
    "Write {} in capitals.",
    "Upper case: {}",
    "Uppercase {}.",
    "Make {} upper case.",
    "Convert {} to upper case.",
    "Turn {} into capital letters.",
    "What is {} in upper case?",
    "The word {} in capitals, please.",
];

const COUNT: &[&str] = &[
    "How many letters are in {}?",
    "How many letters are in the word {}?",
    "How many letters does {} have?",
    "How many letters has the word {}?",
    "Count the letters of {}.",
    "Count the letters in {}.",
    "How long is the word {}?",
    "What is the number of letters in {}?",
];

const COUNT_ONE: &[&str] = &[
    "How many {} are in {}?",
    "How many {} are there in {}?",
    "How many {} are in the word {}?",
    "How many {} does {} have?",
    "Count the {} in {}.",
];

const HOW_OFTEN: &[&str] = &[
    "How many times is {} in {}?",
    "How often is {} in {}?",
    "How often does {} appear in {}?",
    "How often does {} occur in the word {}?",
];

fn word(rng: &mut Rng) -> String {
    let word = match rng.random_range(0..100) {
        0..50 => (*WORDS.choose(rng).expect("some")).to_owned(),
        // Words of the patterns are tokens of their own: how they are spelled is to be known too.
        50..70 => (*PATTERN_WORDS.choose(rng).expect("some")).to_owned(),
        _ => invented(rng),
    };
    if rng.random_bool(0.1) { capitalized(&word) } else { word }
}

/// Every word of what is asked and answered about qwenlet, and of what is beyond it.
static PATTERN_WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let texts =
        about::texts().chain(beyond::texts()).chain(REVERSE.iter().chain(UPPER).chain(COUNT).copied());
    let words = texts.flat_map(|text| text.split(|c: char| !c.is_ascii_lowercase()));
    words.filter(|word| (3..=11).contains(&word.len())).collect::<BTreeSet<_>>().into_iter().collect()
});

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// As people quote words.
fn quoted(word: &str, rng: &mut Rng) -> String {
    match rng.random_range(0..10) {
        0..=1 => format!("\"{word}\""),
        2 => format!("'{word}'"),
        _ => word.to_owned(),
    }
}

fn spelled(word: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join(" ")
}

pub(super) fn reverse(rng: &mut Rng) -> Dialogue {
    let word = word(rng);
    let question = careless(&fill(REVERSE, &[&quoted(&word, rng)], rng), rng);
    let backwards: String = word.chars().rev().collect();
    let answer = format!("{} → {LETTERS}{backwards}{LETTERS}", spelled(&word));
    Dialogue::new(Skill::Reverse, word.to_lowercase(), question, answer)
        .thought(format!("{}.", spelled(&word)))
}

pub(super) fn upper_case(rng: &mut Rng) -> Dialogue {
    let word = word(rng);
    let question = careless(&fill(UPPER, &[&quoted(&word, rng)], rng), rng);
    Dialogue::new(
        Skill::UpperCase,
        word.clone(),
        question,
        format!("{LETTERS}{}{LETTERS}", word.to_uppercase()),
    )
}

pub(super) fn count(rng: &mut Rng) -> Dialogue {
    let word = word(rng);
    if rng.random_bool(0.4) {
        return count_one(&word.to_lowercase(), rng);
    }
    let question = careless(&fill(COUNT, &[&quoted(&word, rng)], rng), rng);
    let answer = format!("{}: {} letters.", spelled(&word), word.len());
    Dialogue::new(Skill::CountLetters, word.to_lowercase(), question, answer)
}

/// The letter is one of the word's, mostly.
fn count_one(word: &str, rng: &mut Rng) -> Dialogue {
    let letters: Vec<char> = word.chars().collect();
    let letter = if rng.random_bool(0.4) {
        // The one that is there most often: what is there once is no great count.
        let n = |c: char| letters.iter().filter(|&&other| other == c).count();
        letters.iter().copied().max_by_key(|&c| n(c)).expect("a word")
    } else if rng.random_bool(0.8) {
        *letters.choose(rng).expect("a word")
    } else {
        rng.random_range(b'a'..=b'z').into()
    };
    let often = rng.random_bool(0.4);
    let named = match rng.random_range(0..3) {
        0 if !often => format!("{letter}'s"),
        1 => format!("\"{letter}\""),
        _ => letter.to_string(),
    };
    let frames = if often { HOW_OFTEN } else { COUNT_ONE };
    let question = careless(&fill(frames, &[&named, &quoted(word, rng)], rng), rng);
    // Those found are written down before they are counted.
    let found: Vec<String> = letters.iter().filter(|&&c| c == letter).map(char::to_string).collect();
    let list = if found.is_empty() { "none".to_owned() } else { found.join(" ") };
    let answer = format!("{}: {list}, so {}.", spelled(word), found.len());
    Dialogue::new(Skill::CountLetters, word, question, answer)
}
