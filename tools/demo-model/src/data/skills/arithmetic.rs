//! Sums, differences and small products.

use rand::Rng as _;

use super::super::wording::{careless, fill};
use super::super::{Dialogue, Rng, Skill};

const ADD: &[&str] = &[
    "What is {} + {}?",
    "What is {} + {}?",
    "What is {}+{}?",
    "What's {} + {}?",
    "{} + {}",
    "{}+{}",
    "{} + {} =",
    "{} + {} = ?",
    "What is {} plus {}?",
    "{} plus {}",
    "How much is {} + {}?",
    "How much is {} plus {}?",
    "Calculate {} + {}.",
    "Compute {} + {}.",
    "Add {} and {}.",
    "Can you add {} and {}?",
    "What is the sum of {} and {}?",
    "Tell me what {} plus {} is.",
    "I have {} apples and get {} more. How many do I have?",
    "There are {} birds on a tree and {} more come. How many are there?",
    "A bus has {} people and {} get on. How many people are on the bus?",
];

const SUBTRACT: &[&str] = &[
    "What is {} - {}?",
    "What is {} - {}?",
    "What is {}-{}?",
    "What's {} - {}?",
    "{} - {}",
    "{}-{}",
    "{} - {} =",
    "{} - {} = ?",
    "What is {} minus {}?",
    "{} minus {}",
    "How much is {} - {}?",
    "How much is {} minus {}?",
    "Calculate {} - {}.",
    "Compute {} - {}.",
    "Take from {} the number {}.",
    "Tell me what {} minus {} is.",
];

const LEFT: &[&str] = &[
    "I have {} apples and eat {}. How many are left?",
    "I have {} coins and spend {}. How many do I have left?",
    "There are {} birds on a tree and {} fly away. How many are left?",
    "A bus has {} people and {} get off. How many people are on the bus?",
];

const MULTIPLY: &[&str] = &[
    "What is {} × {}?",
    "What is {} * {}?",
    "What is {} x {}?",
    "What's {} * {}?",
    "{} * {}",
    "{}*{}",
    "{} x {}",
    "{} × {} =",
    "{} * {} = ?",
    "What is {} times {}?",
    "{} times {}",
    "How much is {} times {}?",
    "How much is {} × {}?",
    "Calculate {} * {}.",
    "Compute {} × {}.",
    "Multiply {} by {}.",
    "What is the product of {} and {}?",
    "A box holds {} eggs. How many eggs are in {} boxes?",
];

const DIVIDE: &[&str] = &[
    "What is {} / {}?",
    "What is {} ÷ {}?",
    "{} / {}",
    "{}/{}",
    "{} ÷ {}",
    "{} / {} =",
    "What is {} divided by {}?",
    "{} divided by {}",
    "How much is {} / {}?",
    "Divide {} by {}.",
    "Calculate {} / {}.",
];

/// Mostly of two digits.
fn operand(rng: &mut Rng) -> u32 {
    if rng.random_bool(0.15) { rng.random_range(0..10) } else { rng.random_range(10..100) }
}

pub(super) fn addition(rng: &mut Rng) -> Dialogue {
    let (a, b) = (operand(rng), operand(rng));
    let question = careless(&fill(ADD, &[&a, &b], rng), rng);
    Dialogue::new(Skill::Addition, pair(a, b), question, format!("{a} + {b} = {}.", a + b))
        .thought(add_thought(a, b))
}

/// The content of a sum: in either order.
pub(super) fn pair(a: u32, b: u32) -> String {
    format!("{} {}", a.min(b), a.max(b))
}

/// Digit by digit.
pub(super) fn add_thought(a: u32, b: u32) -> String {
    let ones = a % 10 + b % 10;
    let mut thought = format!("Ones: {} + {} = {ones}.", a % 10, b % 10);
    if a > 9 || b > 9 {
        let carry = ones / 10;
        let carried = if carry > 0 { format!(" + {carry}") } else { String::new() };
        thought += &format!(" Tens: {} + {}{carried} = {}.", a / 10, b / 10, a / 10 + b / 10 + carry);
    }
    thought
}

