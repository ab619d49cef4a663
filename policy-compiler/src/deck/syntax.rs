//! What names, hosts, paths and the like may look like. Kong's rules (3.9 `kong.tools`, typedefs), as predicates.
//! Each returns what is wrong, in words.

/// Entity names: letters, digits, `.`, `-`, `_`, `~` and any character beyond ASCII.
pub(super) fn name(text: &str) -> Result<(), &'static str> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~') || !c.is_ascii();
    if text.chars().all(is_good) {
        Ok(())
    } else {
        Err("a name holds letters, digits, `.`, `-`, `_` and `~`")
    }
}

/// Tags: printable, without `,` and `/`.
pub(super) fn tag(text: &str) -> Result<(), &'static str> {
    let is_good = |c: char| !c.is_control() && !matches!(c, ',' | '/');
    if !text.is_empty() && text.chars().all(is_good) {
        Ok(())
    } else {
        Err("a tag is printable and holds no `,` or `/`")
    }
}

/// Methods: upper-case ASCII letters.
pub(super) fn method(text: &str) -> Result<(), &'static str> {
    let is_good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    if is_good {
        Ok(())
    } else {
        Err("a method is written in upper-case letters")
    }
}

/// A route's host: a host name or address, `*` as the whole leftmost or rightmost label, `:port` at the end.
pub(super) fn route_host(text: &str) -> Result<(), &'static str> {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse::<u16>()
                .map_err(|_bad| "the port is not a number between 0 and 65535")?;
            host
        }
        _ => text,
    };
    wildcard_name(host)
}

/// A server name: like a route's host, without port.
pub(super) fn sni(text: &str) -> Result<(), &'static str> {
    if text.contains(':') {
        Err("a server name has no port")
    } else {
        wildcard_name(text)
    }
}

fn wildcard_name(host: &str) -> Result<(), &'static str> {
    let rest = match host.matches('*').count() {
        0 => host,
        1 => match (host.strip_prefix("*."), host.strip_suffix(".*")) {
            (Some(rest), _) | (None, Some(rest)) => rest,
            _ => return Err("`*` must be the whole leftmost or rightmost label"),
        },
        _ => return Err("only one `*` is allowed"),
    };
    host_name(rest)
}

/// A host name (RFC 1123 letters, plus `_`) or an IP address.
pub(super) fn host_name(host: &str) -> Result<(), &'static str> {
    if host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    let is_label = |label: &str| {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_good)
    };
    let trimmed = host.strip_suffix('.').unwrap_or(host);
    if trimmed.len() <= 253 && trimmed.split('.').all(is_label) {
        Ok(())
    } else {
        Err("not a host name")
    }
}

/// Where a service is: a host name, an IP address, or a Unix socket (`unix:/path`), which Kong does not have.
pub(super) fn server(host: &str) -> Result<(), &'static str> {
    match policy::unix::path(host) {
        Some(path) => policy::unix::check(path),
        None => host_name(host),
    }
}

/// A service's path: starts with `/`, without `//`.
pub(super) fn service_path(text: &str) -> Result<(), &'static str> {
    if !text.starts_with('/') {
        return Err("a path starts with `/`");
    }
    if text.contains("//") {
        return Err("a path has no empty segments (`//`)");
    }
    if text
        .bytes()
        .any(|b| b.is_ascii_control() || b == b' ' || b == b'?' || b == b'#')
    {
        return Err("a path holds no spaces, `?` or `#`");
    }
    Ok(())
}

/// A route's prefix: a service path in normal form (RFC 3986 §6.2.2), since it is compared with normalised paths.
pub(super) fn prefix_path(text: &str) -> Result<(), &'static str> {
    service_path(text)?;
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a prefix is compared with normalised paths, which have no `.` or `..` segments");
    }
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            return Err("`%` must be followed by two hexadecimal digits");
        };
        if hex.is_some_and(|hex| hex.bytes().any(|b| b.is_ascii_lowercase())) {
            return Err("a prefix is compared with normalised paths, whose escapes are upper-case (`%2F`)");
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-') {
            return Err("a prefix is compared with normalised paths, where this escape is decoded");
        }
    }
    Ok(())
}

/// decK's test for a path that was meant as a regex: it holds a character outside `A-Za-z0-9._~/%-`.
pub(super) fn looks_like_regex(path: &str) -> bool {
    !path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'/' | b'%' | b'-'))
}

/// A header field name (RFC 9110 §5.6.2).
pub(super) fn header_name(text: &str) -> Result<(), &'static str> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(is_good) {
        Ok(())
    } else {
        Err("not a header name")
    }
}
