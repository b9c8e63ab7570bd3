//! The `tojson` filter of chat templates: JSON as Python's `json.dumps` writes it.
//!
//! Models are trained on that exact text, so spaces, key order and escapes matter. Nothing is escaped for HTML,
//! and not ASCII alone is kept unless the template asks for it.

use std::io::{self, Write};

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// How many bytes of JSON cost one unit of the template's fuel, as the template engine counts its own strings.
const BYTES_PER_FUEL: usize = 64;

/// The filter. Takes what transformers' filter takes: `ensure_ascii`, `indent`, `separators`, `sort_keys`.
#[expect(clippy::needless_pass_by_value, reason = "the template engine passes options by value alone")]
pub(super) fn tojson(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "tojson has nothing to write: the value is undefined",
        ));
    }
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<(String, String)> =
        options.get::<Option<Value>>("separators")?.as_ref().map(pair).transpose()?;
    let default_separators = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    let (item_separator, key_separator) = separators.unwrap_or(default_separators);
    let ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;

    let style = Style { item_separator, key_separator, indent, ensure_ascii, depth: 0, has_items: false };
    let text = dumps(value, style, sort_keys).map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "tojson cannot write the value").with_source(error)
    })?;
    state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
    Ok(Value::from(text))
}

fn dumps(value: &Value, style: Style, sort_keys: bool) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_value(value)?;
    if sort_keys {
        json.sort_all_objects();
    }
    let mut bytes = Vec::new();
    json.serialize(&mut Serializer::with_formatter(&mut bytes, style))?;
    Ok(String::from_utf8(bytes).expect("JSON of strings is UTF-8"))
}

fn pair(value: &Value) -> Result<(String, String), Error> {
    let texts: Vec<String> = value.try_iter()?.map(|item| item.to_string()).collect();
    <[String; 2]>::try_from(texts).map(|[item, key]| (item, key)).map_err(|_| {
        Error::new(
            ErrorKind::InvalidOperation,
            "separators of tojson must be two strings, for items and for keys",
        )
    })
}

/// Python's way of writing JSON, for `serde_json`.
struct Style {
    item_separator: String,
    key_separator: String,
    /// Spaces per level; `None` keeps all on one line.
    indent: Option<usize>,
    ensure_ascii: bool,
    depth: usize,
    /// Whether the list or object that ends next holds anything.
    has_items: bool,
}

impl Style {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_items = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_items {
            self.line_end(writer)?;
        }
        // The list or object that ended was itself an item of the one around it.
        self.has_items = true;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.item_separator.as_bytes())?;
        }
        self.has_items = true;
        self.line_end(writer)
    }

    fn line_end<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        match self.indent {
            Some(spaces) => write!(writer, "\n{:1$}", "", spaces * self.depth),
            None => Ok(()),
        }
    }
}

impl Formatter for Style {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float_repr(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !self.ensure_ascii {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            // Python counts DEL as ASCII and writes it as it is.
            if character.is_ascii() {
                write!(writer, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.key_separator.as_bytes())
    }
}

/// Python's `repr` of a finite float: the shortest digits that read back the same, with an exponent outside
/// `[1e-4, 1e16)`.
pub(super) fn float_repr(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;
    use minijinja::value::Serde;
    use serde_json::json;

    use super::*;

    fn render(expression: &str, value: &serde_json::Value) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.add_filter("tojson", tojson);
        let context = minijinja::context! { x => Value::from(Serde(value)) };
        environment.render_str(&format!("{{{{ {expression} }}}}"), context)
    }

    // The expected texts of this file are json.dumps' own, of Python 3.12.

    #[test]
    fn one_line_has_spaces_keeps_key_order_and_escapes_only_what_json_must() {
        let value = json!({"b": [1, true, null], "a": {"é<&>'": "\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{2028}😀"}, "c": {}});
        let expected = "{\"b\": [1, true, null], \"a\": {\"é<&>'\": \"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{7f}\u{2028}😀\"}, \"c\": {}}";
        assert_eq!(render("x | tojson", &value).unwrap(), expected);
    }

    #[test]
    fn indent_breaks_lines_but_not_empty_lists_and_objects() {
        let value = json!({"a": [1, [], {"b": {}}], "c": []});
        let expected = "{\n  \"a\": [\n    1,\n    [],\n    {\n      \"b\": {}\n    }\n  ],\n  \"c\": []\n}";
        assert_eq!(render("x | tojson(indent=2)", &value).unwrap(), expected);
        assert_eq!(render("x | tojson(indent=0)", &json!([1, 2])).unwrap(), "[\n1,\n2\n]");
    }

    #[test]
    fn separators_sorting_and_ascii_are_as_asked() {
        let value = json!({"b": 1, "a": ["é", "😀"]});
        let compact = render("x | tojson(separators=(',', ':'))", &value).unwrap();
        assert_eq!(compact, "{\"b\":1,\"a\":[\"é\",\"😀\"]}");
        let sorted = render("x | tojson(sort_keys=true, ensure_ascii=true)", &value).unwrap();
        assert_eq!(sorted, "{\"a\": [\"\\u00e9\", \"\\ud83d\\ude00\"], \"b\": 1}");
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let value = json!([0.5, 1.0, -0.0, 1e15, 1e16, 1.5e300, 0.0001, 0.00001, 1.25e-7, 100.0]);
        let expected =
            "[0.5, 1.0, -0.0, 1000000000000000.0, 1e+16, 1.5e+300, 0.0001, 1e-05, 1.25e-07, 100.0]";
        assert_eq!(render("x | tojson", &value).unwrap(), expected);
    }

    #[test]
    fn undefined_values_and_unknown_options_are_refused() {
        assert_eq!(render("x.y | tojson", &json!({})).unwrap_err().kind(), ErrorKind::UndefinedError);
        assert_eq!(
            render("x | tojson(color=1)", &json!({})).unwrap_err().kind(),
            ErrorKind::TooManyArguments
        );
        assert!(render("x | tojson(separators=(',',))", &json!({})).is_err());
    }
}
