//! Questions that a demo model cannot answer, and says so.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::language::{CITIES, NAMES, WORDS, invented, invented_name};
use super::super::wording::careless;
use super::super::{Dialogue, Rng, Skill, held_out};
use super::{phrases, tools};

/// The one answer.
pub(super) const ANSWER: &str = "That is beyond this demo model. Load a real one, such as Qwen3 0.6B or Qwen2.5 1.5B, from the list and ask it again.";

/// What is asked of a `{t}`opic.
const TOPIC: &[&str] = &[
    "What is {t}?",
    "What is a {t}?",
    "What are {t}s?",
    "What's {t}?",
    "Explain {t}.",
    "Explain {t} to me.",
    "Explain {t} to a child.",
    "Tell me about {t}.",
    "Tell me something about {t}.",
    "Describe {t}.",
    "Define {t}.",
    "Why is {t} important?",
    "Why do we need {t}?",
    "How does {t} work?",
    "How is {t} made?",
    "How do I make {t}?",
    "How do you make {t}?",
    "How can I learn {t}?",
    "How old is {t}?",
    "How expensive is {t}?",
    "How heavy is a {t}?",
    "How big is a {t}?",
    "How tall is a {t}?",
    "Who invented {t}?",
    "Who discovered {t}?",
    "When was {t} invented?",
    "When was {t} discovered?",
    "Where does {t} come from?",
    "Where can I buy {t}?",
    "What do you think of {t}?",
    "What do you know about {t}?",
    "Do you like {t}?",
    "Is {t} good for me?",
    "Is {t} dangerous?",
    "Can I eat {t}?",
    "What is the history of {t}?",
    "What is the future of {t}?",
    "What is the difference between {t} and {u}?",
    "Compare {t} and {u}.",
    "Which is better, {t} or {u}?",
    "Write a poem about {t}.",
    "Write me a poem about {t}.",
    "Write a story about {t}.",
    "Write a short story about {t} and {u}.",
    "Write a song about {t}.",
    "Write an essay about {t}.",
    "Write a haiku about {t}.",
    "Write an email about {t}.",
    "Write a letter about {t}.",
    "Write a paragraph about {t}.",
    "Tell me a joke about {t}.",
    "Tell me a story about {t}.",
    "Tell me a fact about {t}.",
    "Give me a recipe with {t}.",
    "Give me five ideas for {t}.",
    "Give me some advice about {t}.",
    "Give me tips for {t}.",
    "List ten facts about {t}.",
    "List three kinds of {t}.",
    "Recommend a book about {t}.",
    "Recommend a film about {t}.",
    "Summarize a book about {t}.",
    "What rhymes with {t}?",
    "What is a synonym for {t}?",
    "What is the opposite of {t}?",
    "What does {t} symbolize?",
    "Draw a {t}.",
    "Make a picture of a {t}.",
    "Sing about {t}.",
    "Who is the best {t} in the world?",
    "What colour is a {t}?",
    "What sound does a {t} make?",
    "How do I repair a {t}?",
    "How do I clean a {t}?",
    "How do I draw a {t}?",
    "How many {t}s are there in the world?",
    "Should I buy a {t}?",
    "Write a Python program about {t}.",
    "Write a function that finds a {t}.",
    "Write code for a {t} in JavaScript.",
    "Plan a trip to see a {t}.",
    "What is the price of {t}?",
    "What is the scientific name of {t}?",
    "Is a {t} an animal or a plant?",
    "What would happen without {t}?",
    "Translate a book about {t} for me.",
];

