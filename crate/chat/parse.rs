//! An answer's text taken apart as it streams: what is said, what is thought, which tools are called.

mod call;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value};

use super::stop::overlap;
use call::parse_calls;

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";
const CALL: &str = "<tool_call>";
const END_CALL: &str = "</tool_call>";

/// A part of an answer, in the order of the text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "value", rename_all = "camelCase")]
pub enum Part {
    /// The next piece of what is said.
    Text(String),
    /// The next piece of the chain of thought.
    Thinking(String),
    /// A whole call of a tool. Serialized, the arguments are JSON text.
    ToolCall {
        name: String,
        #[serde(serialize_with = "as_json_text")]
        arguments: Map<String, Value>,
    },
}

/// JavaScript has no whole numbers above 2⁵³, no `1.0`, and an order of its own for keys: JSON text crosses unchanged.
fn as_json_text<S: Serializer>(arguments: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&serde_json::to_string(arguments).map_err(S::Error::custom)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Thinking,
    Call,
}

/// Takes an answer apart by Qwen's tags: `<think>…</think>` at its start and `<tool_call>…</tool_call>` anywhere after,
/// the call as JSON (Hermes' format) or as `<function=…>` (Qwen3-Coder, Qwen3.5). What looks like a call and is not one
/// stays text, and so does everything where there are no tools to call. Line breaks around tags belong to the format and
/// are left out.
#[derive(Debug, Clone)]
pub struct AnswerParser {
    state: State,
    /// Text not yet given out.
    held: String,
    /// Nothing was given out so far: a thought may still begin.
    at_start: bool,
    /// A tag came last: line breaks that follow are its.
    after_tag: bool,
    /// Line breaks before the call that is being read: text, should it be none.
    breaks: usize,
    /// The request's; without any, nothing is a call.
    tools: Vec<Value>,
}

impl AnswerParser {
    /// `in_thought`: the prompt ends inside a thought ([`super::opens_thinking`]). `tools` are the request's; without any
    /// nothing is a call, and their schemas say which parameters are strings.
    pub fn new(in_thought: bool, tools: &[Value]) -> Self {
        Self {
            state: if in_thought { State::Thinking } else { State::Text },
            held: String::new(),
            at_start: true,
            after_tag: in_thought,
            breaks: 0,
            tools: tools.to_vec(),
        }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// The end of the text: what was held back. A call without its end tag counts if it is whole.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Call => self.calls(&rest, "", &mut parts),
            State::Thinking => self.give(rest.trim_end_matches('\n'), Part::Thinking, &mut parts),
            State::Text => self.give(&rest, Part::Text, &mut parts),
        }
        parts
    }

    /// Gives out what is certain; whether a tag was passed, so that there may be more.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Thinking => {
                let ended = self.until(END_THINK, Part::Thinking, parts).is_some();
                if ended {
                    self.enter(State::Text);
                }
                ended
            }
            State::Call => {
                let Some(at) = self.held.find(END_CALL) else { return false };
                let rest = self.held.split_off(at + END_CALL.len());
                let body = std::mem::replace(&mut self.held, rest);
                self.state = State::Text;
                self.calls(&body[..at], END_CALL, parts);
                true
            }
            State::Text => {
                if self.at_start {
                    let start = self.held.trim_start();
                    if let Some(rest) = start.strip_prefix(THINK) {
                        self.held = rest.to_owned();
                        self.enter(State::Thinking);
                        return true;
                    }
                    if THINK.starts_with(start) {
                        return false;
                    }
                }
                if self.tools.is_empty() {
                    let text = std::mem::take(&mut self.held);
                    self.give(&text, Part::Text, parts);
                    return false;
                }
                let Some(breaks) = self.until(CALL, Part::Text, parts) else { return false };
                // Whether a tag comes before it stays as it is: this may be none.
                (self.state, self.breaks, self.at_start) = (State::Call, breaks, false);
                true
            }
        }
    }

    /// Gives out text up to a tag, and takes that away; `Some` with the number of line breaks before it where it has come.
    /// Until then they stay held, and so does what may become the tag.
    fn until(&mut self, tag: &str, part: fn(String) -> Part, parts: &mut Vec<Part>) -> Option<usize> {
        let found = self.held.find(tag);
        let end = found.unwrap_or_else(|| self.held.len() - overlap(&self.held, tag));
        let sure = self.held[..end].trim_end_matches('\n').len();
        let text = self.held[..sure].to_owned();
        self.give(&text, part, parts);
        self.held.drain(..found.map_or(sure, |at| at + tag.len()));
        found.map(|at| at - sure)
    }

    fn give(&mut self, text: &str, part: fn(String) -> Part, parts: &mut Vec<Part>) {
        let text = if self.after_tag { text.trim_start_matches('\n') } else { text };
        if !text.is_empty() {
            self.at_start = false;
            self.after_tag = false;
            parts.push(part(text.to_owned()));
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.at_start = false;
        self.after_tag = true;
    }

    /// Calls, or the text where it is none, with the line breaks that would have been the call's.
    fn calls(&mut self, body: &str, end: &str, parts: &mut Vec<Part>) {
        match parse_calls(body, &self.tools) {
            Some(calls) => {
                self.after_tag = true;
                let calls = calls.into_iter();
                parts.extend(calls.map(|(name, arguments)| Part::ToolCall { name, arguments }));
            }
            None => {
                let text = format!("{}{CALL}{body}{end}", "\n".repeat(self.breaks));
                self.give(&text, Part::Text, parts);
            }
        }
    }
}

#[cfg(test)]
mod tests;
