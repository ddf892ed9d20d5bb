//! OpenAI's messages in the shape that chat templates expect.

use serde_json::{Map, Value};

use crate::engine::ChatRequest;
use crate::error::{Error, Result, ResultExt};

/// A request as templates take it: roles they know, text contents as one string, arguments of tool calls as objects,
/// no null keys.
///
/// # Errors
/// `invalid-argument` for what no text model can take, or what OpenAI's shape does not allow, naming the message.
pub fn normalize(request: &ChatRequest) -> Result<ChatRequest> {
    if request.messages.is_empty() {
        return Err(Error::invalid_argument("messages is empty; at least one message is needed"));
    }
    let messages = request.messages.iter().enumerate();
    let messages =
        messages.map(|(i, m)| message(m).context(|| format!("messages[{i}]"))).collect::<Result<_>>()?;
    for (i, tool) in request.tools.iter().flatten().enumerate() {
        if !tool.is_object() {
            return Err(Error::invalid_argument(format!("tools[{i}] is not an object")));
        }
    }
    Ok(ChatRequest { messages, ..request.clone() })
}

fn message(message: &Value) -> Result<Value> {
    let mut message = without_nulls(object(message, "the message")?);
    let role = match message.get("role").and_then(Value::as_str) {
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        Some(other) => {
            return Err(Error::invalid_argument(format!(
                "role is {other:?}; it must be system, developer, user, assistant or tool"
            )));
        }
        None => return Err(Error::invalid_argument("role is missing")),
    }
    .to_owned();
    let content = match message.get("content") {
        Some(content) => text(content)?,
        // A call of a tool need say nothing beside it.
        None if role == "assistant" => String::new(),
        None => return Err(Error::invalid_argument("content is missing")),
    };
    message.insert("role".into(), role.into());
    message.insert("content".into(), content.into());
    if let Some(calls) = message.get_mut("tool_calls") {
        let Some(calls) = calls.as_array_mut() else {
            return Err(Error::invalid_argument("tool_calls is not an array"));
        };
        for (i, call) in calls.iter_mut().enumerate() {
            *call = tool_call(call).context(|| format!("tool_calls[{i}]"))?;
        }
    }
    Ok(Value::Object(message))
}

/// Content: a string, or parts of which all are text.
fn text(content: &Value) -> Result<String> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => return Err(Error::invalid_argument("content is neither a string nor an array of parts")),
    };
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
            (Some("text") | None, Some(piece)) => text.push_str(piece),
            (Some("text") | None, None) => {
                return Err(Error::invalid_argument(format!("content[{i}] has no text")));
            }
            (Some(other), _) => {
                return Err(Error::invalid_argument(format!(
                    "content[{i}] is of type {other:?}; only text is supported"
                )));
            }
        }
    }
    Ok(text)
}

fn tool_call(call: &Value) -> Result<Value> {
    let mut call = without_nulls(object(call, "the call")?);
    let mut function = match call.get("function") {
        Some(function) => without_nulls(object(function, "function")?),
        None => return Err(Error::invalid_argument("function is missing")),
    };
    if !function.get("name").is_some_and(Value::is_string) {
        return Err(Error::invalid_argument("function.name is missing"));
    }
    let arguments = match function.get("arguments") {
        None => Value::Object(Map::new()),
        Some(Value::String(text)) if text.trim().is_empty() => Value::Object(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|e| {
            Error::invalid_argument("function.arguments is not JSON; pass what the model gave, or an object")
                .with_cause(e)
        })?,
        Some(other) => other.clone(),
    };
    if !arguments.is_object() {
        return Err(Error::invalid_argument("function.arguments is not a JSON object"));
    }
    function.insert("arguments".into(), arguments);
    call.insert("function".into(), Value::Object(function));
    Ok(Value::Object(call))
}

fn object<'v>(value: &'v Value, what: &str) -> Result<&'v Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::invalid_argument(format!("{what} is not an object")))
}

/// Templates test keys for presence: null means absent, as in transformers.
pub(super) fn without_nulls(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use serde_json::json;

    fn normalized(messages: Value) -> Result<Vec<Value>> {
        let messages = messages.as_array().cloned().unwrap_or_default();
        Ok(normalize(&ChatRequest { messages, ..ChatRequest::default() })?.messages)
    }

    #[test]
    fn openai_s_shape_becomes_the_templates_shape() {
        let messages = normalized(json!([
            {"role": "developer", "content": "Be brief.", "name": null},
            {"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1.0, \"a\": null}"}},
                {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "1", "content": "ok"},
        ]));
        let expected = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a b"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"z": 1.0, "a": null}}},
                {"id": "2", "type": "function", "function": {"name": "g", "arguments": {}}}]},
            {"role": "tool", "tool_call_id": "1", "content": "ok"},
        ]);
        assert_eq!(Value::Array(messages.unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            (json!([]), "messages is empty"),
            (json!(["x"]), "messages[0]: the message is not an object"),
            (json!([{"content": "x"}]), "messages[0]: role is missing"),
            (json!([{"role": "critic", "content": "x"}]), "messages[0]: role is \"critic\""),
            (json!([{"role": "user"}]), "messages[0]: content is missing"),
            (json!([{"role": "user", "content": 7}]), "messages[0]: content is neither"),
            (
                json!([{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "image_url"}]}]),
                "messages[1]: content[0] is of type \"image_url\"; only text is supported",
            ),
            (
                json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]),
                "messages[0]: tool_calls[0]: function.arguments is not JSON",
            ),
            (
                json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}]),
                "messages[0]: tool_calls[0]: function.arguments is not a JSON object",
            ),
            (
                json!([{"role": "assistant", "tool_calls": [{}]}]),
                "messages[0]: tool_calls[0]: function is missing",
            ),
        ];
        for (messages, expected) in cases {
            let error = normalized(messages).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.message().starts_with(expected), "{error}");
        }
    }
}
