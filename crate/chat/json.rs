//! JSON as Python's `json.dumps` prints it, which is what models were trained on.

use std::io::{self, Write};

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// The `tojson` filter of transformers: `json.dumps(value, ensure_ascii=False, indent=None, separators=None,
/// sort_keys=False)`. Unlike Jinja's own it keeps the order of keys and escapes nothing for HTML.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let mut json = PythonJson {
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent: options.get::<Option<usize>>("indent")?,
        ..PythonJson::default()
    };
    if json.indent.is_some() {
        json.item = ",".into();
    }
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")? {
        let Ok([item, key]) = <[String; 2]>::try_from(separators) else {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two strings"));
        };
        (json.item, json.key) = (item, key);
    }
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson of an undefined value"));
    }
    let text = if sort_keys {
        serde_json::to_value(value).and_then(|mut v| {
            v.sort_all_objects();
            json.print(&v)
        })
    } else {
        json.print(value)
    };
    let text = text.map_err(|e| Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(e))?;
    Ok(Value::from(text))
}

/// How to print; the state of a print under way.
#[derive(Debug, Clone)]
struct PythonJson {
    item: String,
    key: String,
    indent: Option<usize>,
    ascii: bool,
    depth: usize,
    /// The container that is about to end has something in it.
    filled: bool,
}

impl Default for PythonJson {
    fn default() -> Self {
        Self { item: ", ".into(), key: ": ".into(), indent: None, ascii: false, depth: 0, filled: false }
    }
}

impl PythonJson {
    fn print(self, value: &impl Serialize) -> serde_json::Result<String> {
        let mut out = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut out, self))?;
        String::from_utf8(out).map_err(|e| serde_json::Error::io(io::Error::other(e)))
    }

    fn line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => write!(out, "\n{:1$}", "", width * self.depth),
            None => Ok(()),
        }
    }

    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.item.as_bytes())?;
        }
        self.filled = true;
        self.line(out)
    }
}

impl Formatter for PythonJson {
    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(float(value).as_bytes())
    }

    fn write_f32<W: ?Sized + Write>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(out, f64::from(value))
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if !self.ascii {
            return out.write_all(text.as_bytes());
        }
        for c in text.chars() {
            if c.is_ascii() && c != '\x7f' {
                write!(out, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Solidus => out.write_all(b"/"),
            CharEscape::AsciiControl(byte) => write!(out, "\\u{byte:04x}"),
            CharEscape::Quote => out.write_all(b"\\\""),
            CharEscape::ReverseSolidus => out.write_all(b"\\\\"),
            CharEscape::Backspace => out.write_all(b"\\b"),
            CharEscape::FormFeed => out.write_all(b"\\f"),
            CharEscape::LineFeed => out.write_all(b"\\n"),
            CharEscape::CarriageReturn => out.write_all(b"\\r"),
            CharEscape::Tab => out.write_all(b"\\t"),
        }
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }
}

/// A float as Python's `repr` prints it: shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(e) if !(-4..16).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", e.unsigned_abs())
        }
        // Debug keeps the ".0" of whole numbers, and below 1e16 writes no exponent.
        _ => {
            let plain = format!("{value}");
            if plain.contains('.') { plain } else { plain + ".0" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(expression: &str, value: &str) -> String {
        let mut env = minijinja::Environment::new();
        env.add_filter("tojson", tojson);
        let value: serde_json::Value = serde_json::from_str(value).unwrap();
        env.render_str(
            &format!("{{{{ x | {expression} }}}}"),
            minijinja::context! { x => Value::from(minijinja::value::Serde(value)) },
        )
        .unwrap()
    }

    // Expected values are what CPython 3.11's json.dumps prints.
    #[test]
    fn prints_as_python_does() {
        let value = r#"{"z": [1, 2.0, -3.5, 1e16, 1e15, 1e-5, 0.0001, 1e100, 12345678901234567890], "a": {},
            "t": [true, false, null, []], "s": "<a href='x'> & \"é\" 語 😀 \u007f\u0001\n\t\b\f\r\\ /"}"#;
        assert_eq!(
            rendered("tojson", value),
            "{\"z\": [1, 2.0, -3.5, 1e+16, 1000000000000000.0, 1e-05, 0.0001, 1e+100, 12345678901234567890], \
             \"a\": {}, \"t\": [true, false, null, []], \
             \"s\": \"<a href='x'> & \\\"é\\\" 語 😀 \u{7f}\\u0001\\n\\t\\b\\f\\r\\\\ /\"}"
        );
    }

    #[test]
    fn options_are_those_of_python() {
        let value = r#"{"b": [1, {"y": [], "x": {}}], "a": "é😀"}"#;
        assert_eq!(
            rendered("tojson(indent=2)", value),
            "{\n  \"b\": [\n    1,\n    {\n      \"y\": [],\n      \"x\": {}\n    }\n  ],\n  \"a\": \"é😀\"\n}"
        );
        assert_eq!(
            rendered("tojson(sort_keys=true, ensure_ascii=true)", value),
            r#"{"a": "\u00e9\ud83d\ude00", "b": [1, {"x": {}, "y": []}]}"#
        );
        assert_eq!(
            rendered("tojson(separators=(',', ':'))", value),
            r#"{"b":[1,{"y":[],"x":{}}],"a":"é😀"}"#
        );
    }

    #[test]
    fn undefined_is_an_error() {
        let mut env = minijinja::Environment::new();
        env.add_filter("tojson", tojson);
        assert!(env.render_str("{{ y | tojson }}", ()).is_err());
    }
}
