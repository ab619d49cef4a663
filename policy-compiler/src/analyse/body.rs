//! Arguments of queries and bodies (WHATWG URL §5.1 forms, and top-level members of JSON objects).

use serde_json::Value;

/// Decoded values of a name; pairs without `=` have none.
pub(super) fn arguments(text: &[u8], name: &str) -> Vec<String> {
    text.split(|&byte| byte == b'&')
        .filter_map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            (decoded(&pair[..equals]) == name).then(|| decoded(&pair[equals + 1..]))
        })
        .collect()
}

/// The decoded value of the first argument of a name; of one without `=` it is `true`, as OpenResty reads it.
pub(super) fn first_argument(text: &[u8], name: &str) -> Option<String> {
    text.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .find_map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=');
            let is_named = decoded(&pair[..equals.unwrap_or(pair.len())]) == name;
            let value = || equals.map_or_else(|| "true".to_owned(), |at| decoded(&pair[at + 1..]));
            is_named.then(value)
        })
}

/// Decoded names of all arguments, with a value or without.
pub(super) fn names(text: &[u8]) -> impl Iterator<Item = String> {
    text.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| decoded(pair.split(|&byte| byte == b'=').next().unwrap_or_default()))
}

/// Values of a member. A JSON list or object counts as several values, as Kong's tables do; other than texts have
/// none.
pub(super) fn members(body: &[u8], media_type: &str, name: &str) -> Vec<String> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => arguments(body, name),
        "application/json" => match serde_json::from_slice::<Value>(body)
            .ok()
            .as_ref()
            .and_then(|v| v.get(name))
        {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(_) | Value::Object(_)) => vec![String::new(), String::new()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn decoded(text: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high << 4 | low).ok(),
            _ => None,
        };
        at += if escape.is_some() { 3 } else { 1 };
        out.push(escape.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(arguments(b"a=1&%61=x%20y+z&b&a", "a"), ["1", "x y z"]);
        assert_eq!(arguments(b"k=%zz", "k"), ["%zz"]);
    }

    #[test]
    fn members_follow_the_media_type() {
        assert_eq!(
            members(br#"{"k":"v"}"#, "application/json; charset=utf-8", "k"),
            ["v"]
        );
        assert_eq!(members(br#"{"k":["v"]}"#, "application/json", "k").len(), 2);
        assert!(members(br#"{"k":1}"#, "application/json", "k").is_empty());
        assert_eq!(members(b"k=v", "application/x-www-form-urlencoded", "k"), ["v"]);
        assert!(members(b"k=v", "text/plain", "k").is_empty());
    }
}
