//! HTTP/1.1 as bytes: a strict reader of heads and bodies for the scripted peers.
//!
//! In: a blocking byte stream. Out: heads, body pieces and the raw bytes they came from. Anything RFC 9112 forbids a
//! sender to send is an error here, so that a sloppy gateway fails its tests rather than being understood.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result, bail, ensure};

/// Longest head the rig reads, in bytes.
const HEAD_MAX: usize = 256 * 1024;

/// Header lines in wire order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header, whatever its letter case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header, in wire order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the header is there at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// A start line and its headers.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request line or status line, without its line end.
    pub start_line: String,
    /// The header lines.
    pub headers: Headers,
    /// The bytes of the head, final empty line included.
    pub raw: Vec<u8>,
}

impl Head {
    /// The `index`th word of the start line, or nothing.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        self.start_line.splitn(3, ' ').nth(index).unwrap_or_default()
    }
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// The framing of a request body.
    ///
    /// # Errors
    /// When the head carries both framings, or a malformed or repeated one.
    pub fn of_request(headers: &Headers) -> Result<Self> {
        Ok(declared(headers)?.unwrap_or(Self::Empty))
    }

    /// The framing of the body that answers `method` with `status`.
    ///
    /// # Errors
    /// As for a request; and when a status that forbids a body declares a chunked one.
    pub fn of_response(method: &str, status: u16, headers: &Headers) -> Result<Self> {
        let declared = declared(headers)?;
        if method == "HEAD" || status == 304 {
            return Ok(Self::Empty);
        }
        if status < 200 || status == 204 {
            ensure!(
                declared.is_none(),
                "a {status} response declares a body: {declared:?}"
            );
            return Ok(Self::Empty);
        }
        Ok(declared.unwrap_or(Self::UntilClose))
    }
}

fn declared(headers: &Headers) -> Result<Option<Framing>> {
    let lengths: Vec<_> = headers.all("content-length").collect();
    let codings: Vec<_> = headers.all("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(None),
        ([length], []) => {
            ensure!(
                length.bytes().all(|byte| byte.is_ascii_digit()),
                "Content-Length is {length:?}"
            );
            Ok(Some(Framing::Length(length.parse().context("Content-Length")?)))
        }
        ([], [coding]) => {
            ensure!(
                coding.eq_ignore_ascii_case("chunked"),
                "Transfer-Encoding is {coding:?}"
            );
            Ok(Some(Framing::Chunked))
        }
        _ => bail!("ambiguous framing: Content-Length {lengths:?}, Transfer-Encoding {codings:?}"),
    }
}

/// What is left to read of one body.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    framing: Framing,
    remaining: u64,
    done: bool,
}

impl Body {
    /// A body of which nothing has been read.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let remaining = if let Framing::Length(length) = framing {
            length
        } else {
            0
        };
        let done = matches!(framing, Framing::Empty | Framing::Length(0));
        Self {
            framing,
            remaining,
            done,
        }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The protocol, as the status line has it.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The decoded body.
    pub body: Vec<u8>,
    /// How the body was framed.
    pub framing: Framing,
    /// Interim (1xx) statuses that came before.
    pub interim: Vec<u16>,
}

impl Response {
    /// The body as text, with broken UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON, showing the body: in a test this is the failure to report.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {}", self.status, self.text()))
    }

    /// A header's value, or the empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }
}

type Tape = Box<dyn FnMut(&[u8]) + Send>;

/// A blocking stream, or recorded bytes, with what was read past the last message.
pub struct Reader<S> {
    pub(crate) stream: S,
    pending: Vec<u8>,
    /// Gets every byte read, when recording.
    pub(crate) tape: Option<Tape>,
}