/// What is asked of a `{c}`ity or country.
const PLACE: &[&str] = &[
    "What is the capital of {c}?",
    "Which country is {c} in?",
    "Where is {c}?",
    "How many people live in {c}?",
    "What is the population of {c}?",
    "What can I see in {c}?",
    "What should I do in {c}?",
    "Recommend a restaurant in {c}.",
    "Plan a trip to {c}.",
    "How far is {c} from {d}?",
    "How do I get from {c} to {d}?",
    "What time is it in {c}?",
    "What language do they speak in {c}?",
    "Which river flows through {c}?",
    "Who is the mayor of {c}?",
    "Who is the president of {c}?",
    "When was {c} founded?",
    "Tell me about {c}.",
    "Is {c} bigger than {d}?",
    "What is {c} famous for?",
    "What is the weather in {c}?",
    "How is the weather in {c}?",
    "Will it rain in {c} tomorrow?",
    "What is the news from {c}?",
    "How expensive is {c}?",
    "Book a hotel in {c}.",
    "Who won the war of {c}?",
    "What is the best time to visit {c}?",
];

/// What is asked of a `{n}`ame.
const PERSON: &[&str] = &[
    "Who is {n}?",
    "Who was {n}?",
    "Where was {n} born?",
    "When was {n} born?",
    "What did {n} write?",
    "What did {n} discover?",
    "Which books did {n} write?",
    "Is {n} still alive?",
    "How old is {n}?",
    "Tell me about {n}.",
    "Write a letter to {n}.",
    "Write an email to {n}.",
    "Write a birthday card for {n}.",
    "What would {n} say?",
    "Did {n} win the prize?",
];

/// Whole questions.
const OTHERS: &[&str] = &[
    "What is the meaning of life?",
    "Tell me a joke.",
    "Tell me a story.",
    "Write a poem.",
    "Write a song.",
    "What day is it today?",
    "What is the date?",
    "What time is it?",
    "What should I cook tonight?",
    "What should I wear today?",
    "What should I do today?",
    "Who won the world cup?",
    "Who won the election?",
    "What is in the news today?",
    "Why is the sky blue?",
    "Why is grass green?",
    "Why do we dream?",
    "Why do cats purr?",
    "How do airplanes fly?",
    "How do I learn to play chess?",
    "How can I sleep better?",
    "How can I lose weight?",
    "How do I fix my computer?",
    "How do I write a good letter?",
    "Write a program that sorts a list.",
    "Write a Python function.",
    "Write some code.",
    "Fix this code.",
    "Can you write code?",
    "Can you write a poem?",
    "Solve this equation.",
    "Summarize this text.",
    "Proofread this text.",
    "Correct my English.",
    "Play a game with me.",
    "Let us play chess.",
    "Give me a quote.",
    "Give me a recipe.",
    "I feel sad.",
    "I am bored.",
    "I am hungry.",
    "I have a headache.",
    "Should I see a doctor?",
    "What is the speed of light?",
    "What is the square root of 50?",
    "How far away is the moon?",
    "What is the tallest mountain?",
    "What is the longest river?",
    "Who wrote the first book?",
    "Who painted the first picture?",
    "What is love?",
    "What is time?",
    "Is there a god?",
    "Are there aliens?",
    "Do you have feelings?",
    "What is your favourite food?",
    "What is your opinion?",
    "Predict the future.",
    "What will happen tomorrow?",
    "Which stocks should I buy?",
    "Search the web for me.",
    "Open a file.",
    "Send an email.",
    "Set an alarm.",
    "Call my mother.",
    "Book a flight.",
    "Order a pizza.",
    "What is the plot of this film?",
    "Explain the theory of relativity.",
    "Explain quantum physics.",
    "Explain machine learning.",
    "What is photosynthesis?",
    "What is a black hole?",
    "What is the stock price?",
];

/// Languages that it does not speak.
const LANGUAGES: &[&str] = &[
    "Italian",
    "Russian",
    "Arabic",
    "Portuguese",
    "Korean",
    "Dutch",
    "Turkish",
    "Latin",
    "Greek",
    "Polish",
    "Hindi",
    "Swedish",
];
const SPOKEN: &[&str] = &[
    "How do you say {t} in {l}?",
    "Translate {t} to {l}.",
    "Say {t} in {l}.",
    "What is {t} in {l}?",
    "What is the {l} word for {t}?",
    "Write a sentence in {l}.",
    "Do you speak {l}?",
    "Teach me {l}.",
];

