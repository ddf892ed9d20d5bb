//! A sentence as JSON.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value};

use super::super::language::{CITIES, NAMES, THINGS, invented_name};
use super::super::wording::fill;
use super::super::{Dialogue, Rng, Skill};

const FRAMES: &[&str] = &[
    "Give me JSON with {}: {}",
    "JSON with {}: {}",
    "Write as JSON with {}: {}",
    "Write JSON with the keys {}: {}",
    "Return a JSON object with {}: {}",
    "Answer in JSON with {}. {}",
    "Extract {} as JSON: {}",
    "Make JSON with the keys {} from this: {}",
];

pub(super) fn name(rng: &mut Rng) -> String {
    if rng.random_bool(0.7) { (*NAMES.choose(rng).expect("some")).to_owned() } else { invented_name(rng) }
}

pub(super) fn city(rng: &mut Rng) -> String {
    if rng.random_bool(0.7) { (*CITIES.choose(rng).expect("some")).to_owned() } else { invented_name(rng) }
}

pub(super) fn json(rng: &mut Rng) -> Dialogue {
    let n: u32 = rng.random_range(2..100);
    let (name, city) = (name(rng), city(rng));
    let thing = *THINGS.choose(rng).expect("some");
    let (fields, sentence): (Vec<(&str, Value)>, String) = match rng.random_range(0..6) {
        0 => (
            vec![("name", name.as_str().into()), ("age", n.into())],
            fill(&["{} is {} years old.", "{} is {}.", "{}, {} years old."], &[&name, &n], rng),
        ),
        1 => (
            vec![("name", name.as_str().into()), ("city", city.as_str().into())],
            fill(&["{} lives in {}.", "{} is from {}.", "{} comes from {}."], &[&name, &city], rng),
        ),
        2 => (
            vec![("name", name.as_str().into()), ("age", n.into()), ("city", city.as_str().into())],
            fill(
                &[
                    "{} is {} years old and lives in {}.",
                    "{}, {}, lives in {}.",
                    "{} is {} and comes from {}.",
                ],
                &[&name, &n, &city],
                rng,
            ),
        ),
        3 => (
            vec![("item", thing.into()), ("price", n.into())],
            fill(
                &["The {} costs {} euros.", "A {} for {} euros.", "The price of the {} is {} euros."],
                &[&thing, &n],
                rng,
            ),
        ),
        4 => (
            vec![("item", thing.into()), ("count", n.into())],
            fill(
                &["For the {} the count is {}.", "Item {}, {} pieces.", "The {}: we have {} of them."],
                &[&thing, &n],
                rng,
            ),
        ),
        _ => (
            vec![("city", city.as_str().into()), ("temperature", n.into())],
            fill(
                &["In {} it is {} degrees.", "{} has {} degrees.", "The temperature in {} is {}."],
                &[&city, &n],
                rng,
            ),
        ),
    };
    let keys: Vec<&str> = fields.iter().map(|(key, _)| *key).collect();
    let question = fill(FRAMES, &[&list(&keys, rng), &sentence], rng);
    let object: Map<String, Value> = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let values: Vec<String> = object.values().map(Value::to_string).collect();
    Dialogue::new(Skill::Json, values.join(" "), question, spaced(&Value::Object(object)))
}

fn list(keys: &[&str], rng: &mut Rng) -> String {
    let quote = rng.random_bool(0.3);
    let keys: Vec<String> =
        keys.iter().map(|k| if quote { format!("\"{k}\"") } else { (*k).to_owned() }).collect();
    let (last, first) = keys.split_last().expect("not empty");
    if rng.random_bool(0.3) { keys.join(", ") } else { format!("{} and {last}", first.join(", ")) }
}

/// JSON with a space behind each colon and comma, as Qwen's templates write it.
pub fn spaced(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(k, v)| format!("\"{k}\": {}", spaced(v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
