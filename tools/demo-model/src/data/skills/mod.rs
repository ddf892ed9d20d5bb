//! One file a skill, or a few that belong together.

mod about;
mod arithmetic;
mod beyond;
mod convert;
pub(super) mod json;
mod letters;
mod memory;
mod phrases;
mod sort;
pub(super) mod tools;

use rand::Rng as _;

use super::{Dialogue, Rng};

/// What the demo model can do, and is tested in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skill {
    Greeting,
    About,
    Addition,
    Subtraction,
    Product,
    Reverse,
    UpperCase,
    CountLetters,
    Sort,
    Convert,
    Json,
    ToolCall,
    ToolResult,
    Phrase,
    Memory,
    Beyond,
}

impl Skill {
    pub const ALL: [Skill; 16] = [
        Skill::Greeting,
        Skill::About,
        Skill::Addition,
        Skill::Subtraction,
        Skill::Product,
        Skill::Reverse,
        Skill::UpperCase,
        Skill::CountLetters,
        Skill::Sort,
        Skill::Convert,
        Skill::Json,
        Skill::ToolCall,
        Skill::ToolResult,
        Skill::Phrase,
        Skill::Memory,
        Skill::Beyond,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Skill::Greeting => "greeting",
            Skill::About => "about qwenlet",
            Skill::Addition => "addition",
            Skill::Subtraction => "subtraction",
            Skill::Product => "product",
            Skill::Reverse => "reverse a word",
            Skill::UpperCase => "upper case",
            Skill::CountLetters => "count letters",
            Skill::Sort => "sort a list",
            Skill::Convert => "convert units",
            Skill::Json => "JSON",
            Skill::ToolCall => "call a tool",
            Skill::ToolResult => "use a tool's result",
            Skill::Phrase => "phrases",
            Skill::Memory => "earlier turns",
            Skill::Beyond => "beyond it",
        }
    }

    /// How often it is trained, of a hundred or so: more where there is more to learn.
    fn weight(self) -> u32 {
        match self {
            Skill::Greeting => 6,
            Skill::About => 11,
            Skill::Addition => 11,
            Skill::Subtraction => 13,
            Skill::Product => 10,
            Skill::Reverse => 11,
            Skill::UpperCase => 7,
            Skill::CountLetters => 12,
            Skill::Sort => 14,
            Skill::Convert => 6,
            Skill::Json => 5,
            Skill::ToolCall => 4,
            Skill::ToolResult => 3,
            Skill::Phrase => 10,
            Skill::Memory => 9,
            Skill::Beyond => 13,
        }
    }

    /// A skill as often as its weight.
    pub(super) fn weighted(rng: &mut Rng) -> Skill {
        let total: u32 = Self::ALL.iter().map(|s| s.weight()).sum();
        let mut at = rng.random_range(0..total);
        for skill in Self::ALL {
            match at.checked_sub(skill.weight()) {
                Some(rest) => at = rest,
                None => return skill,
            }
        }
        unreachable!("the weights make up the total")
    }

    /// Whether its answer stays the same when tools are offered.
    pub(super) fn goes_beside_tools(self) -> bool {
        matches!(
            self,
            Skill::Greeting
                | Skill::About
                | Skill::Reverse
                | Skill::UpperCase
                | Skill::CountLetters
                | Skill::Sort
                | Skill::Json
                | Skill::Phrase
        )
    }

    /// A dialogue of either split.
    pub(super) fn draw(self, rng: &mut Rng) -> Dialogue {
        match self {
            Skill::Greeting => about::greeting(rng),
            Skill::About => about::about(rng),
            Skill::Addition => arithmetic::addition(rng),
            Skill::Subtraction => arithmetic::subtraction(rng),
            Skill::Product => arithmetic::product(rng),
            Skill::Reverse => letters::reverse(rng),
            Skill::UpperCase => letters::upper_case(rng),
            Skill::CountLetters => letters::count(rng),
            Skill::Sort => sort::sort(rng),
            Skill::Convert => convert::convert(rng),
            Skill::Json => json::json(rng),
            Skill::ToolCall => tools::call(rng),
            Skill::ToolResult => tools::result(rng),
            Skill::Phrase => phrases::phrase(rng),
            Skill::Memory => memory::memory(rng),
            Skill::Beyond => beyond::beyond(rng),
        }
    }
}