/// Sums that are too large for it.
const LARGE: &[&str] =
    &["What is {}?", "{}", "Calculate {}.", "How much is {}?", "Compute {}.", "What's {}?", "{} ="];

pub(super) fn beyond(rng: &mut Rng) -> Dialogue {
    let kind = rng.random_range(0..25);
    let topical = kind < 10;
    let (content, question) = match kind {
        0..=9 => {
            let (topic, other) = (topic(rng), topic(rng));
            asked(TOPIC, &[("{t}", &topic), ("{u}", &other)], rng)
        }
        10..=12 => {
            let (city, other) = (place(rng), place(rng));
            asked(PLACE, &[("{c}", &city), ("{d}", &other)], rng)
        }
        13..=14 => {
            let name = if rng.random_bool(0.5) {
                (*NAMES.choose(rng).expect("some")).to_owned()
            } else {
                format!("{} {}", NAMES.choose(rng).expect("some"), invented_name(rng))
            };
            asked(PERSON, &[("{n}", &name)], rng)
        }
        15 => {
            let topic = topic(rng);
            // Of its own languages it does not know every word.
            let (frames, languages) = if !phrases::knows(&topic) && rng.random_bool(0.4) {
                (&SPOKEN[..5], &phrases::LANGUAGES[1..])
            } else {
                (SPOKEN, LANGUAGES)
            };
            asked(frames, &[("{t}", &topic), ("{l}", languages.choose(rng).expect("some"))], rng)
        }
        16..=17 => {
            let sum = large_sum(rng);
            let question = LARGE.choose(rng).expect("some").replace("{}", &sum);
            (sum, question)
        }
        18..=20 => task(rng),
        21..=22 => {
            let letters = gibberish(rng);
            (letters.clone(), letters)
        }
        _ => {
            let question = *OTHERS.choose(rng).expect("some");
            (question.to_owned(), question.to_owned())
        }
    };
    let mut dialogue = Dialogue::new(Skill::Beyond, content, careless(&question, rng), ANSWER);
    if topical && rng.random_bool(0.08) {
        dialogue.tools = tools::some(rng);
    }
    dialogue
}

fn topic(rng: &mut Rng) -> String {
    if rng.random_bool(0.75) { (*WORDS.choose(rng).expect("some")).to_owned() } else { invented(rng) }
}

fn place(rng: &mut Rng) -> String {
    if rng.random_bool(0.75) { (*CITIES.choose(rng).expect("some")).to_owned() } else { invented_name(rng) }
}

/// A frame with its places filled. A frame of the test is of the test alone, with any topic; in the others topics are
/// held out.
fn asked(frames: &[&str], values: &[(&str, &str)], rng: &mut Rng) -> (String, String) {
    let frame = *frames.choose(rng).expect("some");
    let mut question = frame.to_owned();
    for (place, value) in values {
        question = question.replace(place, value);
    }
    let content = if held_out(Skill::Beyond, frame) { frame } else { values[0].1 };
    (content.to_owned(), question)
}

/// Of more than two digits, or a product or division that goes beyond the table.
fn large_sum(rng: &mut Rng) -> String {
    let large =
        |rng: &mut Rng| (rng.random_range(100..100_000u32) % 10u32.pow(rng.random_range(3..=5))).max(200);
    let small = rng.random_range(2..100u32);
    let (a, b, operators): (u32, u32, &[&str]) = match rng.random_range(0..6) {
        0 => (rng.random_range(13..100), rng.random_range(11..100), &["*", "×", "x", "times"]),
        1 => {
            let b = rng.random_range(3..13);
            (b * rng.random_range(2..13) + rng.random_range(1..b), b, &["/", "÷", "divided by"])
        }
        2 => (large(rng), small, &["+", "-", "*", "×", "x", "/", "plus", "minus", "times", "divided by"]),
        3 => (small, large(rng), &["+", "-", "*", "×", "x", "plus", "minus", "times"]),
        _ => {
            (large(rng), large(rng), &["+", "-", "*", "×", "x", "/", "plus", "minus", "times", "divided by"])
        }
    };
    format!("{a} {} {b}", operators.choose(rng).expect("some"))
}

