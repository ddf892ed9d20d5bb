//! Who wrote a marker: the template or somebody else.
//!
//! A prompt is rendered with the template's own markers (`<|im_start|>`, `<think>` and other added tokens) put between
//! two noncharacters in the template's source. What comes out between marks is the template's and becomes a token; the
//! same letters anywhere else, even if template and content together spell them, are text. Content is never cut or
//! changed, so that templates that look into it (`'</think>' in content`) see what they expect; noncharacters of its own
//! are escaped.
//!
//! Two kinds of content carry marks so that the template's marked literals still match it:
//! * The tags of an assistant's message (`<think>`, `<tool_call>`) are tokens that the model wrote: they stay tokens.
//! * A tag at the very start or end of a user's message may be looked for (a user message that is one
//!   `<tool_response>`). It is marked, and a third noncharacter on its inner side says that it is text all the same.
//!
//! Control tokens (`<|…|>`) are never marked in content.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};
use crate::tokenizer::{AddedToken, Segment};

/// Before and after a marker.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';
/// Beside a mark: the marker is text.
const DEMOTE: char = '\u{fdd2}';
/// Before the stand-in of one of these four in content.
const ESCAPE: char = '\u{fdd3}';
const RESERVED: [char; 4] = [OPEN, CLOSE, DEMOTE, ESCAPE];
/// What follows [`ESCAPE`]: the stand-in of the first of [`RESERVED`], and on.
const FIRST_STAND_IN: char = '\u{fdd4}';

/// Which of the template's markers are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// All of them.
    Tags,
    /// Control tokens only; tags are tokens wherever they stand. For templates whose logic does not survive marked tags.
    Control,
}

/// Finds markers.
#[derive(Debug)]
pub(super) struct Markers {
    all: AhoCorasick,
    control: AhoCorasick,
    tags: AhoCorasick,
}

impl Markers {
    pub(super) fn new<'t>(tokens: impl IntoIterator<Item = &'t AddedToken>) -> Result<Self> {
        let (control, tags): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|t| is_control(t));
        let finder = |tokens: &[&AddedToken]| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(tokens.iter().map(|t| t.text.as_bytes()))
                .map_err(|e| Error::new(Code::Template, "too many added tokens").with_cause(e))
        };
        let all: Vec<_> = control.iter().chain(&tags).copied().collect();
        Ok(Self { all: finder(&all)?, control: finder(&control)?, tags: finder(&tags)? })
    }

    /// Whether a text has the letters of a control token.
    pub(super) fn has_control(&self, text: &str) -> bool {
        self.control.is_match(text)
    }

    /// A template's source with its markers marked.
    ///
    /// # Errors
    /// `template` where the source uses the noncharacters itself.
    pub(super) fn mark_source(&self, source: &str, level: Level) -> Result<String> {
        if source.contains(RESERVED) {
            return Err(Error::new(Code::Template, "the chat template uses noncharacters U+FDD0 to U+FDD3"));
        }
        let finder = match level {
            Level::Tags => &self.all,
            Level::Control => &self.control,
        };
        Ok(mark(source, finder))
    }

    /// A message with noncharacters escaped and, for [`Level::Tags`], those tags marked that the template may look for.
    pub(super) fn mark_message(&self, message: &Map<String, Value>, level: Level) -> Value {
        let mut marked = escape_map(message);
        if level == Level::Tags {
            let role = message.get("role").and_then(Value::as_str);
            for key in ["content", "reasoning_content"] {
                if let Some(Value::String(text)) = marked.get_mut(key) {
                    match role {
                        Some("assistant") => *text = mark(text, &self.tags),
                        Some("user") => *text = self.mark_ends(text),
                        _ => {}
                    }
                }
            }
        }
        Value::Object(marked)
    }

    /// Marks and demotes a tag at the start and one at the end of a text (white space aside).
    fn mark_ends(&self, text: &str) -> String {
        let inner = text.trim();
        let start = text.len() - text.trim_start().len();
        let mut first = None;
        let mut last = None;
        for m in self.tags.find_iter(inner) {
            if m.start() == 0 {
                first = Some(m.end());
            } else if m.end() == inner.len() {
                last = Some(m.start());
            }
        }
        let (head, tail) = (first.unwrap_or(0), last.unwrap_or(inner.len()));
        let mut out = String::with_capacity(text.len() + 24);
        out.push_str(&text[..start]);
        if first.is_some() {
            out.extend([OPEN]);
            out.push_str(&inner[..head]);
            out.extend([CLOSE, DEMOTE]);
        }
        out.push_str(&inner[head..tail]);
        if last.is_some() {
            out.extend([DEMOTE, OPEN]);
            out.push_str(&inner[tail..]);
            out.extend([CLOSE]);
        }
        out.push_str(&text[start + inner.len()..]);
        out
    }

    /// A rendered prompt as segments; `None` where the marks do not pair up (the template took a marker apart).
    pub(super) fn segments(&self, rendered: &str, level: Level) -> Option<Vec<Segment>> {
        let mut segments =
            Segments { list: Vec::new(), tags: (level == Level::Control).then_some(&self.tags) };
        let mut chars = rendered.chars().peekable();
        let mut text = String::new();
        let mut demoted = false;
        while let Some(c) = chars.next() {
            match c {
                OPEN => {
                    let mut marker = String::new();
                    loop {
                        match chars.next()? {
                            CLOSE => break,
                            c if RESERVED.contains(&c) => return None,
                            c => marker.push(c),
                        }
                    }
                    if self.all.find(&marker).is_none_or(|m| m.range() != (0..marker.len())) {
                        return None;
                    }
                    if std::mem::take(&mut demoted) || chars.next_if_eq(&DEMOTE).is_some() {
                        text.push_str(&marker);
                    } else {
                        segments.push_text(std::mem::take(&mut text));
                        segments.push_marker(marker);
                    }
                }
                DEMOTE if chars.peek() == Some(&OPEN) => demoted = true,
                ESCAPE => {
                    let i = (chars.next()? as u32).checked_sub(FIRST_STAND_IN as u32)?;
                    text.push(*RESERVED.get(i as usize)?);
                }
                CLOSE | DEMOTE => return None,
                c => text.push(c),
            }
        }
        segments.push_text(text);
        Some(segments.list)
    }
}

