//! What stands between `<tool_call>` and `</tool_call>`.

use serde_json::{Map, Value};

use super::CALL;

/// Name and arguments.
pub(super) type Call = (String, Map<String, Value>);

/// The calls, of which small models write several between one pair of tags, in either of Qwen's formats; `None` for
/// anything else. `tools` are the request's, in OpenAI's shape.
pub(super) fn parse_calls(body: &str, tools: &[Value]) -> Option<Vec<Call>> {
    let body = body.trim();
    match body.strip_prefix("<function=") {
        Some(rest) => Some(vec![parse_tags(rest, tools)?]),
        None => parse_json(body),
    }
}

/// One call behind another; the tag that begins the next may stand between them.
fn parse_json(body: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (value, after) = first_value(rest).or_else(|| first_doubled(rest))?;
        calls.push(call(value)?);
        let after = after.trim_start();
        rest = after.strip_prefix(CALL).unwrap_or(after).trim_start();
    }
    (!calls.is_empty()).then_some(calls)
}

/// The JSON value that a text begins with, and what follows it.
fn first_value(text: &str) -> Option<(Value, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}

/// The same of an object in doubled braces: the template of Qwen2.5's own files shows calls so, and models copy it.
fn first_doubled(text: &str) -> Option<(Value, &str)> {
    let (value, after) = first_value(text.strip_prefix('{').filter(|inner| inner.starts_with('{'))?)?;
    let after = after.trim_start();
    Some((value, after.strip_prefix('}').unwrap_or(after)))
}

/// `{"name": …, "arguments": {…}}`; arguments may be called parameters, be an object written as a string, be null or blank
/// for none, or be missing where there is nothing else either.
fn call(value: Value) -> Option<Call> {
    let Value::Object(mut call) = value else { return None };
    let Some(Value::String(name)) = call.remove("name") else { return None };
    let given = ["arguments", "parameters"].map(|key| call.remove(key));
    let is_told = given.iter().any(Option::is_some);
    let arguments = match given.into_iter().flatten().find(|value| !is_blank(value)) {
        None if is_told || call.is_empty() => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, arguments))
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// `NAME>`, then `<parameter=KEY>VALUE</parameter>` for each argument, then `</function>`. End tags may be missing, as
/// small models leave them out.
fn parse_tags(rest: &str, tools: &[Value]) -> Option<Call> {
    const PARAMETER: &str = "<parameter=";
    const END: &str = "</parameter>";
    let (name, rest) = rest.split_once('>')?;
    let name = name.trim();
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let mut rest = rest.trim_end();
    rest = rest.strip_suffix("</function>").unwrap_or(rest).trim();
    let mut arguments = Map::new();
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix(PARAMETER)?.split_once('>')?;
        // The value ends at its tag, or where the next parameter begins if that comes first.
        let next = after.find("\n<parameter=").map_or(after.len(), |at| at + 1);
        let (value, left) = match after.find(END) {
            Some(end) if end < next => (&after[..end], &after[end + END.len()..]),
            _ => after.split_at(next),
        };
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let key = key.trim();
        arguments.insert(key.to_owned(), typed(value, declared_type(tools, name, key)));
        rest = left.trim_start();
    }
    Some((name.to_owned(), arguments))
}

/// The type that the tool's schema gives a parameter.
fn declared_type<'t>(tools: &'t [Value], name: &str, key: &str) -> Option<&'t Value> {
    let function = |tool: &'t Value| tool.get("function").unwrap_or(tool);
    let tool = tools.iter().map(function).find(|f| f.get("name").and_then(Value::as_str) == Some(name))?;
    tool.get("parameters")?.get("properties")?.get(key)?.get("type")
}

/// The template writes strings as they are, other values as JSON or as Python prints them: only the schema tells `5`
/// from `"5"`. Without one, what reads as JSON is JSON.
fn typed(text: &str, declared: Option<&Value>) -> Value {
    if declared == Some(&Value::String("string".into())) {
        return Value::String(text.to_owned());
    }
    match text.trim() {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "None" => Value::Null,
        trimmed => serde_json::from_str(trimmed).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}
