//! Reads the recorded bytes of an upstream connection: which requests came, from whom, and were they whole.
//!
//! The reading of bodies is this file's own and strict; whether a head is well-formed is for the rig to say.

use std::fmt;
use std::net::Ipv4Addr;

use tests::{Headers, Reader};

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The client that it came from, as the proxy says.
    pub(crate) from: Option<Ipv4Addr>,
    /// Method and target, in printable ASCII.
    pub(crate) line: String,
    /// The head as text, one character a byte.
    pub(crate) head: String,
    body: Vec<u8>,
    /// Trailers follow its body.
    pub(crate) trailers: bool,
    /// The body came to its end.
    pub(crate) whole: bool,
    /// What RFC 9112 forbids in it.
    pub(crate) fault: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(start_of(&self.line))?;
        if self.line.len() > start_of(&self.line).len() {
            write!(f, "… ({} bytes)", self.line.len())?;
        }
        match self.body.len() {
            0 => {}
            1..=60 => write!(f, " + {}", self.body.escape_ascii())?,
            length => write!(f, " + {length} bytes")?,
        }
        if self.trailers {
            f.write_str(" + trailers")?;
        }
        match (&self.fault, self.whole) {
            (Some(_), _) => f.write_str(" malformed"),
            (None, false) => f.write_str(" cut"),
            (None, true) => Ok(()),
        }
    }
}

/// The requests on one connection.
pub(crate) fn read(tape: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut rest = tape;
    while !rest.is_empty() {
        let end = rest
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + 4);
        let (raw, after) = rest.split_at(end.unwrap_or(rest.len()));
        let mut seen = request(raw);
        if end.is_none() {
            seen.fault = Some("the head has no end".to_owned());
            all.push(seen);
            break;
        }
        let consumed = body(&mut seen, raw, after);
        rest = &after[consumed..];
        let is_last = seen.fault.is_some() || !seen.whole;
        all.push(seen);
        if is_last {
            break;
        }
    }
    all
}

fn request(raw: &[u8]) -> Seen {
    let head = latin1(raw);
    let start = head.split("\r\n").next().unwrap_or_default();
    Seen {
        from: client(&head),
        line: printable(start.rsplit_once(' ').map_or(start, |(line, _)| line)),
        fault: Reader::new(raw).head().err().map(|error| format!("{error:#}")),
        head,
        ..Seen::default()
    }
}

/// One character for each byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// As much of a request line as an answer repeats.
pub(crate) fn start_of(line: &str) -> &str {
    line.get(..60).unwrap_or(line)
}

/// Printable ASCII as it is, the rest as `\xNN`; one character is one byte.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        match character {
            ' '..='~' => out.push(character),
            other => out.push_str(&format!("\\x{:02x}", u32::from(other))),
        }
        out
    })
}

/// The last address of the last `X-Forwarded-For`: the one that the proxy under test added.
fn client(head: &str) -> Option<Ipv4Addr> {
    let value = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
        .map(|(_, value)| value)
        .last()?;
    value.rsplit(',').next()?.trim().parse().ok()
}

/// Reads the body that follows a head; gives the bytes it took.
fn body(seen: &mut Seen, raw: &[u8], bytes: &[u8]) -> usize {
    let Ok(Some(head)) = Reader::new(raw).head() else {
        return 0;
    };
    match tests::Framing::of_request(&head.headers) {
        Err(error) => {
            seen.fault = Some(format!("{error:#}"));
            0
        }
        Ok(tests::Framing::Chunked) => chunks(seen, bytes),
        Ok(_) => {
            let length = length(&head.headers);
            let taken = length.min(bytes.len());
            seen.body = bytes[..taken].to_vec();
            seen.whole = taken == length;
            taken
        }
    }
}

fn length(headers: &Headers) -> usize {
    headers
        .get("content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

fn chunks(seen: &mut Seen, bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(line_end) = bytes[at..].windows(2).position(|it| it == b"\r\n") else {
            return bytes.len();
        };
        let line = String::from_utf8_lossy(&bytes[at..at + line_end]).into_owned();
        let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16) else {
            seen.fault = Some(format!("chunk size {line:?}"));
            return at;
        };
        at += line_end + 2;
        if size == 0 {
            return trailers(seen, bytes, at);
        }
        let end = at.saturating_add(size);
        if end.saturating_add(2) > bytes.len() {
            seen.body.extend_from_slice(&bytes[at..end.min(bytes.len())]);
            return bytes.len();
        }
        seen.body.extend_from_slice(&bytes[at..end]);
        if &bytes[end..end + 2] != b"\r\n" {
            seen.fault = Some("a chunk is longer than its size".to_owned());
            return end;
        }
        at = end + 2;
    }
}

/// Reads what follows the last chunk: lines up to an empty one.
fn trailers(seen: &mut Seen, bytes: &[u8], mut at: usize) -> usize {
    while let Some(end) = bytes[at..].windows(2).position(|it| it == b"\r\n") {
        at += end + 2;
        if end == 0 {
            seen.whole = true;
            return at;
        }
        seen.trailers = true;
    }
    bytes.len()
}

#[cfg(test)]
mod tests_of_tapes {
    use super::*;

    fn shown(tape: &[u8]) -> Vec<String> {
        read(tape).iter().map(Seen::to_string).collect()
    }

    #[test]
    fn requests_and_their_bodies_are_told_apart() {
        let tape = b"POST /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 127.0.0.9\r\nContent-Length: 2\r\n\r\nhi\
            GET /b HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
            POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n\
            POST /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
        assert_eq!(
            shown(tape),
            [
                "POST /a + hi",
                "GET /b",
                "POST /c + hi",
                "POST /d + trailers",
                "POST /e + hi cut"
            ]
        );
        assert_eq!(read(tape)[0].from, Some(Ipv4Addr::new(127, 0, 0, 9)));
    }

    #[test]
    fn what_no_upstream_should_get_is_malformed() {
        for tape in [
            &b"GET / HTTP/1.1\r\nA : b\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b",
        ] {
            assert!(read(tape)[0].fault.is_some(), "{}", tape.escape_ascii());
        }
    }
}
