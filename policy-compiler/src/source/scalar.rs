//! What a plain YAML scalar means: the core schema (YAML 1.2.2 §10.3.2) plus the 1.1 words that decK still reads as
//! booleans (`yes`, `no`, `on`, `off`). Those become booleans here too, so that a field that wants a string refuses
//! them instead of meaning something else than under decK.

use saphyr_parser::{ScalarStyle, Tag};

use super::Value;
use crate::diagnostic::Diagnostic;

/// A scalar's value by style and tag.
pub(super) fn value_of(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Box<Diagnostic>> {
    let Some(tag) = tag else {
        let is_plain = style == ScalarStyle::Plain;
        return Ok(if is_plain {
            plain(text)
        } else {
            Value::Str(text.into())
        });
    };
    let wrong = || {
        Box::new(Diagnostic::error(
            "yaml-tag",
            format!("this value does not fit the tag `{tag}`"),
        ))
    };
    let suffix = if tag.is_yaml_core_schema() {
        tag.suffix.as_str()
    } else {
        ""
    };
    match suffix {
        "str" => Ok(Value::Str(text.into())),
        "null" => Ok(Value::Null),
        "bool" => Some(plain(text))
            .filter(|v| matches!(v, Value::Bool(_)))
            .ok_or_else(wrong),
        "int" => number(text)
            .filter(|v| matches!(v, Value::Int(_)))
            .ok_or_else(wrong),
        "float" => number(text).ok_or_else(wrong),
        _ if tag.handle == "!" && tag.suffix.is_empty() => Ok(Value::Str(text.into())),
        _ => Err(Box::new(
            Diagnostic::error("yaml-tag", format!("the tag `{tag}` is not supported"))
                .help("use plain values, or one of !!str, !!int, !!float, !!bool, !!null"),
        )),
    }
}

/// The value of an unquoted, untagged scalar.
fn plain(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let first = text.as_bytes()[0];
    if first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.') {
        return number(text).unwrap_or_else(|| Value::Str(text.into()));
    }
    if text.len() > 5 {
        return Value::Str(text.into());
    }
    match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => Value::Str(text.into()),
    }
}

/// The number `text` spells. Leading zeros, `.inf` and `.nan` are no numbers: readers of YAML 1.1 and 1.2 disagree on
/// the first, and nothing in Kong can use the others.
fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let radix = |prefix, radix| {
        let digits = digits.strip_prefix(prefix)?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
        i64::from_str_radix(digits, radix).ok()
    };
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(Value::Int(if negative { -value } else { value }));
    }
    let bytes = digits.as_bytes();
    if bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit() {
        return None;
    }
    if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
        return text.parse().ok().map(Value::Int).or_else(|| float(text));
    }
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    let is_float = bytes
        .iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let starts_well = bytes.first().is_some_and(|b| b.is_ascii_digit() || *b == b'.');
    if has_digit && is_float && starts_well {
        float(text)
    } else {
        None
    }
}

fn float(text: &str) -> Option<Value> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .map(Value::Float)
}
