use super::*;
use serde_json::json;

/// The parts of a text that comes in pieces of `size` characters, neighbours of a kind joined.
fn parts(in_thought: bool, tools: &[Value], text: &str, size: usize) -> Vec<Part> {
    let mut parser = AnswerParser::new(in_thought, tools);
    let chars: Vec<char> = text.chars().collect();
    let mut all: Vec<Part> =
        chars.chunks(size).flat_map(|c| parser.push(&c.iter().collect::<String>())).collect();
    all.extend(parser.finish());
    all.into_iter().fold(Vec::new(), |mut joined, part| {
        match (joined.last_mut(), part) {
            (Some(Part::Text(a)), Part::Text(b)) | (Some(Part::Thinking(a)), Part::Thinking(b)) => {
                a.push_str(&b)
            }
            (_, part) => joined.push(part),
        }
        joined
    })
}

/// Holds a text to its parts, however it is cut.
fn check(in_thought: bool, tools: &[Value], text: &str, expected: &[Part]) {
    for size in [1, 2, 3, 7, 1000] {
        assert_eq!(parts(in_thought, tools, text, size), expected, "{text:?} in pieces of {size}");
    }
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn thinking(text: &str) -> Part {
    Part::Thinking(text.into())
}

/// A tool, so that calls are looked for; nothing is known of its parameters.
fn tools() -> [Value; 1] {
    [json!({"type": "function", "function": {"name": "f"}})]
}

fn call(name: &str, arguments: Value) -> Part {
    Part::ToolCall { name: name.into(), arguments: arguments.as_object().unwrap().clone() }
}

#[test]
fn plain_text_stays_as_it_is() {
    for plain in ["Hi.\n\n", "\n a < b </think> <tool", "see <think>", "<thin", "é\n"] {
        check(false, &[], plain, &[text(plain)]);
        check(false, &tools(), plain, &[text(plain)]);
    }
    check(false, &[], "", &[]);
}

#[test]
fn a_thought_comes_first_or_not_at_all() {
    check(false, &[], "<think>\nhm\n\nso\n</think>\n\nYes.", &[thinking("hm\n\nso"), text("Yes.")]);
    check(true, &[], "hm</think>Yes.", &[thinking("hm"), text("Yes.")]);
    check(false, &[], "\n<think>\n\n</think>\n\nYes.", &[text("Yes.")]);
    check(true, &[], "cut off </thi", &[thinking("cut off </thi")]);
    check(true, &[], "a <tool_call> b</think>c", &[thinking("a <tool_call> b"), text("c")]);
}

#[test]
fn calls_in_json() {
    let answer = "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": \"</x>\"}}\n</tool_call>\n\
                  <tool_call>{\"name\": \"g\"}</tool_call>\n\nDone.";
    let expected =
        [text("Let me see."), call("f", json!({"z": 1, "a": "</x>"})), call("g", json!({})), text("Done.")];
    check(false, &tools(), answer, &expected);
    // Arguments written as a string; the end tag missing.
    let answer = "<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 2}\"}";
    check(false, &tools(), answer, &[call("f", json!({"a": 2}))]);
    let answer = "<tool_call>{\"name\": \"f\", \"parameters\": {\"a\": 2}}</tool_call>";
    check(false, &tools(), answer, &[call("f", json!({"a": 2}))]);
}

#[test]
fn a_call_may_have_null_or_blank_arguments() {
    for arguments in ["null", "\"\"", "\" \\n\""] {
        for key in ["arguments", "parameters"] {
            let answer = format!("<tool_call>\n{{\"name\": \"f\", \"{key}\": {arguments}}}\n</tool_call>");
            check(false, &tools(), &answer, &[call("f", json!({}))]);
        }
    }
    let both = "<tool_call>{\"name\": \"f\", \"arguments\": null, \"parameters\": {\"a\": 2}}</tool_call>";
    check(false, &tools(), both, &[call("f", json!({"a": 2}))]);
}

#[test]
fn calls_with_the_doubled_braces_of_qwen2_5_s_template() {
    let expected = [call("f", json!({"a": {"b": 1}})), text("Done.")];
    for body in [
        "{{\"name\": \"f\", \"arguments\": {\"a\": {\"b\": 1}}}}",
        "{{\"name\": \"f\", \"arguments\": {\"a\": {\"b\": 1}}} }",
        // Doubled at the start alone.
        "{{\"name\": \"f\", \"arguments\": {\"a\": {\"b\": 1}}}",
    ] {
        check(false, &tools(), &format!("<tool_call>\n{body}\n</tool_call>\nDone."), &expected);
    }
}

#[test]
fn several_calls_in_one_pair_of_tags() {
    let (f, g) = ("{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "{{\"name\": \"g\", \"arguments\": {}}}");
    let expected = [text("Well."), call("f", json!({"a": 1})), call("g", json!({})), text("Done.")];
    for between in ["\n", "", "\n<tool_call>\n"] {
        let answer = format!("Well.\n<tool_call>\n{f}{between}{g}\n</tool_call>\nDone.");
        check(false, &tools(), &answer, &expected);
        let unended = format!("Well.\n<tool_call>\n{f}{between}{g}");
        check(false, &tools(), &unended, &expected[..3]);
    }
}

#[test]
fn without_tools_nothing_is_a_call() {
    let example = "Write\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n";
    check(false, &[], example, &[text(example)]);
    check(true, &[], &format!("hm\n</think>\n\n{example}"), &[thinking("hm"), text(example)]);
}

#[test]
fn arguments_are_serialized_as_json_text() {
    // As JavaScript's numbers and objects these would be others.
    let arguments = "{\"b\":9007199254740993,\"2\":1.0,\"1\":-9223372036854775808}";
    let part = call("f", serde_json::from_str(arguments).unwrap());
    let expected = json!({"type": "toolCall", "value": {"name": "f", "arguments": arguments}});
    assert_eq!(serde_json::to_value(part).unwrap(), expected);
}

#[test]
fn calls_in_tags() {
    let tools = [
        json!({"type": "function", "function": {"name": "run", "parameters": {"type": "object", "properties": {
        "code": {"type": "string"}, "n": {"type": "integer"}}}}}),
    ];
    let answer = "<think>\nok\n</think>\n\n<tool_call>\n<function=run>\n<parameter=code>\n  if a < 1:\n    pass\n\n</parameter>\n\
                  <parameter=n>\n5\n</parameter>\n<parameter=more>\n[1, {\"b\": null}]\n</parameter>\n\
                  <parameter=flag>\nTrue\n</parameter>\n</function>\n</tool_call>";
    let arguments =
        json!({"code": "  if a < 1:\n    pass\n", "n": 5, "more": [1, {"b": null}], "flag": true});
    check(false, &tools, answer, &[thinking("ok"), call("run", arguments)]);
    // The schema makes 5 a string; end tags are missing.
    let answer = "<tool_call><function=run><parameter=code>5\n<parameter=n>6</function></tool_call>";
    check(false, &tools, answer, &[call("run", json!({"code": "5", "n": 6}))]);
    check(false, &tools, "<tool_call><function=run></function></tool_call>", &[call("run", json!({}))]);
}

#[test]
fn what_is_no_call_stays_text() {
    for broken in [
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\n</tool_call>",
        "<tool_call>{\"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"args\": {\"a\": 1}}</tool_call>",
        "<tool_call>{\"name\": \"f\"} {\"name\": 1}</tool_call>",
        "<tool_call>{\"name\": \"f\"} x</tool_call>",
        "<tool_call>{{\"name\": \"f\"</tool_call>",
        "<tool_call>[]</tool_call>",
        "<tool_call><function=>x</function></tool_call>",
        "<tool_call><function=f>x</function></tool_call>",
        "<tool_call>{\"name\": \"f\"",
    ] {
        check(false, &tools(), broken, &[text(broken)]);
    }
}

#[test]
fn line_breaks_around_what_is_no_call_stay() {
    let broken = "<tool_call>\n{\"name\": \"f\",\n</tool_call>";
    let whole = "<tool_call>{\"name\": \"f\"}</tool_call>";
    for answer in [
        format!("Write\n\n{broken}\n\nso.\n"),
        format!("\n{broken}\n"),
        format!("{broken}\n\n{broken}"),
        "Or\n\n<tool_call>\n{\"name\"".to_owned(),
    ] {
        check(false, &tools(), &answer, &[text(&answer)]);
    }
    // Those of another tag are its own.
    check(
        false,
        &tools(),
        &format!("{whole}\n{broken}\nx"),
        &[call("f", json!({})), text(&format!("{broken}\nx"))],
    );
    check(
        false,
        &tools(),
        &format!("{broken}\n\n{whole}\nx"),
        &[text(broken), call("f", json!({})), text("x")],
    );
    let thought = format!("<think>\nhm\n</think>\n\n{broken}");
    check(false, &tools(), &thought, &[thinking("hm"), text(broken)]);
}

#[test]
fn nothing_panics_and_no_text_is_lost() {
    arbtest::arbtest(|u| {
        const PIECES: [&str; 12] = [
            THINK,
            END_THINK,
            CALL,
            END_CALL,
            "<function=f>",
            "<parameter=a>",
            "</parameter>",
            "{\"name\": \"f\"}",
            "\n",
            "é",
            "<",
            "x",
        ];
        let n = u.int_in_range(0..=12)?;
        let answer = (0..n).map(|_| u.choose(&PIECES).copied()).collect::<Result<String, _>>()?;
        let whole = parts(false, &tools(), &answer, 1000);
        assert_eq!(parts(false, &tools(), &answer, 1), whole, "{answer:?}");
        let shown: usize = whole
            .iter()
            .map(|p| if let Part::Text(t) | Part::Thinking(t) = p { t.matches('x').count() } else { 0 })
            .sum();
        let in_calls = whole.iter().filter(|p| matches!(p, Part::ToolCall { .. })).count();
        assert!(in_calls > 0 || shown == answer.matches('x').count(), "{answer:?}");
        if in_calls == 0 && !answer.trim_start().starts_with(THINK) && !answer.is_empty() {
            assert_eq!(whole, [text(&answer)]);
        }
        Ok(())
    });
}
