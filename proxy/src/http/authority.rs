//! `host[:port]`, as Host, an absolute-form target or `:authority` carry it.
//!
//! Stricter than RFC 3986 §3.2: a host is letters, digits, `-`, `_`, `.`, `~` or a bracketed IPv6 address. Userinfo,
//! escapes, commas and empty labels are refused: each has been read in two ways by two programs.

use std::net::Ipv6Addr;

/// A valid host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Without port and without a trailing dot, in the case received. IPv6 keeps its brackets.
    pub host: &'a [u8],
    /// As written; the scheme's default is not filled in.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Takes `host[:port]` apart. `None` when it is not valid.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (host, port) = match text.first()? {
            b'[' => text.split_at(memchr::memchr(b']', text)? + 1),
            _ => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
        };
        let port = match port {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        let valid = if host.first() == Some(&b'[') {
            is_ipv6(host)
        } else {
            is_name(host)
        };
        valid.then_some(Self { host, port })
    }

    /// True when both name the same endpoint of a scheme whose default port is `default_port`.
    pub fn equals(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = digits
        .iter()
        .fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok()
}

fn is_ipv6(bracketed: &[u8]) -> bool {
    let inner = &bracketed[1..bracketed.len() - 1];
    str::from_utf8(inner).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_name(host: &[u8]) -> bool {
    let mut label_is_empty = true;
    for byte in host {
        match byte {
            b'.' if label_is_empty => return false,
            b'.' => label_is_empty = true,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => label_is_empty = false,
            _ => return false,
        }
    }
    !label_is_empty
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|it| (str::from_utf8(it.host).unwrap(), it.port))
    }

    #[test]
    fn names_and_addresses_are_taken_apart() {
        assert_eq!(parse("a"), Some(("a", None)));
        assert_eq!(parse("Api.Example:8443"), Some(("Api.Example", Some(8443))));
        assert_eq!(parse("example.com.:80"), Some(("example.com", Some(80))));
        assert_eq!(parse("my_service"), Some(("my_service", None)));
        assert_eq!(parse("127.0.0.1:1"), Some(("127.0.0.1", Some(1))));
        assert_eq!(parse("[::1]:8000"), Some(("[::1]", Some(8000))));
        assert_eq!(parse("[2001:db8::7]"), Some(("[2001:db8::7]", None)));
    }

    #[test]
    fn anything_ambiguous_is_refused() {
        let refused = [
            "",
            ":80",
            "a:",
            "a:65536",
            "a:+1",
            "a:080000",
            "a b",
            "a\0.b",
            "a,b",
            "u@a",
            "a%2eb",
            "a/b",
            "a..b",
            ".a",
            ".",
            "..",
            "[::1",
            "[::1]x",
            "[]",
            "[::g]",
            "[::1%25eth0]",
            "a:1:2",
            "é",
            "[::1].",
        ];
        for text in refused {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_default_port_is_the_same_endpoint() {
        let [plain, explicit, other] =
            ["A.b", "a.b:80", "a.b:81"].map(|text| Authority::parse(text.as_bytes()).unwrap());
        assert!(plain.equals(explicit, 80));
        assert!(!plain.equals(explicit, 443));
        assert!(!plain.equals(other, 80));
    }
}
