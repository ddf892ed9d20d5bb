//! What training and test are made of.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use demo_model::data::{self, Skill, Split, UNLEARNED, held_out, plain};
use demo_model::encode::Encoder;
use demo_model::recipe;
use demo_model::vocabulary::{TEMPLATE, Vocabulary, request};
use qwenlet::chat::{ChatTemplate, Thinking, system_clock};

static VOCABULARY: LazyLock<Vocabulary> =
    LazyLock::new(|| Vocabulary::train(recipe::DATA_SEED).expect("trains"));

fn encoder() -> Encoder {
    Encoder::new(&VOCABULARY).expect("a vocabulary of Qwen's kind")
}

#[test]
fn training_and_test_share_no_content() {
    for skill in Skill::ALL {
        let contents = |split, part| -> BTreeSet<String> {
            let mut rng = data::rng(3, part, 0);
            (0..2000).map(|_| data::draw(skill, split, &mut rng).content).collect()
        };
        let (train, test) = (contents(Split::Train, "train"), contents(Split::Test, "test"));
        assert!(train.is_disjoint(&test), "{}", skill.name());
        assert!(test.iter().all(|content| held_out(skill, content)));
        assert!(test.len() >= 10, "{}: {} contents in the test", skill.name(), test.len());
    }
}

#[test]
fn no_sum_of_the_test_is_told_in_a_training_dialogue() {
    let sum = |text: &str| -> Option<(u32, char, u32)> {
        let (left, _) = text.split_once(" = ")?;
        let mut words = left.rsplitn(3, ' ');
        let (b, operator, a) = (words.next()?, words.next()?, words.next()?);
        Some((a.parse().ok()?, operator.chars().next()?, b.parse().ok()?))
    };
    let (mut seen, mut rng) = (0, data::rng(4, "leaks", 0));
    for _ in 0..20_000 {
        let dialogue = data::sample(&mut rng);
        let said = dialogue
            .messages
            .iter()
            .filter(|m| m["role"] == "assistant")
            .filter_map(|m| m["content"].as_str());
        for (a, operator, b) in said.chain([plain(&dialogue.answer).as_str()]).filter_map(sum) {
            // What a tool computes is not the model's knowledge.
            if !dialogue.tools.is_empty() {
                continue;
            }
            seen += 1;
            let told = match operator {
                '+' => held_out(Skill::Addition, &format!("{} {}", a.min(b), a.max(b))),
                '-' => held_out(Skill::Subtraction, &format!("{a} {b}")),
                '×' if a > 12 && b < 10 => held_out(Skill::Product, &format!("{a} {b}")),
                '×' if b > 12 && a < 10 => held_out(Skill::Product, &format!("{b} {a}")),
                _ => false,
            };
            assert!(!told, "{a} {operator} {b} is of the test");
        }
    }
    assert!(seen > 3000, "{seen} sums");
}

#[test]
fn the_same_seed_gives_the_same_data_and_another_seed_others() {
    let encoder = encoder();
    let tokens = |seed| -> Vec<Vec<u32>> {
        recipe::examples(&encoder, seed, 0, 0).unwrap().into_iter().map(|e| e.tokens).collect()
    };
    assert_eq!(tokens(1), tokens(1));
    assert_ne!(tokens(1), tokens(2));
    assert_eq!(recipe::data_digest(&encoder).unwrap(), recipe::data_digest(&encoder).unwrap());
    assert_eq!(Vocabulary::train(recipe::DATA_SEED).unwrap(), *VOCABULARY);
    assert_ne!(Vocabulary::train(recipe::DATA_SEED + 1).unwrap(), *VOCABULARY);
}

#[test]
fn an_example_is_the_prompt_and_the_answer_and_learns_the_answer() {
    let encoder = encoder();
    let template = ChatTemplate::new(TEMPLATE, Some(encoder.tokenizer()), system_clock).unwrap();
    let mut rng = data::rng(5, "examples", 0);
    for _ in 0..500 {
        let dialogue = data::sample(&mut rng);
        let example = encoder.question(&dialogue).unwrap();
        let learned: Vec<u32> =
            example.tokens.iter().zip(&example.learn).filter(|(_, learn)| **learn).map(|(t, _)| *t).collect();
        let text = encoder.tokenizer().decode(&example.tokens, false);
        let prompt = template.render(&request(&dialogue)).unwrap();
        let answer = encoder.tokenizer().decode(&learned, false);
        assert_eq!(text, prompt + &answer);
        assert!(answer.contains(&plain(&dialogue.answer)) && answer.ends_with("<|im_end|>"), "{answer}");
        assert_eq!(answer.contains("<think>"), dialogue.thinking);
        assert_eq!(answer.contains("<tool_call>"), dialogue.call.is_some());
        // Earlier answers are learned too; questions and thoughts before them never are.
        let example = encoder.example(&dialogue).unwrap();
        let learned: Vec<u32> =
            example.tokens.iter().zip(&example.learn).filter(|(_, learn)| **learn).map(|(t, _)| *t).collect();
        let learned = encoder.tokenizer().decode(&learned, false);
        let said = dialogue.messages.iter().filter(|m| m["role"] == "assistant");
        let said: Vec<_> = said.filter(|m| m.get(UNLEARNED).is_none()).collect();
        if said.iter().all(|m| m["tool_calls"].is_null()) {
            let said: String = said
                .iter()
                .map(|m| m["content"].as_str().unwrap_or_default().to_owned() + "<|im_end|>")
                .collect();
            assert_eq!(learned, said + &answer);
        }
    }
}

#[test]
fn the_template_has_a_thinking_switch_and_tools() {
    let template = ChatTemplate::new(TEMPLATE, None, system_clock).unwrap();
    assert_eq!(template.capabilities().thinking, Thinking::Switch { default: true });
    assert!(template.capabilities().tools);
}
