//! Dialogues of the demo model: what it is trained on, and what it is asked in the evaluation.
//!
//! Everything is made by this code from the lists beside it, seeded. A dialogue has a content (the operands of a sum, the
//! wording of a question); the content's hash says whether it belongs to training or to the test, so no tested content
//! is ever trained on.

mod alternatives;
mod dialogue;
mod language;
mod skills;
mod wording;

pub use dialogue::{Call, Dialogue, LETTERS, UNLEARNED, plain};
pub use skills::{Skill, json::spaced};

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// The generator of everything random here; the same numbers on every platform.
pub type Rng = ChaCha8Rng;

/// Training and test have no content in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Test,
}

/// One content in so many is kept for the test.
const HELD_OUT: u64 = 10;

/// Whether a content is of the test.
pub fn held_out(skill: Skill, content: &str) -> bool {
    xxhash_rust::xxh3::xxh3_64_with_seed(content.as_bytes(), skill as u64).is_multiple_of(HELD_OUT)
}

/// Whether a word is one of the list that words to spell, sort and ask about are taken from.
pub fn is_listed(word: &str) -> bool {
    language::WORDS.binary_search(&word).is_ok()
}

/// A generator for one part of the data: the numbers do not depend on what other parts draw.
pub fn rng(seed: u64, part: &str, number: u64) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(part.as_bytes()).to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    Rng::from_seed(bytes)
}

/// A dialogue of one skill, without anything before it.
pub fn draw(skill: Skill, split: Split, rng: &mut Rng) -> Dialogue {
    loop {
        let dialogue = skill.draw(rng);
        if held_out(skill, &dialogue.content) == (split == Split::Test) {
            return dialogue;
        }
    }
}

/// System messages that change nothing.
const SYSTEM: &[&str] = &[
    "You are a helpful assistant.",
    "You are helpful.",
    "Answer briefly.",
    "Be short and clear.",
    "You are the assistant of a web page.",
];

/// How many dialogues come before one, where some do.
const BEFORE: &[u32] = &[1, 1, 2, 2, 3, 4, 5, 7, 10, 14];

/// A dialogue as a visitor may lead it: thinking or not, sometimes with other dialogues before it, with a system message,
/// with tools that it does not need.
pub fn sample(rng: &mut Rng) -> Dialogue {
    let skill = Skill::weighted(rng);
    let mut dialogue = draw(skill, Split::Train, rng);
    dialogue.thinking = rng.random_bool(0.4);
    if rng.random_bool(0.4) {
        for _ in 0..*BEFORE.choose(rng).expect("some") {
            let other = Skill::weighted(rng);
            let other = draw(other, Split::Train, rng);
            // A name told before would make the question for an untold one another question.
            if other.tools.is_empty() && !(dialogue.skill == Skill::Memory && other.skill == Skill::Memory) {
                dialogue.follow(other);
            }
        }
    }
    if dialogue.tools.is_empty() && dialogue.skill.goes_beside_tools() && rng.random_bool(0.04) {
        dialogue.tools = skills::tools::some(rng);
    }
    if rng.random_bool(0.1) {
        let text = SYSTEM.choose(rng).expect("some");
        dialogue.messages.insert(0, json!({"role": "system", "content": text}));
    }
    dialogue
}

/// Dialogues of the test: `n` of each skill, thinking and not in turn where the skill thinks.
pub fn test_set(skill: Skill, n: usize, seed: u64) -> Vec<Dialogue> {
    let mut seen = std::collections::BTreeSet::new();
    let mut out = Vec::new();
    let mut rng = rng(seed, skill.name(), 0);
    for tries in 0.. {
        if out.len() == n || tries > 200 * n {
            break;
        }
        let mut dialogue = draw(skill, Split::Test, &mut rng);
        dialogue.thinking = out.len() % 2 == 1;
        if seen.insert(serde_json::to_string(&dialogue.messages).expect("JSON")) {
            out.push(dialogue);
        }
    }
    out
}

/// Puts `n` other dialogues before one, as in a long conversation.
pub fn converse(dialogue: &mut Dialogue, n: usize, rng: &mut Rng) {
    let mut done = 0;
    while done < n {
        let other = draw(Skill::weighted(rng), Split::Train, rng);
        if other.tools.is_empty() && other.skill != Skill::Memory {
            dialogue.follow(other);
            done += 1;
        }
    }
}

/// A message of the user's.
fn user(text: impl Into<String>) -> Value {
    json!({"role": "user", "content": text.into()})
}