impl<S: Read> Reader<S> {
    /// A reader at the start of a message.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            tape: None,
        }
    }

    /// Reads one head; `None` when the peer closed before its first byte.
    ///
    /// # Errors
    /// When the stream fails or ends inside the head, or the head breaks RFC 9112.
    pub fn head(&mut self) -> Result<Option<Head>> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.pending, b"\r\n\r\n", searched) {
                let raw: Vec<u8> = self.pending.drain(..at + 4).collect();
                return parse_head(raw).map(Some);
            }
            searched = self.pending.len().saturating_sub(3);
            ensure!(
                self.pending.len() <= HEAD_MAX,
                "a head longer than {HEAD_MAX} bytes"
            );
            if self.fill()? == 0 {
                ensure!(
                    self.pending.is_empty(),
                    "closed inside a head: {:?}",
                    Escaped(&self.pending)
                );
                return Ok(None);
            }
        }
    }

    /// Reads the next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// When the stream fails or ends inside the body, or its framing is broken.
    pub fn piece(&mut self, body: &mut Body) -> Result<Option<Vec<u8>>> {
        if body.done {
            return Ok(None);
        }
        match body.framing {
            Framing::Empty => Ok(None),
            Framing::UntilClose => {
                if self.pending.is_empty() && self.fill()? == 0 {
                    body.done = true;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.pending)))
            }
            Framing::Length(_) => {
                let piece = self.take(body.remaining)?;
                body.remaining -= piece.len() as u64;
                body.done = body.remaining == 0;
                Ok(Some(piece))
            }
            Framing::Chunked => self.chunk_piece(body),
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// As [`Reader::piece`].
    pub fn rest(&mut self, body: &mut Body) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece(body)? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Reads until the peer closes, and gives what came.
    pub(crate) fn until_close(&mut self) -> Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.pending))
    }

    /// Bytes that were read but belong to no message yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.pending
    }

    fn chunk_piece(&mut self, body: &mut Body) -> Result<Option<Vec<u8>>> {
        if body.remaining == 0 {
            let line = self.line()?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).context("chunk size")?;
            let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(digits, "chunk size is {size:?}");
            body.remaining = u64::from_str_radix(size, 16)?;
            if body.remaining == 0 {
                while !self.line()?.is_empty() {}
                body.done = true;
                return Ok(None);
            }
        }
        let piece = self.take(body.remaining)?;
        body.remaining -= piece.len() as u64;
        if body.remaining == 0 {
            ensure!(self.line()?.is_empty(), "chunk data is not followed by CRLF");
        }
        Ok(Some(piece))
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=at).collect();
                line.pop();
                ensure!(line.pop() == Some(b'\r'), "a line that ends in a bare LF");
                return Ok(line);
            }
            ensure!(self.pending.len() <= HEAD_MAX, "a line without end");
            ensure!(self.fill()? > 0, "closed inside a chunked body");
        }
    }

    fn take(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.pending.is_empty() && self.fill()? == 0 {
            bail!("closed inside a body, {most} bytes early");
        }
        let count = self
            .pending
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(self.pending.drain(..count).collect())
    }

    fn fill(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.context("read")?,
            }
        };
        if let Some(tape) = &mut self.tape {
            tape(&buffer[..count]);
        }
        self.pending.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

fn parse_head(raw: Vec<u8>) -> Result<Head> {
    let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.strip_suffix("\r\n\r\n").unwrap_or(&text).split("\r\n");
    let start_line = lines.next().unwrap_or_default().to_owned();
    let mut headers = Headers::default();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("header line {line:?}"))?;
        ensure!(
            !name.is_empty() && name.bytes().all(is_token),
            "header name {name:?}"
        );
        ensure!(!value.contains(['\r', '\n', '\0']), "value of {name}: {value:?}");
        headers
            .0
            .push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Head {
        start_line,
        headers,
        raw,
    })
}

/// A byte of an RFC 9110 §5.6.2 token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack
        .get(from..)?
        .windows(needle.len())
        .position(|window| window == needle)
        .map(|at| at + from)
}

/// Shows bytes as Rust would write them in a byte string.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl std::fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(bytes: &[u8], framing: Framing) -> Result<Vec<u8>> {
        Reader::new(bytes).rest(&mut Body::new(framing))
    }

    #[test]
    fn chunked_body_is_decoded() {
        let body = body_of(b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Framing::Chunked);
        assert_eq!(body.unwrap(), b"abcde");
    }

    #[test]
    fn sloppy_chunks_are_errors() {
        for bytes in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabcX\r\n0\r\n\r\n",
            b"3\r\nab",
        ] {
            assert!(body_of(bytes, Framing::Chunked).is_err(), "{:?}", Escaped(bytes));
        }
    }

    #[test]
    fn a_short_body_is_an_error() {
        assert!(body_of(b"abc", Framing::Length(4)).is_err());
    }

    #[test]
    fn two_framings_are_an_error() {
        let headers = |lines: &[(&str, &str)]| {
            Headers(
                lines
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        let both = headers(&[("Content-Length", "3"), ("Transfer-Encoding", "chunked")]);
        let twice = headers(&[("Content-Length", "3"), ("content-length", "3")]);
        assert!(Framing::of_request(&both).is_err());
        assert!(Framing::of_request(&twice).is_err());
    }
}
