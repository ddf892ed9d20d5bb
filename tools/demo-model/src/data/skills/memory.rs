//! What was said before.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::language::{COLOURS, THINGS};
use super::super::wording::{careless, fill};
use super::super::{Dialogue, Rng, Skill, Split, draw, held_out, plain};
use super::arithmetic::{add_thought, pair, subtract_thought};
use super::json::{city, name};

/// A thing that a visitor tells, and how it is asked for.
struct Fact {
    told: &'static [&'static str],
    taken: &'static str,
    asked: &'static [&'static str],
    known: &'static str,
    unknown: &'static str,
}

const NAME: Fact = Fact {
    told: &[
        "My name is {}.",
        "I am {}.",
        "Hello, I am {}.",
        "Hi, my name is {}.",
        "I'm {}.",
        "You can call me {}.",
    ],
    taken: "Nice to meet you, {}.",
    asked: &[
        "What is my name?",
        "What's my name?",
        "Who am I?",
        "Do you remember my name?",
        "Do you know my name?",
        "Tell me my name.",
        "How am I called?",
    ],
    known: "Your name is {}.",
    unknown: "You have not told me your name.",
};

const CITY: Fact = Fact {
    told: &["I live in {}.", "My city is {}.", "I am from {}.", "My home is in {}."],
    taken: "I will remember that: {}.",
    asked: &[
        "Where do I live?",
        "What is my city?",
        "Which city do I live in?",
        "Where is my home?",
        "Where am I from?",
    ],
    known: "You live in {}.",
    unknown: "You have not told me where you live.",
};

const COLOUR: Fact = Fact {
    told: &[
        "My favourite colour is {}.",
        "My favorite color is {}.",
        "I like {} most of all colours.",
        "I love the colour {}.",
    ],
    taken: "I will remember that: {}.",
    asked: &[
        "What is my favourite colour?",
        "What is my favorite color?",
        "Which colour do I like?",
        "What colour do I like most?",
    ],
    known: "Your favourite colour is {}.",
    unknown: "You have not told me your favourite colour.",
};

const THING: Fact = Fact {
    told: &["I need a {}.", "I want to buy a {}.", "Remember the word {}.", "I have lost my {}."],
    taken: "I will remember that: {}.",
    asked: &[
        "What did I need?",
        "Which word did I tell you?",
        "What did I want?",
        "What was it that I told you?",
    ],
    known: "It was {}.",
    unknown: "You have not told me.",
};

fn put(text: &str, value: &str) -> String {
    text.replace("{}", value)
}

pub(super) fn memory(rng: &mut Rng) -> Dialogue {
    if rng.random_bool(0.35) {
        return follow_up(rng);
    }
    let (fact, value): (&Fact, String) = match rng.random_range(0..8) {
        0..=3 => (&NAME, name(rng)),
        4..=5 => (&CITY, city(rng)),
        6 => (&COLOUR, (*COLOURS.choose(rng).expect("some")).to_owned()),
        _ => (&THING, (*THINGS.choose(rng).expect("some")).to_owned()),
    };
    let question = careless(fact.asked.choose(rng).expect("some"), rng);
    if rng.random_bool(0.12) {
        return Dialogue::new(Skill::Memory, UNTOLD, question, fact.unknown);
    }
    let mut dialogue = Dialogue::new(Skill::Memory, value.clone(), question, put(fact.known, &value));
    let told = careless(&put(fact.told.choose(rng).expect("some"), &value), rng);
    let taken = put(fact.taken, &value);
    let mut first = Dialogue::new(Skill::Memory, value, told, taken);
    if rng.random_bool(0.2) {
        return first;
    }
    for _ in 0..[0, 0, 1, 1, 2, 3].choose(rng).copied().expect("some") {
        let other = between(rng);
        dialogue.follow(other);
    }
    if rng.random_bool(0.3) {
        first.follow(draw(Skill::Greeting, Split::Train, rng));
    }
    dialogue.follow(first);
    dialogue
}

/// Something else to talk about; a history is learned from, so nothing of the test is in it.
fn between(rng: &mut Rng) -> Dialogue {
    let skills = [
        Skill::Addition,
        Skill::UpperCase,
        Skill::Sort,
        Skill::Convert,
        Skill::Phrase,
        Skill::About,
        Skill::Product,
    ];
    draw(*skills.choose(rng).expect("some"), Split::Train, rng)
}

/// What is told, answered there and then.
const MORE: &[&str] =
    &["And plus {}?", "Plus {}?", "Add {}.", "Add {} to that.", "Now add {}.", "And if I add {}?"];
const LESS: &[&str] =
    &["And minus {}?", "Minus {}?", "Take away {}.", "Now take away {}.", "And if I take away {}?"];

/// A sum that goes on from the last one.
fn follow_up(rng: &mut Rng) -> Dialogue {
    let (first, so_far, c, more) = loop {
        let first = draw(Skill::Addition, Split::Train, rng);
        let so_far: u32 = plain(&first.answer)
            .split_once("= ")
            .and_then(|(_, sum)| sum.trim_end_matches('.').parse().ok())
            .expect("a sum");
        let c = rng.random_range(1..=60);
        let more = so_far + c < 100 && rng.random_bool(0.6);
        // Nothing of the test of sums is told here.
        let told = if more {
            held_out(Skill::Addition, &pair(so_far, c))
        } else {
            c > so_far || held_out(Skill::Subtraction, &format!("{so_far} {c}"))
        };
        if !told {
            break (first, so_far, c, more);
        }
    };
    let (question, answer, thought) = if more {
        (fill(MORE, &[&c], rng), format!("{so_far} + {c} = {}.", so_far + c), add_thought(so_far, c))
    } else {
        (fill(LESS, &[&c], rng), format!("{so_far} - {c} = {}.", so_far - c), subtract_thought(so_far, c))
    };
    let mut dialogue =
        Dialogue::new(Skill::Memory, format!("{} {c}", first.content), careless(&question, rng), answer)
            .thought(thought);
    dialogue.follow(first);
    dialogue
}

/// The content of questions for what was not told: there is one, so it is always trained (a test says so).
const UNTOLD: &str = "nothing told";

#[cfg(test)]
mod tests {
    use super::super::super::held_out;
    use super::*;

    #[test]
    fn what_was_not_told_is_trained() {
        assert!(!held_out(Skill::Memory, UNTOLD));
    }
}
