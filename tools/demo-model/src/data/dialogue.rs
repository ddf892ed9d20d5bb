//! One dialogue: messages, and the answer that is wanted.

use serde_json::{Map, Value, json};

use super::Skill;

/// Stands around letters that are to be written one token each, however the tokenizer would join them: a word
/// backwards is no word of its vocabulary.
pub const LETTERS: char = '\u{2}';

/// Marks a message of the history that is not to be learned from: there its letters are joined as the tokenizer joins them.
/// Templates pass over it.
pub const UNLEARNED: &str = "unlearned";

/// The text that a visitor sees of one with [`LETTERS`].
pub fn plain(text: &str) -> String {
    text.replace(LETTERS, "")
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: &'static str,
    pub arguments: Value,
}

/// Messages up to a question, and its answer.
#[derive(Debug, Clone)]
pub struct Dialogue {
    pub skill: Skill,
    /// What training and test do not share: operands, a word, a wording.
    pub content: String,
    /// Definitions in OpenAI's shape.
    pub tools: Vec<Value>,
    pub messages: Vec<Value>,
    /// Whether the model is asked to think first.
    pub thinking: bool,
    /// What it thinks then; nothing where there is nothing to think about.
    pub thought: String,
    /// With [`LETTERS`].
    pub answer: String,
    pub call: Option<Call>,
}

impl Dialogue {
    /// A question and its answer.
    pub fn new(
        skill: Skill,
        content: impl Into<String>,
        question: impl Into<String>,
        answer: impl Into<String>,
    ) -> Self {
        Self {
            skill,
            content: content.into(),
            tools: Vec::new(),
            messages: vec![super::user(question)],
            thinking: false,
            thought: String::new(),
            answer: answer.into(),
            call: None,
        }
    }

    #[must_use]
    pub fn thought(self, thought: impl Into<String>) -> Self {
        Self { thought: thought.into(), ..self }
    }

    /// Puts another dialogue before this one.
    pub fn follow(&mut self, other: Dialogue) {
        let answer = other.as_message();
        let mut messages = other.messages;
        messages.push(answer);
        messages.append(&mut self.messages);
        self.messages = messages;
    }

    /// The answer as a message of the history.
    fn as_message(&self) -> Value {
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), plain(&self.answer).into());
        if self.answer.contains(LETTERS) {
            message.insert(UNLEARNED.into(), true.into());
        }
        Value::Object(message)
    }

    /// The message that calls the tool, as OpenAI's API has it.
    pub fn call_message(call: &Call, thought: &str) -> Value {
        let mut message = json!({
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}],
        });
        if !thought.is_empty() {
            message["reasoning_content"] = thought.into();
        }
        message
    }
}