pub(super) fn subtraction(rng: &mut Rng) -> Dialogue {
    let (mut a, mut b) = (operand(rng), operand(rng));
    if a < b && rng.random_bool(0.65) {
        std::mem::swap(&mut a, &mut b);
    }
    let story = a >= b && rng.random_bool(0.2);
    let question = careless(&fill(if story { LEFT } else { SUBTRACT }, &[&a, &b], rng), rng);
    let answer = format!("{a} - {b} = {}.", i64::from(a) - i64::from(b));
    Dialogue::new(Skill::Subtraction, format!("{a} {b}"), question, answer).thought(subtract_thought(a, b))
}

pub(super) fn subtract_thought(a: u32, b: u32) -> String {
    if a < b {
        return format!("{b} is more than {a}, so the result is negative. {}", subtract_thought(b, a));
    }
    let (x, y) = (a % 10, b % 10);
    let borrow = u32::from(x < y);
    let ones = 10 * borrow + x - y;
    let mut thought = format!("Ones: {} - {y} = {ones}.", 10 * borrow + x);
    if a > 9 {
        let borrowed = if borrow > 0 { " - 1" } else { "" };
        thought += &format!(" Tens: {} - {}{borrowed} = {}.", a / 10, b / 10, a / 10 - b / 10 - borrow);
    }
    thought
}

/// A number of two digits times a digit, or what is learned by heart: the products up to twelve, and their divisions.
pub(super) fn product(rng: &mut Rng) -> Dialogue {
    let by_heart = rng.random_bool(0.45);
    let (a, b) = if by_heart {
        (rng.random_range(0..=12), rng.random_range(0..=12))
    } else {
        (rng.random_range(13..100), rng.random_range(2..10))
    };
    if by_heart && b > 0 && rng.random_bool(0.35) {
        let question = careless(&fill(DIVIDE, &[&(a * b), &b], rng), rng);
        let answer = format!("{} / {b} = {a}.", a * b);
        return Dialogue::new(Skill::Product, LEARNED, question, answer)
            .thought(format!("{b} times {a} is {}.", a * b));
    }
    let swapped = rng.random_bool(0.3);
    let (first, second) = if swapped { (b, a) } else { (a, b) };
    let question = careless(&fill(MULTIPLY, &[&first, &second], rng), rng);
    let content = if by_heart { LEARNED.to_owned() } else { format!("{a} {b}") };
    let sum = format!("{first} × {second} = ");
    let product = first * second;
    if by_heart || a % 10 == 0 {
        let thought = if by_heart {
            format!("{first} times {second} is {product}.")
        } else {
            format!("{} × {b} = {}, and a 0.", a / 10, a / 10 * b)
        };
        return Dialogue::new(Skill::Product, content, question, format!("{sum}{product}.")).thought(thought);
    }
    let (tens, ones) = (a / 10 * 10, a % 10);
    // Straight, the way there is a part of the answer; it is where the work is done.
    Dialogue::new(Skill::Product, content, question, format!("{sum}{} + {} = {product}.", tens * b, ones * b))
        .thought(format!("{tens} × {b} = {}. {ones} × {b} = {}.", tens * b, ones * b))
}

/// A content that is not held out (a test says so).
const LEARNED: &str = "by heart";

#[cfg(test)]
mod tests {
    use super::super::super::held_out;
    use super::*;

    #[test]
    fn the_table_of_products_is_never_tested() {
        assert!(!held_out(Skill::Product, LEARNED));
    }

    #[test]
    fn thoughts_come_to_the_result() {
        assert_eq!(add_thought(17, 25), "Ones: 7 + 5 = 12. Tens: 1 + 2 + 1 = 4.");
        assert_eq!(add_thought(98, 97), "Ones: 8 + 7 = 15. Tens: 9 + 9 + 1 = 19.");
        assert_eq!(subtract_thought(42, 17), "Ones: 12 - 7 = 5. Tens: 4 - 1 - 1 = 2.");
        assert_eq!(
            subtract_thought(17, 42),
            "42 is more than 17, so the result is negative. Ones: 12 - 7 = 5. Tens: 4 - 1 - 1 = 2."
        );
    }
}
