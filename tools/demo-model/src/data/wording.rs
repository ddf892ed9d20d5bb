//! How people write: without capitals, without the full stop, with a please.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::Rng;

const BEFORE: &[&str] = &["Please: ", "Hi! ", "Hello, ", "Hey, ", "Quick question: ", "Can you help? "];
const AFTER: &[&str] = &[" Please.", " Thanks!", " Thank you."];

/// A question in a careless hand. Nothing inside it changes, only its ends.
pub(super) fn careless(question: &str, rng: &mut Rng) -> String {
    let mut text = question.to_owned();
    if rng.random_bool(0.15) {
        let mut chars = text.chars();
        if let Some(first) = chars.next() {
            text = first.to_lowercase().chain(chars).collect();
        }
    }
    if rng.random_bool(0.2) {
        text = text.trim_end_matches(['.', '?', '!']).to_owned();
    } else if text.ends_with(['.', '?']) && rng.random_bool(0.04) {
        text += AFTER.choose(rng).expect("some");
    }
    if rng.random_bool(0.06) {
        text = format!("{}{text}", BEFORE.choose(rng).expect("some"));
    }
    text
}

/// One of a list, filled in: `{}` in turn.
pub(super) fn fill(frames: &[&str], values: &[&dyn std::fmt::Display], rng: &mut Rng) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = *frames.choose(rng).expect("some");
    while let Some((before, after)) = rest.split_once("{}") {
        out += before;
        out += &values.next().expect("as many values as places").to_string();
        rest = after;
    }
    out + rest
}
