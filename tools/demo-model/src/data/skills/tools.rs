//! Calling a tool, and saying what it found.

use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};

use super::super::dialogue::Call;
use super::super::wording::{careless, fill};
use super::super::{Dialogue, Rng, Skill, user};
use super::beyond;
use super::json::{city, spaced};

const CALCULATOR: &[&str] = &[
    "Computes an arithmetic expression",
    "Calculates",
    "Evaluates an expression such as 2 + 3 * 4",
    "A calculator",
    "Does arithmetic.",
];
const EXPRESSION: &[&str] = &["The expression", "What to compute", "For example 12 * 7"];
const GET_WEATHER: &[&str] =
    &["Tells the weather of a city", "The weather now", "Gets the current weather", "Weather in a city."];
const CITY: &[&str] = &["The city", "Name of the city", "For example Paris"];

const COMPUTE: &[&str] = &[
    "What is {}?",
    "What is {}?",
    "What's {}?",
    "Calculate {}.",
    "Compute {}.",
    "How much is {}?",
    "{}",
    "{} =",
    "Use the calculator: {}",
    "Please work out {}.",
];

const WEATHER: &[&str] = &[
    "What is the weather in {}?",
    "What is the weather in {}?",
    "What's the weather in {}?",
    "What is the weather like in {}?",
    "How is the weather in {}?",
    "How is the weather in {} today?",
    "Weather in {}",
    "Tell me the weather in {}.",
    "Is it raining in {}?",
    "Is it sunny in {}?",
    "How warm is it in {}?",
    "How cold is it in {}?",
    "What is the temperature in {}?",
    "Do I need an umbrella in {}?",
];

const CONDITIONS: &[&str] =
    &["sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "stormy", "clear", "dry", "hot"];

fn tool(name: &str, descriptions: &[&str], argument: &str, arguments: &[&str], rng: &mut Rng) -> Value {
    let description = *descriptions.choose(rng).expect("some");
    let property = if rng.random_bool(0.5) {
        json!({"type": "string"})
    } else {
        json!({"type": "string", "description": arguments.choose(rng).expect("some")})
    };
    json!({"type": "function", "function": {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": {argument: property}, "required": [argument]},
    }})
}

fn calculator(rng: &mut Rng) -> Value {
    tool("calculator", CALCULATOR, "expression", EXPRESSION, rng)
}

fn get_weather(rng: &mut Rng) -> Value {
    tool("get_weather", GET_WEATHER, "city", CITY, rng)
}

/// Any of the tools that it knows.
pub(in super::super) fn some(rng: &mut Rng) -> Vec<Value> {
    let mut tools = vec![calculator(rng), get_weather(rng)];
    tools.shuffle(rng);
    tools.truncate(rng.random_range(1..=2));
    tools
}

/// The tool alone or with the other.
fn with_other(tool: Value, other: Value, rng: &mut Rng) -> Vec<Value> {
    let mut tools = vec![tool];
    if rng.random_bool(0.6) {
        tools.push(other);
        tools.shuffle(rng);
    }
    tools
}

struct Question {
    content: String,
    text: String,
    tools: Vec<Value>,
    call: Call,
    thought: &'static str,
}

fn arithmetic(rng: &mut Rng) -> Question {
    let number = |rng: &mut Rng| {
        let digits = rng.random_range(1..=4);
        rng.random_range(10u32.pow(digits - 1)..10u32.pow(digits)).max(2)
    };
    let (a, b) = (number(rng), number(rng));
    let (operator, spoken): (&str, &[&str]) = [
        ("+", &["+", "plus"] as &[&str]),
        ("-", &["-", "minus"]),
        ("*", &["*", "×", "x", "times"]),
        ("/", &["/", "divided by"]),
    ]
    .choose(rng)
    .copied()
    .expect("some");
    let as_said = format!("{a} {} {b}", spoken.choose(rng).expect("some"));
    let expression = format!("{a} {operator} {b}");
    Question {
        text: careless(&fill(COMPUTE, &[&as_said], rng), rng),
        tools: with_other(calculator(rng), get_weather(rng), rng),
        call: Call { name: "calculator", arguments: json!({"expression": expression}) },
        content: expression,
        thought: "The calculator can do this.",
    }
}

fn weather(rng: &mut Rng) -> Question {
    let city = city(rng);
    Question {
        text: careless(&fill(WEATHER, &[&city], rng), rng),
        tools: with_other(get_weather(rng), calculator(rng), rng),
        call: Call { name: "get_weather", arguments: json!({"city": city}) },
        content: city,
        thought: "I need the weather for this.",
    }
}

pub(super) fn call(rng: &mut Rng) -> Dialogue {
    if rng.random_bool(0.08) {
        return missing_tool(rng);
    }
    let q = if rng.random_bool(0.5) { arithmetic(rng) } else { weather(rng) };
    let mut dialogue = Dialogue::new(Skill::ToolCall, q.content, q.text, "").thought(q.thought);
    dialogue.tools = q.tools;
    dialogue.call = Some(q.call);
    dialogue
}

/// The weather, where there is only a calculator.
fn missing_tool(rng: &mut Rng) -> Dialogue {
    let city = city(rng);
    let question = careless(&fill(WEATHER, &[&city], rng), rng);
    let mut dialogue = Dialogue::new(Skill::ToolCall, city, question, beyond::ANSWER);
    dialogue.tools = vec![calculator(rng)];
    dialogue
}

pub(super) fn result(rng: &mut Rng) -> Dialogue {
    let (q, found, answer) = if rng.random_bool(0.5) {
        let q = arithmetic(rng);
        let value = match rng.random_range(0..10) {
            0 => format!("{}.{}", rng.random_range(0..1000), rng.random_range(1..100)),
            1 => format!("-{}", rng.random_range(1..10_000)),
            _ => {
                let digits = rng.random_range(1..=8);
                rng.random_range(10u32.pow(digits - 1)..10u32.pow(digits)).to_string()
            }
        };
        let expression = q.call.arguments["expression"].as_str().expect("a string").to_owned();
        let answer = format!("{expression} = {value}.");
        (q, value, answer)
    } else {
        let q = weather(rng);
        let temperature = rng.random_range(-15..=40);
        let condition = *CONDITIONS.choose(rng).expect("some");
        let found = match rng.random_range(0..4) {
            0 => json!({"temperature": temperature, "condition": condition}).to_string(),
            1 => format!("{temperature} °C, {condition}"),
            _ => spaced(&json!({"temperature": temperature, "condition": condition})),
        };
        let answer = format!("It is {temperature} °C and {condition} in {}.", q.content);
        (q, found, answer)
    };
    let mut dialogue = Dialogue::new(Skill::ToolResult, q.content, "", answer);
    // A history has the thought before the call only where the model thinks; either is learned.
    let thought = if rng.random_bool(0.3) { q.thought } else { "" };
    dialogue.messages = vec![
        user(q.text),
        Dialogue::call_message(&q.call, thought),
        json!({"role": "tool", "tool_call_id": "1", "content": found}),
    ];
    dialogue.tools = q.tools;
    dialogue
}
