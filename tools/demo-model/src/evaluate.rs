//! The file asked the questions of the test, by the engine that a visitor has.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, ensure};
use qwenlet::chat::Part;
use qwenlet::engine::{BackendChoice, Engine, GenerateOptions, LoadOptions, Prompt};
use qwenlet::source::{FileSource, Source};

use crate::data::{self, Dialogue, Skill, plain};
use crate::vocabulary::request;

/// Longer than any answer.
const MAX_TOKENS: u32 = 200;

/// How a skill went on a backend.
#[derive(Debug, Clone)]
pub struct Score {
    pub skill: Skill,
    pub asked: usize,
    pub right: usize,
    /// What was asked, wanted and said, where it was wrong.
    pub wrong: Vec<String>,
}

/// The engine with a file.
pub struct Pupil {
    engine: Engine,
}

impl Pupil {
    /// # Errors
    /// As [`Engine::load`].
    pub fn load(path: &Path, backend: BackendChoice) -> Result<Self> {
        let options = LoadOptions { backend, ..LoadOptions::default() };
        let mut open = |part| {
            let path = path.to_owned();
            Box::pin(async move {
                if part > 0 {
                    return Err(qwenlet::Error::internal("the demo model is one file"));
                }
                Ok(Box::new(FileSource::open(path)?) as Box<dyn Source>)
            }) as _
        };
        let engine =
            pollster::block_on(Engine::load(&mut open, options, &mut |_| ControlFlow::Continue(())))?;
        Ok(Self { engine })
    }

    pub fn backend(&self) -> &str {
        &self.engine.info().backend
    }

    /// The questions of a skill's test, each after `before` other questions with their answers.
    ///
    /// # Errors
    /// As [`Engine::generate`]; where a skill has no `n` questions.
    pub fn examine(&mut self, skill: Skill, n: usize, before: usize, seed: u64) -> Result<Score> {
        let set = data::test_set(skill, n, seed);
        ensure!(set.len() == n, "{}: only {} questions of the test", skill.name(), set.len());
        let mut score = Score { skill, asked: n, right: 0, wrong: Vec::new() };
        let mut rng = data::rng(seed, "before", 0);
        for mut dialogue in set {
            data::converse(&mut dialogue, before, &mut rng);
            match self.wrong(&dialogue)? {
                None => score.right += 1,
                Some(said) => score.wrong.push(said),
            }
        }
        Ok(score)
    }

    /// What it said instead of the answer, with the question. Thoughts are not looked at, but that there are none where
    /// none are asked for, and some where they help.
    fn wrong(&mut self, dialogue: &Dialogue) -> Result<Option<String>> {
        let options = GenerateOptions { max_tokens: Some(MAX_TOKENS), ..GenerateOptions::default() };
        let prompt = Prompt::Chat(request(dialogue));
        let outcome =
            pollster::block_on(self.engine.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())))?;
        let (mut said, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
        for part in &outcome.parts {
            match part {
                Part::Text(text) => said += text,
                Part::Thinking(text) => thought += text,
                Part::ToolCall { name, arguments } => {
                    calls.push((name.as_str(), serde_json::Value::Object(arguments.clone())))
                }
            }
        }
        let wanted_calls: Vec<_> = dialogue.call.iter().map(|c| (c.name, c.arguments.clone())).collect();
        let thinks = dialogue.thinking && !dialogue.thought.is_empty();
        let right = said.trim() == plain(&dialogue.answer)
            && calls == wanted_calls
            && thought.trim().is_empty() != thinks;
        let question = dialogue.messages.last().map(|m| m["content"].to_string()).unwrap_or_default();
        Ok((!right).then(|| {
            format!(
                "{question}: wanted {:?} {wanted_calls:?}, said {:?}",
                plain(&dialogue.answer),
                outcome.text
            )
        }))
    }
}

impl std::fmt::Debug for Pupil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pupil").field("backend", &self.backend()).finish_non_exhaustive()
    }
}
