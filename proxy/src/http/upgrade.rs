//! Another protocol on the same connection (RFC 9110 §7.8): what a client may ask for, and whether a server agreed.
//!
//! Enters: decoded heads. Leaves: the one protocol that goes on, or nothing, and then the request is an ordinary one.
//! Deliberately absent: what the protocol says afterwards. It is bytes to us.

use memchr::memchr;

use super::body::BodyLength;
use super::h1::is_token;
use super::head::{Method, RequestHead, ResponseHead};
use super::headers::Span;
use super::known::KnownHeader;

/// Protocols that an upgrade never leads to, in any version: HTTP itself, which would carry requests past policy (h2c
/// smuggling), and TLS, behind which nobody sees them.
const NEVER: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// Where in `received` the protocol stands that this request may ask the upstream for: HTTP/1.1, GET, no body, and one
/// well-formed protocol that is not one of HTTP or TLS. `None` is no error: a server may ignore `Upgrade`.
pub fn asked(head: &RequestHead, received: &[u8]) -> Option<Span> {
    if !head.upgrade || head.method != Method::Get || head.body != BodyLength::None {
        return None;
    }
    let mut named = head.headers.on(received).get_all(KnownHeader::Upgrade);
    let (Some(protocol), None) = (named.next(), named.next()) else {
        return None;
    };
    goes_on(protocol).then(|| Span::locate(protocol, received))
}

/// Whether this 101 agrees to the protocol that was asked for, and to no other. `received` is what the head was decoded
/// from.
pub fn agreed(asked: &[u8], head: &ResponseHead, received: &[u8]) -> bool {
    let mut named = head.headers.on(received).get_all(KnownHeader::Upgrade);
    let one = named.next().filter(|_| named.next().is_none());
    head.status == 101 && head.upgrade && one.is_some_and(|protocol| protocol.eq_ignore_ascii_case(asked))
}

/// `name` or `name/version`, each a token.
fn goes_on(protocol: &[u8]) -> bool {
    let (name, version) = match memchr(b'/', protocol) {
        Some(slash) => (&protocol[..slash], Some(&protocol[slash + 1..])),
        None => (protocol, None),
    };
    is_token(name)
        && version.is_none_or(is_token)
        && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
}

/// What is wrong with a WebSocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// It is none: the request does not ask for this protocol, or not so that it may have it.
    NotOne,
    /// `Sec-WebSocket-Version` is not once 13.
    Version,
    /// `Sec-WebSocket-Key` is missing, empty or repeated.
    Key,
}