/// `<|…|>` steers the model, whatever the file calls it; other added tokens are tags.
fn is_control(token: &AddedToken) -> bool {
    token.control || (token.text.starts_with("<|") && token.text.ends_with("|>"))
}

/// The list of segments under way; text is searched for `tags` where there are any.
struct Segments<'m> {
    list: Vec<Segment>,
    tags: Option<&'m AhoCorasick>,
}

impl Segments<'_> {
    fn push_marker(&mut self, text: String) {
        self.list.push(Segment { text, special: true });
    }

    fn push_text(&mut self, text: String) {
        let mut done = 0;
        for m in self.tags.iter().flat_map(|tags| tags.find_iter(&text)) {
            if m.start() > done {
                self.list.push(Segment { text: text[done..m.start()].to_owned(), special: false });
            }
            self.list.push(Segment { text: text[m.range()].to_owned(), special: true });
            done = m.end();
        }
        if done < text.len() {
            self.list.push(Segment { text: text[done..].to_owned(), special: false });
        }
    }
}

fn mark(text: &str, finder: &AhoCorasick) -> String {
    let mut marked = String::with_capacity(text.len() + text.len() / 8);
    let mut done = 0;
    for m in finder.find_iter(text) {
        marked.push_str(&text[done..m.start()]);
        marked.push(OPEN);
        marked.push_str(&text[m.range()]);
        marked.push(CLOSE);
        done = m.end();
    }
    marked.push_str(&text[done..]);
    marked
}

/// A value with every reserved noncharacter in its strings and keys escaped.
pub(super) fn escape(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape_text(text).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(escape).collect()),
        Value::Object(map) => Value::Object(escape_map(map)),
        other => other.clone(),
    }
}

fn escape_map(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().map(|(k, v)| (escape_text(k).into_owned(), escape(v))).collect()
}

fn escape_text(text: &str) -> Cow<'_, str> {
    if !text.contains(RESERVED) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match RESERVED.iter().position(|&r| r == c) {
            Some(i) => {
                escaped.push(ESCAPE);
                escaped.extend(char::from_u32(FIRST_STAND_IN as u32 + i as u32));
            }
            None => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// A marked text of a token that a template variable holds (`eos_token`).
pub(super) fn mark_token(text: &str) -> String {
    format!("{OPEN}{text}{CLOSE}")
}