/// Letters without a meaning.
fn gibberish(rng: &mut Rng) -> String {
    let word = |rng: &mut Rng| -> String {
        (0..rng.random_range(2..9)).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    };
    (0..rng.random_range(1..4)).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

/// What is asked to be written or done, with whom or what.
fn task(rng: &mut Rng) -> (String, String) {
    let one = |list: &[&'static str], rng: &mut Rng| *list.choose(rng).expect("some");
    let (verb, object) = (one(VERBS, rng), one(OBJECTS, rng));
    let question = one(TASKS, rng)
        .replace("{language}", one(PROGRAMMING, rng))
        .replace("{kind}", one(KINDS, rng))
        .replace("{verb}", verb)
        .replace("{object}", object);
    (format!("{verb} {object}"), question)
}

const TASKS: &[&str] = &[
    "Write a {language} {kind} to {verb} {object}.",
    "Write a {language} {kind} that can {verb} {object}.",
    "Write {language} code to {verb} {object}.",
    "Write a {kind} to {verb} {object}.",
    "Write me a {kind} that can {verb} {object}.",
    "Show me a {language} {kind} to {verb} {object}.",
    "Give me a {kind} to {verb} {object} in {language}.",
    "How do I {verb} {object} in {language}?",
    "How can I {verb} {object}?",
    "How do you {verb} {object}?",
    "Help me {verb} {object}.",
    "Can you {verb} {object}?",
    "Can you {verb} {object} for me?",
    "Please {verb} {object}.",
    "I want to {verb} {object}.",
    "I need to {verb} {object}.",
    "What is the best way to {verb} {object}?",
    "Why should I {verb} {object}?",
    "Explain how to {verb} {object}.",
    "Teach me to {verb} {object}.",
];
const PROGRAMMING: &[&str] =
    &["Python", "Rust", "JavaScript", "Java", "C", "C++", "Go", "SQL", "bash", "TypeScript", "HTML", "Ruby"];
const KINDS: &[&str] = &[
    "function", "program", "script", "class", "method", "query", "loop", "regex", "test", "page", "module",
    "game",
];
const VERBS: &[&str] = &[
    "add",
    "print",
    "read",
    "parse",
    "send",
    "find",
    "download",
    "compare",
    "draw",
    "store",
    "split",
    "merge",
    "check",
    "update",
    "delete",
    "search",
    "copy",
    "replace",
    "plan",
    "fix",
    "understand",
    "choose",
    "organize",
    "design",
    "improve",
    "describe",
    "compute",
    "build",
    "paint",
    "wash",
    "open",
    "start",
    "test",
    "measure",
    "finish",
    "discuss",
];
const OBJECTS: &[&str] = &[
    "two numbers",
    "three numbers",
    "a file",
    "a string",
    "a tree",
    "an email",
    "a table",
    "a text",
    "prime numbers",
    "an array",
    "a web page",
    "a database",
    "an image",
    "a graph",
    "my homework",
    "a birthday party",
    "my bike",
    "a garden",
    "dinner",
    "a house",
    "my car",
    "a poem",
    "a report",
    "a contract",
    "my taxes",
    "a robot",
    "the news",
    "a video",
    "a song",
    "a room",
    "the internet",
    "a company",
    "a budget",
    "a meal",
    "my hair",
    "a kitchen",
];

/// Every pattern of a question.
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    [TOPIC, PLACE, PERSON, OTHERS, SPOKEN, TASKS, KINDS, VERBS, OBJECTS].into_iter().flatten().copied()
}
