//! A model's chat template: Jinja as Hugging Face transformers runs it, through minijinja.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value as JinjaValue};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Value, json};

use super::clock::{Clock, strftime};
use super::json::tojson;
use super::marks::{self, Level, Markers};
use super::normalize::without_nulls;
use crate::engine::ChatRequest;
use crate::error::{Code, Error, Result};
use crate::tokenizer::{Segment, Tokenizer};

/// Instructions that a template may run: far more than a long conversation takes (about a hundred a message), and an end
/// to a hostile one.
const FUEL: u64 = 5_000_000;

/// The template without marks, for the text, and with them, for the tokens.
const PLAIN: &str = "chat template";
const MARKED: [(Level, &str); 2] =
    [(Level::Tags, "chat template, tags marked"), (Level::Control, "chat template, control tokens marked")];

/// Whether a template lets the model think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// The template knows nothing of it.
    None,
    /// `enable_thinking` switches it; `default` is what happens without.
    Switch { default: bool },
    /// The answer always starts in a thought.
    Always,
}

/// What a template can do, found out by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub tools: bool,
    pub thinking: Thinking,
}

/// A model's chat template, ready to render.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    markers: Markers,
    /// `eos_token` and its like, with their texts.
    tokens: BTreeMap<&'static str, String>,
    capabilities: Capabilities,
    /// The template puts control tokens together from pieces, so that marks in its source miss them.
    pieced: bool,
}

impl ChatTemplate {
    /// Compiles a template. The tokenizer says which markers are tokens; without one the template gives text only.
    ///
    /// # Errors
    /// `template` where the source is not Jinja, saying where.
    pub fn new(source: &str, tokenizer: Option<&Tokenizer>, clock: Clock) -> Result<Self> {
        let markers = Markers::new(tokenizer.iter().flat_map(|t| t.added_tokens()))?;
        let mut env = environment(clock)?;
        let mut add = |name: &'static str, source: String| {
            env.add_template_owned(name, source).map_err(|e| failed("the chat template is not usable", e))
        };
        add(PLAIN, source.to_owned())?;
        for (level, name) in MARKED {
            add(name, markers.mark_source(source, level)?)?;
        }
        let tokens = tokenizer.iter().flat_map(|t| t.template_tokens());
        let tokens = tokens.map(|(name, text)| (name, text.to_owned())).collect();
        let capabilities = Capabilities { tools: false, thinking: Thinking::None };
        let mut template = Self { env, markers, tokens, capabilities, pieced: false };
        template.capabilities = template.probe();
        let segments = template.segments(&question()).unwrap_or_default();
        template.pieced = segments.iter().any(|s| !s.special && template.markers.has_control(&s.text));
        Ok(template)
    }

    /// What the template can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The prompt as text: exactly what transformers' `apply_chat_template` gives. Messages are passed as they are,
    /// except that null keys are dropped; [`super::normalize`] makes OpenAI's shape fit first.
    ///
    /// # Errors
    /// `template` where the template fails or refuses the messages, with its own words.
    pub fn render(&self, request: &ChatRequest) -> Result<String> {
        let messages = request.messages.iter().map(|m| match m {
            Value::Object(m) => Value::Object(without_nulls(m)),
            other => other.clone(),
        });
        let tools = request.tools.as_ref().map(|t| Value::Array(t.clone()));
        let kwargs = Value::Object(request.kwargs.clone());
        self.run(PLAIN, messages.collect(), tools, kwargs, request, |token| token.to_owned())
    }

    /// The prompt as segments: only the markers that the template itself writes are special, never the same letters in
    /// what a user, a tool, a tool's description or any other caller supplied. An assistant's tags (`<think>`,
    /// `<tool_call>`) are special too, its control tokens are not. Joined, the segments are [`Self::render`]'s text.
    ///
    /// # Errors
    /// As [`Self::render`]; `template` where the template takes its own control tokens apart, so that they cannot be
    /// told from content.
    pub fn segments(&self, request: &ChatRequest) -> Result<Vec<Segment>> {
        let text = self.render(request)?;
        for (level, name) in MARKED.into_iter().filter(|_| !self.pieced) {
            // A failure here is not the caller's: the plain text was rendered.
            let marked = self.render_marked(request, level, name).ok();
            if let Some(segments) = marked.and_then(|m| self.markers.segments(&m, level))
                && segments.iter().map(|s| s.text.as_str()).eq_text(&text)
            {
                return Ok(segments);
            }
        }
        Err(Error::new(
            Code::Template,
            "the chat template takes its control tokens apart, so they cannot be told from the messages' text",
        ))
    }

    fn render_marked(&self, request: &ChatRequest, level: Level, name: &str) -> Result<String> {
        let messages = request.messages.iter().map(|m| match m {
            Value::Object(m) => self.markers.mark_message(&without_nulls(m), level),
            other => marks::escape(other),
        });
        let tools = request.tools.as_ref().map(|t| Value::Array(t.iter().map(marks::escape).collect()));
        let kwargs = marks::escape(&Value::Object(request.kwargs.clone()));
        self.run(name, messages.collect(), tools, kwargs, request, marks::mark_token)
    }

    fn run(
        &self,
        name: &str,
        messages: Vec<Value>,
        tools: Option<Value>,
        kwargs: Value,
        request: &ChatRequest,
        token: impl Fn(&str) -> String,
    ) -> Result<String> {
        let mut variables: serde_json::Map<String, Value> =
            self.tokens.iter().map(|(name, text)| ((*name).to_owned(), token(text).into())).collect();
        if let Value::Object(kwargs) = kwargs {
            variables.extend(kwargs);
        }
        variables.insert("messages".into(), Value::Array(messages));
        variables.insert("tools".into(), tools.unwrap_or(Value::Null));
        let generate = request.add_generation_prompt.unwrap_or(true);
        variables.insert("add_generation_prompt".into(), generate.into());
        self.env
            .get_template(name)
            .and_then(|t| t.render(Serde(&variables)))
            .map_err(|e| failed("the chat template refused the request", e))
    }

    /// Renders small conversations and looks at what they turn into. A template that fails on one lacks what it shows.
    fn probe(&self) -> Capabilities {
        const NAME: &str = "probe_of_tools";
        let request = |tools: bool, thinking: Option<bool>| {
            let tool = json!({"type": "function", "function": {"name": NAME, "description": "",
                "parameters": {"type": "object", "properties": {}}}});
            let mut request = ChatRequest { tools: tools.then(|| vec![tool]), ..question() };
            request.kwargs.extend(thinking.map(|t| ("enable_thinking".to_owned(), t.into())));
            self.render(&request).ok()
        };
        let (unset, on, off) =
            (request(false, None), request(false, Some(true)), request(false, Some(false)));
        let thinking = if on != off {
            Thinking::Switch { default: unset == on }
        } else if unset.is_some_and(|text| opens_thinking(&text)) {
            Thinking::Always
        } else {
            Thinking::None
        };
        Capabilities { tools: request(true, None).is_some_and(|text| text.contains(NAME)), thinking }
    }
}

