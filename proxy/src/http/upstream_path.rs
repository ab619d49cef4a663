//! The path the upstream gets: the service's path joined with the request's (Kong 3.x, `path_handling: v0`).
//!
//! Enters: canonical paths and how much of the request's the route matched. Leaves: the joined path in the caller's
//! buffer; canonical again, so that what policy judged is still what arrives.

/// Writes the upstream path to `out`, which is cleared first. `base` is the service's path, `/` when it has none;
/// `path` is the request's; `stripped` is how many bytes of it the route matched, when `strip_path` is on: for a
/// regex the end of its match. A query is appended by the caller as it came.
pub fn join(base: &[u8], path: &[u8], stripped: Option<usize>, out: &mut Vec<u8>) {
    debug_assert!(
        base.starts_with(b"/") && path.starts_with(b"/"),
        "both are absolute"
    );
    out.clear();
    out.extend_from_slice(base);
    match stripped.map(|length| clean(path.get(length..).unwrap_or(b""))) {
        Some(b"") => join_nothing(base, path, out),
        Some(rest) => join_rest(rest, out),
        None if path == b"/" => {}
        None => join_rest(path, out),
    }
}

/// The part of `path` that stripping took away: the value of `X-Forwarded-Prefix`. `None` for nothing and for `/`.
pub fn stripped_prefix(path: &[u8], stripped: usize) -> Option<&[u8]> {
    match path.get(..stripped) {
        None | Some(b"" | b"/") => None,
        prefix => prefix,
    }
}

/// Stripping can cut a segment in two and leave dots that were none: `/a` off `/a../b`.
fn clean(rest: &[u8]) -> &[u8] {
    match rest {
        b"." | b".." => b"",
        [b'.', b'/', rest @ ..] | [b'.', b'.', b'/', rest @ ..] => rest,
        rest => rest,
    }
}

/// Nothing is left of the request's path: whether the result ends with `/` follows what the client wrote.
fn join_nothing(base: &[u8], path: &[u8], out: &mut Vec<u8>) {
    match (base.ends_with(b"/"), path.ends_with(b"/")) {
        (true, false) if base != b"/" => {
            out.pop();
        }
        (false, true) if path.len() > 1 => out.push(b'/'),
        _ => {}
    }
}

fn join_rest(rest: &[u8], out: &mut Vec<u8>) {
    match (out.ends_with(b"/"), rest.starts_with(b"/")) {
        (true, true) => {
            out.pop();
        }
        (false, false) => out.push(b'/'),
        _ => {}
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use policy::path::{PathRules, canonicalise};
    use proptest::prelude::*;

    use super::*;

    fn joined(base: &str, path: &str, stripped: Option<usize>) -> String {
        let mut out = b"left over".to_vec();
        join(base.as_bytes(), path.as_bytes(), stripped, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kongs_table_holds() {
        let rows = [
            // base, path, stripped prefix, result
            ("/", "/", Some("/"), "/"),
            ("/", "/x", Some("/x"), "/"),
            ("/", "/x/", Some("/x/"), "/"),
            ("/s/", "/x/", Some("/x/"), "/s/"),
            ("/s/", "/x", Some("/x"), "/s"),
            ("/s/", "/x/y", Some("/x"), "/s/y"),
            ("/s/", "/x/y", Some("/x/"), "/s/y"),
            ("/s/", "/xy", Some("/x"), "/s/y"),
            ("/s/", "/x/y", None, "/s/x/y"),
            ("/s/", "/", None, "/s/"),
            ("/", "/x/y", None, "/x/y"),
            ("/s", "/x/", Some("/x/"), "/s/"),
            ("/s", "/x", Some("/x"), "/s"),
            ("/s", "/", Some("/"), "/s"),
            ("/s", "/x/y", Some("/x"), "/s/y"),
            ("/s", "/x/y", Some("/x/"), "/s/y"),
            ("/s", "/xy", Some("/x"), "/s/y"),
            ("/s", "/", None, "/s"),
            ("/s", "/x/y", None, "/s/x/y"),
            ("/s", "/x/", None, "/s/x/"),
        ];
        for (base, path, prefix, result) in rows {
            assert_eq!(
                joined(base, path, prefix.map(str::len)),
                result,
                "{base} + {path} - {prefix:?}"
            );
        }
    }

    #[test]
    fn stripping_never_makes_a_dot_segment() {
        assert_eq!(joined("/s", "/a..", Some(2)), "/s");
        assert_eq!(joined("/s", "/a.", Some(2)), "/s");
        assert_eq!(joined("/s", "/a../b", Some(2)), "/s/b");
        assert_eq!(joined("/s/", "/a./b", Some(2)), "/s/b");
        assert_eq!(joined("/s/", "/a.../b", Some(2)), "/s/.../b");
    }

    #[test]
    fn the_prefix_header_is_what_was_stripped() {
        assert_eq!(stripped_prefix(b"/api/v1/x", 7), Some(&b"/api/v1"[..]));
        assert_eq!(stripped_prefix(b"/x", 1), None);
        assert_eq!(stripped_prefix(b"/x", 0), None);
        assert_eq!(stripped_prefix(b"/x", 9), None);
    }

    proptest! {
        #[test]
        fn the_result_is_canonical(
            base in prop_oneof![Just("/"), Just("/s"), Just("/s/"), Just("/s/t/")],
            path in "(/(a|\\.\\.\\.|b\\.\\.|c\\.|\\.d)){0,4}/?",
            stripped in proptest::option::of(0_usize..12),
        ) {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let result = joined(base, &path, stripped);
            let mut canonical = Vec::new();
            canonicalise(result.as_bytes(), PathRules::default(), &mut canonical).unwrap();
            prop_assert_eq!(String::from_utf8(canonical).unwrap(), result);
        }
    }
}
