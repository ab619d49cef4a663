//! What a proxy says about itself and the hop before it: `X-Forwarded-*`, `X-Real-IP`, `Via`, the request id.
//!
//! Enters: facts about the connection, and the client's own claims. Leaves: fields of the upstream request, as
//! Kong 3.x writes them. A claim counts only when the peer is trusted; `X-Forwarded-For` is appended to in any case.

use super::head::Version;
use super::headers::HeaderView;
use super::known::KnownHeader;
use super::outgoing::Outgoing;

/// The facts about one request that an upstream is told.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Address of the connected peer, as text.
    pub peer: &'a str,
    /// Address of the client: the peer's, or the one a trusted peer named.
    pub client: &'a str,
    /// The peer is one of `trusted_ips`: its own `X-Forwarded-*` claims are passed on.
    pub peer_is_trusted: bool,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The request's host in lower case, without port.
    pub host: &'a [u8],
    /// The port of the listener.
    pub port: u16,
    /// The request path as received, without query.
    pub path: &'a [u8],
    /// What `strip_path` removed: `upstream_path::stripped_prefix`.
    pub prefix: Option<&'a [u8]>,
    /// 32 hexadecimal digits; `None` where the operator turned the header off.
    pub request_id: Option<&'a [u8]>,
    /// The version the client spoke.
    pub version: Version,
    /// How the gateway calls itself in `Via`.
    pub product: &'a str,
}

impl Forwarding<'_> {
    /// Writes the fields to an upstream request; `claims` are the client's fields as received.
    pub fn write(&self, claims: HeaderView<'_>, outgoing: &mut Outgoing<'_>) {
        self.write_address(claims, outgoing);
        let mut port = itoa::Buffer::new();
        for (known, fact) in [
            (KnownHeader::XForwardedProto, self.scheme.as_bytes()),
            (KnownHeader::XForwardedHost, self.host),
            (KnownHeader::XForwardedPort, port.format(self.port).as_bytes()),
            (KnownHeader::XForwardedPath, self.path),
        ] {
            outgoing.put(known, self.claim(known, claims).unwrap_or(fact));
        }
        if let Some(prefix) = self.claim(KnownHeader::XForwardedPrefix, claims).or(self.prefix) {
            outgoing.put(KnownHeader::XForwardedPrefix, prefix);
        }
        outgoing.put(KnownHeader::XRealIp, self.client.as_bytes());
        write_via(claims, self.version, self.product, outgoing);
        if let Some(id) = self.request_id {
            outgoing.put(KnownHeader::XKongRequestId, id);
        }
    }

    fn write_address(&self, claims: HeaderView<'_>, outgoing: &mut Outgoing<'_>) {
        if !claims.contains(KnownHeader::XForwardedFor) {
            outgoing.put(KnownHeader::XForwardedFor, self.client.as_bytes());
            return;
        }
        outgoing.put_with(KnownHeader::XForwardedFor, |value| {
            if push_list(claims, KnownHeader::XForwardedFor, value) {
                value.extend_from_slice(b", ");
                value.extend_from_slice(self.peer.as_bytes());
            } else {
                value.extend_from_slice(self.client.as_bytes());
            }
        });
    }

    fn claim<'c>(&self, known: KnownHeader, claims: HeaderView<'c>) -> Option<&'c [u8]> {
        if self.peer_is_trusted {
            claims.get(known).filter(|value| !value.is_empty())
        } else {
            None
        }
    }
}

/// Appends this gateway to the `Via` of a message that was received in `version` (RFC 9110 §7.6.3). `received` are
/// the message's own fields.
pub fn write_via(received: HeaderView<'_>, version: Version, product: &str, outgoing: &mut Outgoing<'_>) {
    outgoing.put_with(KnownHeader::Via, |value| {
        if push_list(received, KnownHeader::Via, value) {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(version.number().as_bytes());
        value.push(b' ');
        value.extend_from_slice(product.as_bytes());
    });
}

/// All values of a list field as one. False when there are none.
fn push_list(fields: HeaderView<'_>, known: KnownHeader, out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for value in fields.get_all(known).filter(|value| !value.is_empty()) {
        if any {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::head::RequestDecoder;
    use crate::http::head::RequestHead;
    use crate::http::outgoing::OutgoingHeaders;

    const FACTS: Forwarding<'_> = Forwarding {
        peer: "10.0.0.1",
        client: "10.0.0.1",
        peer_is_trusted: false,
        scheme: "http",
        host: b"api.example",
        port: 8000,
        path: b"/v1/./x",
        prefix: Some(b"/v1"),
        request_id: Some(b"0123456789abcdef0123456789abcdef"),
        version: Version::Http11,
        product: "kong/3.9.1",
    };

    fn written(claims: &str, facts: Forwarding<'_>) -> Vec<String> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{claims}\r\n").into_bytes();
        let mut head = RequestHead::default();
        RequestDecoder::default()
            .decode(&bytes, &mut head)
            .unwrap()
            .unwrap();
        let (claims, mut headers) = (head.headers.on(&bytes), OutgoingHeaders::default());
        let mut outgoing = headers.start_request(claims, &bytes);
        facts.write(claims, &mut outgoing);
        let line = |name: &[u8], value: &[u8]| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
        outgoing.iter().map(|it| line(it.name, it.value)).collect()
    }

    const CLAIMS: &str = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Path: /evil\r\nX-Forwarded-Prefix: /evil\r\n\
        X-Real-IP: 6.6.6.6\r\nX-Kong-Request-Id: 6\r\nVia: 1.0 fred\r\n";

    #[test]
    fn a_request_without_claims_is_told_the_facts() {
        let expected = [
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: api.example",
            "X-Forwarded-Port: 8000",
            "X-Forwarded-Path: /v1/./x",
            "X-Forwarded-Prefix: /v1",
            "X-Real-IP: 10.0.0.1",
            "Via: 1.1 kong/3.9.1",
            "X-Kong-Request-Id: 0123456789abcdef0123456789abcdef",
        ];
        assert_eq!(written("", FACTS), expected);
    }

    #[test]
    fn claims_of_strangers_do_not_count() {
        let lines = written(CLAIMS, FACTS);
        assert!(lines.contains(&"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1".to_owned()));
        assert!(lines.contains(&"Via: 1.0 fred, 1.1 kong/3.9.1".to_owned()));
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("evil") || line.contains('6') && line.contains("IP"))
        );
        assert_eq!(lines.len(), 9);
    }

    #[test]
    fn claims_of_trusted_peers_are_passed_on() {
        let facts = Forwarding {
            peer_is_trusted: true,
            client: "6.6.6.6",
            prefix: None,
            ..FACTS
        };
        let lines = written(CLAIMS, facts);
        for expected in [
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil",
            "X-Forwarded-Port: 443",
            "X-Forwarded-Path: /evil",
            "X-Forwarded-Prefix: /evil",
            "X-Real-IP: 6.6.6.6",
        ] {
            assert!(lines.contains(&expected.to_owned()), "{expected}");
        }
    }
}
