//! Words taken letter by letter.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::language::{WORDS, invented};
use super::super::wording::{careless, fill};
use super::super::{Dialogue, LETTERS, Rng, Skill};

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
    if rng.random_bool(0.65) { (*WORDS.choose(rng).expect("some")).to_owned() } else { invented(rng) }
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
    Dialogue::new(Skill::Reverse, word.clone(), question, answer).thought(format!("{}.", spelled(&word)))
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
    if rng.random_bool(0.3) {
        return count_one(&word, rng);
    }
    let question = careless(&fill(COUNT, &[&quoted(&word, rng)], rng), rng);
    let answer = format!("{}: {} letters.", spelled(&word), word.len());
    Dialogue::new(Skill::CountLetters, word.clone(), question, answer)
}

/// The letter is one of the word's, mostly.
fn count_one(word: &str, rng: &mut Rng) -> Dialogue {
    let letters: Vec<char> = word.chars().collect();
    let letter = if rng.random_bool(0.85) {
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
