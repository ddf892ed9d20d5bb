//! Units.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::wording::{careless, fill};
use super::super::{Dialogue, Rng, Skill};

/// A unit, its names, the smaller one, how many of it, and up to how many of the larger one are asked for.
struct Pair {
    large: &'static [&'static str],
    small: &'static [&'static str],
    factor: u32,
    up_to: u32,
}

const PAIRS: &[Pair] = &[
    Pair {
        large: &["km", "kilometres", "kilometers"],
        small: &["m", "metres", "meters"],
        factor: 1000,
        up_to: 99,
    },
    Pair {
        large: &["m", "metres", "meters"],
        small: &["cm", "centimetres", "centimeters"],
        factor: 100,
        up_to: 99,
    },
    Pair {
        large: &["cm", "centimetres", "centimeters"],
        small: &["mm", "millimetres"],
        factor: 10,
        up_to: 99,
    },
    Pair { large: &["kg", "kilograms", "kilos"], small: &["g", "grams"], factor: 1000, up_to: 99 },
    Pair { large: &["t", "tonnes", "tons"], small: &["kg", "kilograms"], factor: 1000, up_to: 99 },
    Pair { large: &["l", "litres", "liters"], small: &["ml", "millilitres"], factor: 1000, up_to: 99 },
    Pair { large: &["hours"], small: &["minutes"], factor: 60, up_to: 12 },
    Pair { large: &["minutes"], small: &["seconds"], factor: 60, up_to: 12 },
    Pair { large: &["days"], small: &["hours"], factor: 24, up_to: 9 },
    Pair { large: &["weeks"], small: &["days"], factor: 7, up_to: 10 },
    Pair { large: &["years"], small: &["months"], factor: 12, up_to: 10 },
];

const FRAMES: &[&str] = &[
    "Convert {} {} to {}.",
    "Convert {} {} into {}.",
    "What is {} {} in {}?",
    "{} {} in {}",
    "{} {} to {}",
    "How much is {} {} in {}?",
];

/// The smaller unit comes first.
const TURNED: &[&str] = &["How many {} are {} {}?", "How many {} are in {} {}?", "How many {} is {} {}?"];

pub(super) fn convert(rng: &mut Rng) -> Dialogue {
    // Powers of ten have many numbers to learn from, the others few.
    let pair = PAIRS.choose(rng).expect("some");
    let n = rng.random_range(2..=pair.up_to);
    let down = pair.factor.is_multiple_of(10) && pair.factor != 60 && rng.random_bool(0.3);
    let (from, to) = if down { (pair.small, pair.large) } else { (pair.large, pair.small) };
    let from_name = from.choose(rng).expect("some");
    let to_name = to.choose(rng).expect("some");
    let given = if down { n * pair.factor } else { n };
    let question = if rng.random_bool(0.3) {
        fill(TURNED, &[to_name, &given, from_name], rng)
    } else {
        fill(FRAMES, &[&given, from_name, to_name], rng)
    };
    let (from, to) = (from[0], to[0]);
    let answer = match (down, pair.factor) {
        (true, _) => format!("{given} {from} = {n} {to}."),
        (false, 10 | 100 | 1000) => format!("{n} {from} = {} {to}.", n * pair.factor),
        (false, factor) => format!("{n} {from} = {n} × {factor} {to} = {} {to}.", n * factor),
    };
    Dialogue::new(Skill::Convert, format!("{n} {from} {to}"), careless(&question, rng), answer)
}