/// Whether a request opens a WebSocket (RFC 6455 §4.1). Whether its key is a good one is the server's to say.
///
/// # Errors
/// The first [`HandshakeFault`].
pub fn websocket(head: &RequestHead, received: &[u8]) -> Result<(), HandshakeFault> {
    let asked = asked(head, received).map(|span| span.of(received));
    if !asked.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeFault::NotOne);
    }
    let once = |known| {
        let mut values = head.headers.on(received).get_all(known);
        values.next().filter(|_| values.next().is_none())
    };
    if once(KnownHeader::SecWebsocketVersion) != Some(b"13") {
        return Err(HandshakeFault::Version);
    }
    if once(KnownHeader::SecWebsocketKey).is_none_or(<[u8]>::is_empty) {
        return Err(HandshakeFault::Key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::head::RequestDecoder;
    use crate::http::h1::response::ResponseDecoder;

    fn request(text: &str) -> (RequestHead, Vec<u8>) {
        let mut head = RequestHead::default();
        let decoded = RequestDecoder::default().decode(text.as_bytes(), &mut head);
        assert!(matches!(decoded, Ok(Some(_))), "{text:?}: {decoded:?}");
        (head, text.as_bytes().to_vec())
    }

    fn asked_by(start: &str, fields: &str) -> Option<String> {
        let (head, bytes) = request(&format!("{start}\r\nHost: a\r\n{fields}\r\n\r\n"));
        asked(&head, &bytes).map(|span| String::from_utf8(span.of(&bytes).to_vec()).unwrap())
    }

    const GET: &str = "GET / HTTP/1.1";

    #[test]
    fn one_well_formed_protocol_goes_on() {
        for protocol in ["websocket", "WebSocket", "foo", "foo/1.0", "IRC/6.9"] {
            let fields = format!("Connection: keep-alive, Upgrade\r\nUpgrade: {protocol}");
            assert_eq!(asked_by(GET, &fields).as_deref(), Some(protocol));
        }
    }

    #[test]
    fn http_and_tls_are_never_asked_for() {
        for protocol in [
            "h2c", "H2C", "h2", "HTTP/2.0", "http/1.1", "HTTP", "TLS/1.2", "tls/1.0", "TLS",
        ] {
            let fields = format!("Connection: Upgrade\r\nUpgrade: {protocol}");
            assert_eq!(asked_by(GET, &fields), None, "{protocol}");
        }
    }

    #[test]
    fn more_or_less_than_one_protocol_is_none() {
        for upgrade in [
            "Upgrade: websocket\r\nUpgrade: websocket",
            "Upgrade: websocket\r\nUpgrade: h2c",
            "Upgrade: websocket, h2c",
            "Upgrade: foo/1/2",
            "Upgrade: /1",
            "Upgrade: foo/",
            "Upgrade: a b",
            "Upgrade: ",
            "X: y",
        ] {
            assert_eq!(
                asked_by(GET, &format!("Connection: Upgrade\r\n{upgrade}")),
                None,
                "{upgrade}"
            );
        }
        assert_eq!(
            asked_by(GET, "Upgrade: websocket"),
            None,
            "Connection does not name it"
        );
    }

    #[test]
    fn only_a_get_of_http_1_1_without_body_may_ask() {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket";
        for start in ["POST / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.0"] {
            assert_eq!(asked_by(start, fields), None, "{start}");
        }
        for body in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            assert_eq!(asked_by(GET, &format!("{fields}\r\n{body}")), None, "{body}");
        }
        assert!(asked_by(GET, &format!("{fields}\r\nContent-Length: 0")).is_some());
    }

    #[test]
    fn a_server_agrees_to_what_was_asked_and_to_nothing_else() {
        let says = |head_text: &str, asked: &[u8]| {
            let bytes = format!("{head_text}\r\n\r\n").into_bytes();
            let mut head = ResponseHead::default();
            match ResponseDecoder::default().decode(&bytes, Method::Get, &mut head) {
                Ok(Some(_)) => agreed(asked, &head, &bytes),
                other => panic!("{head_text:?}: {other:?}"),
            }
        };
        let switched = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: WebSocket";
        assert!(says(switched, b"websocket"));
        assert!(!says(switched, b"foo"));
        assert!(!says(switched, b"websocket/13"));
        for other in [
            "HTTP/1.1 101 x\r\nUpgrade: websocket",
            "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
            "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c",
            "HTTP/1.0 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket",
            "HTTP/1.1 200 x\r\nConnection: Upgrade\r\nUpgrade: websocket",
        ] {
            assert!(!says(other, b"websocket"), "{other}");
        }
    }

    #[test]
    fn a_websocket_handshake_has_its_version_and_one_key() {
        let judged = |fields: &str| {
            let (head, bytes) = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
            websocket(&head, &bytes)
        };
        let asks = "Connection: Upgrade\r\nUpgrade: WebSocket";
        let (version, key) = (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        );
        assert_eq!(judged(&format!("{asks}\r\n{version}\r\n{key}")), Ok(()));
        assert_eq!(
            judged(&format!("{version}\r\n{key}")),
            Err(HandshakeFault::NotOne)
        );
        let other = "Connection: Upgrade\r\nUpgrade: foo";
        assert_eq!(
            judged(&format!("{other}\r\n{version}\r\n{key}")),
            Err(HandshakeFault::NotOne)
        );
        for version in [
            "Sec-WebSocket-Version: 8",
            "X: y",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8",
        ] {
            assert_eq!(
                judged(&format!("{asks}\r\n{version}\r\n{key}")),
                Err(HandshakeFault::Version),
                "{version}"
            );
        }
        for key in [
            "X: y",
            "Sec-WebSocket-Key: ",
            "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b",
        ] {
            assert_eq!(
                judged(&format!("{asks}\r\n{version}\r\n{key}")),
                Err(HandshakeFault::Key),
                "{key}"
            );
        }
    }
}
