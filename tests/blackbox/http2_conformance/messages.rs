//! What requests may be made of: section 8 of RFC 9113.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    const M: (&str, &str) = (":method", "GET");
    const S: (&str, &str) = (":scheme", "http");
    const A: (&str, &str) = (":authority", "localhost");
    const P: (&str, &str) = (":path", "/");
    let malformed = Reset(1, PROTOCOL);
    let announced = |length| post(1).and(&Frame::field("content-length", length));
    let data = |bytes: &[u8], end: bool| Frame::new(DATA, u8::from(end), 1, bytes);
    let trailers =
        |end: bool, name: &str| Frame::new(HEADERS, if end { 5 } else { 4 }, 1, &Frame::field(name, "1"));
    vec![
        (
            "8.1 trailers",
            vec![post(1), data(b"x", false), trailers(true, "a")],
            Answer(1),
        ),
        (
            "8.1 trailers that go on",
            vec![post(1), trailers(false, "a")],
            malformed,
        ),
        (
            "8.1 a pseudo field in trailers",
            vec![post(1), trailers(true, ":path")],
            malformed,
        ),
        (
            "8.1.1 more than announced",
            vec![announced("3"), data(b"1234", true)],
            malformed,
        ),
        (
            "8.1.1 less than announced",
            vec![announced("3"), data(b"12", true)],
            malformed,
        ),
        (
            "8.1.1 in several frames",
            vec![announced("3"), data(b"12", false), data(b"34", true)],
            malformed,
        ),
        (
            "8.1.1 where nothing was announced",
            vec![announced("0"), data(b"1", true)],
            malformed,
        ),
        (
            "8.1.1 an announced body that is none",
            vec![with(&[("content-length", "3")])],
            malformed,
        ),
        (
            "8.1.1 two lengths",
            vec![with(&[("content-length", "0"), ("content-length", "0")])],
            malformed,
        ),
        (
            "8.2 an upper-case name",
            vec![with(&[("X-Test", "1")])],
            malformed,
        ),
        ("8.2.1 an empty name", vec![with(&[("", "1")])], malformed),
        ("8.2.1 a space in a name", vec![with(&[("a b", "1")])], malformed),
        ("8.2.1 a colon in a name", vec![with(&[("a:b", "1")])], malformed),
        (
            "8.2.1 a line in a name",
            vec![with(&[("a: b\r\nc", "1")])],
            malformed,
        ),
        (
            "8.2.1 a line in a value",
            vec![with(&[("a", "1\r\nSmuggled: 1")])],
            malformed,
        ),
        (
            "8.2.1 LF in a value",
            vec![with(&[("a", "1\nSmuggled: 1")])],
            malformed,
        ),
        (
            "8.2.1 a request in a value",
            vec![with(&[("a", "1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a")])],
            malformed,
        ),
        ("8.2.1 NUL in a value", vec![with(&[("a", "1\0")])], malformed),
        (
            "8.2.1 white space around a value",
            vec![with(&[("test1", " \ta\t")])],
            malformed,
        ),
        (
            "8.2.2 Connection",
            vec![with(&[("connection", "keep-alive")])],
            malformed,
        ),
        (
            "8.2.2 Transfer-Encoding",
            vec![with(&[("transfer-encoding", "chunked")])],
            malformed,
        ),
        (
            "8.2.2 TE",
            vec![with(&[("te", "trailers, deflate;q=0.5")])],
            malformed,
        ),
        (
            "8.2.2 TE as allowed",
            vec![with(&[("te", "trailers")])],
            Answer(1),
        ),
        (
            "8.3 an unknown pseudo field",
            vec![with(&[(":test", "1")])],
            malformed,
        ),
        (
            "8.3 a response's pseudo field",
            vec![of(&[M, S, A, P, (":status", "200")])],
            malformed,
        ),
        (
            "8.3 a pseudo field behind others",
            vec![of(&[M, S, A, ("a", "1"), P])],
            malformed,
        ),
        ("8.3.1 no method", vec![of(&[S, A, P])], malformed),
        ("8.3.1 no scheme", vec![of(&[M, A, P])], malformed),
        ("8.3.1 no path", vec![of(&[M, S, A])], malformed),
        (
            "8.3.1 an empty path",
            vec![of(&[M, S, A, (":path", "")])],
            malformed,
        ),
        ("8.3.1 two methods", vec![of(&[M, M, S, A, P])], malformed),
        ("8.3.1 two schemes", vec![of(&[M, S, S, A, P])], malformed),
        ("8.3.1 two paths", vec![of(&[M, S, A, P, P])], malformed),
        ("8.3.1 two authorities", vec![of(&[M, S, A, A, P])], malformed),
        (
            "8.3.1 another Host",
            vec![with(&[("host", "elsewhere")])],
            malformed,
        ),
        ("8.3.1 no host at all", vec![of(&[M, S, P])], malformed),
        (
            "8.3.1 Host alone",
            vec![of(&[M, S, P, ("host", "localhost")])],
            Answer(1),
        ),
        (
            "8.3.1 a path with a space",
            vec![of(&[M, S, A, (":path", "/ HTTP/1.1")])],
            malformed,
        ),
        (
            "8.3.1 a path with a line",
            vec![of(&[M, S, A, (":path", "/ HTTP/1.1\r\nSmuggled: 1\r\nX:")])],
            malformed,
        ),
        (
            "8.3.1 a path that is a URI",
            vec![of(&[M, S, A, (":path", "http://a/")])],
            malformed,
        ),
        (
            "8.3.1 a method that is no token",
            vec![of(&[(":method", "GET?"), S, A, P])],
            malformed,
        ),
        (
            "8.3.1 a method with a line",
            vec![of(&[(":method", "GET / HTTP/1.1\r\nA: b\r\n\r\nGET"), S, A, P])],
            malformed,
        ),
        (
            "8.3.1 a scheme with a path",
            vec![of(&[M, (":scheme", "http://x/?"), A, P])],
            malformed,
        ),
        (
            "8.3.1 an authority with a user",
            vec![of(&[M, S, (":authority", "a@b"), P])],
            malformed,
        ),
    ]
}