/// The smallest conversation that every template takes.
fn question() -> ChatRequest {
    ChatRequest { messages: vec![json!({"role": "user", "content": "hi"})], ..ChatRequest::default() }
}

/// Whether a prompt ends inside a thought, so that the answer starts in one.
pub fn opens_thinking(prompt: &str) -> bool {
    prompt.trim_end().ends_with("<think>")
}

/// Jinja as transformers sets it up.
fn environment(clock: Clock) -> Result<Environment<'static>> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.map_err(|e| Error::internal("the template syntax is refused").with_cause(e))?);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(unknown_method_callback);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(100);
    // In Python None cannot be iterated over, in minijinja it can.
    env.add_test("iterable", |value: &JinjaValue| !value.is_none() && value.try_iter().is_ok());
    env.add_filter("tojson", tojson);
    env.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    env.add_function("strftime_now", move |format: String| {
        strftime(clock(), &format).ok_or_else(|| {
            minijinja::Error::new(
                ErrorKind::InvalidOperation,
                format!("strftime_now does not know {format:?}"),
            )
        })
    });
    Ok(env)
}

fn failed(what: &str, error: minijinja::Error) -> Error {
    let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    // What went wrong inside a macro or a filter is the source of the error.
    let cause = std::error::Error::source(&error).map_or(String::new(), |e| format!(": {e}"));
    Error::new(Code::Template, format!("{what}{line}: {detail}{cause}"))
}

/// Compares joined pieces with a text without joining them.
trait EqText {
    fn eq_text(self, text: &str) -> bool;
}

impl<'s, I: Iterator<Item = &'s str>> EqText for I {
    fn eq_text(mut self, text: &str) -> bool {
        let mut rest = text;
        self.all(|piece| rest.strip_prefix(piece).inspect(|r| rest = r).is_some()) && rest.is_empty()
    }
}

#[cfg(test)]
mod tests;
