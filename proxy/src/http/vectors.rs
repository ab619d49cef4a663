//! Reads the test vectors in `testdata/`: byte strings with escapes, one table row per case.

use serde::de::DeserializeOwned;

#[derive(serde::Deserialize)]
struct File<T> {
    case: Vec<T>,
}

/// All cases of a vector file.
pub(crate) fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let text = match file {
        "request_head.toml" => include_str!("../../testdata/request_head.toml"),
        "response_head.toml" => include_str!("../../testdata/response_head.toml"),
        "chunked.toml" => include_str!("../../testdata/chunked.toml"),
        _ => panic!("no vectors named {file}"),
    };
    let parsed: File<T> = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    parsed.case
}

/// `\r \n \t \0 \\ \xNN`, `\{x*N}` for `x` repeated, `$H` for a Host line.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("$H", "Host: a\\r\\n");
    let mut out = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let kind = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                out.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            b'{' => {
                let end = rest.find('}').unwrap();
                let (what, times) = rest[..end].rsplit_once('*').unwrap();
                out.extend(bytes(what).repeat(times.parse().unwrap()));
                rest = &rest[end + 1..];
            }
            other => panic!("unknown escape {}", char::from(other)),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Puts each of `variants` in the place of `$E`; the text itself when there are none.
pub(crate) fn expand(text: &str, variants: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match text.split_once("$E") {
        Some((before, after)) => {
            let around = |variant: &Vec<u8>| [bytes(before), variant.clone(), bytes(after)].concat();
            assert!(!variants.is_empty(), "$E without variants");
            variants.iter().map(around).collect()
        }
        None => vec![bytes(text)],
    }
}
