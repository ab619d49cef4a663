//! Headers as balancers send them, and what only looks like one.

use super::*;
use crate::limits;
use proptest::prelude::*;

fn announced(bytes: &[u8]) -> Result<Option<(usize, Option<String>)>, NoHeader> {
    let decoded = decode(bytes)?;
    Ok(decoded.map(|(length, announced)| match announced {
        Announced::Client(client) => (length, Some(client.to_string())),
        Announced::Peer => (length, None),
    }))
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, addresses].concat()
}

fn ipv4() -> Vec<u8> {
    version_2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80])
}

#[test]
fn lines_name_clients() {
    for (text, client) in [
        (
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n",
            Some("192.0.2.7:8080"),
        ),
        ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", Some("[2001:db8::7]:1")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f::f ffff::f 65535 65535\r\n", None),
    ] {
        let expected = Ok(Some((text.len(), client.map(str::to_owned))));
        assert_eq!(announced(text.as_bytes()), expected, "{text}");
        assert_eq!(
            announced(format!("{text}GET / HTTP/1.1\r\n").as_bytes()),
            expected
        );
    }
}

#[test]
fn what_is_no_header_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.7 10.0.0.1 8080 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80 90\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 8080 80\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 8080 80\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 8080 80\r\n",
        "PROXY TCP4 192.0.2.7 nobody 8080 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 080\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 80\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 8080 80\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(announced(text.as_bytes()), Err(NoHeader), "{text}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; LINE]].concat();
    assert_eq!(announced(&endless), Err(NoHeader));
}

#[test]
fn binary_headers_name_clients() {
    let values = [&ipv4()[FIXED..], &[0x04, 0, 1, 0]].concat();
    let mut ipv6 = [0; 36];
    ipv6[..2].copy_from_slice(&[0x20, 0x01]);
    ipv6[15] = 7;
    ipv6[33] = 9;
    for (bytes, client) in [
        (ipv4(), Some("192.0.2.7:8080")),
        (version_2(0x21, 0x11, &values), Some("192.0.2.7:8080")),
        (version_2(0x21, 0x21, &ipv6), Some("[2001::7]:9")),
        (version_2(0x20, 0x00, &[]), None),
        (version_2(0x20, 0x11, &ipv4()[FIXED..]), None),
        (version_2(0x21, 0x00, b"left out"), None),
        (version_2(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        let length = bytes.len();
        let expected = Ok(Some((length, client.map(str::to_owned))));
        let followed = [&bytes[..], b"GET"].concat();
        assert_eq!(announced(&followed), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn binary_headers_that_mean_nothing_are_refused() {
    for bytes in [
        version_2(0x11, 0x11, &ipv4()[FIXED..]),
        version_2(0x22, 0x11, &ipv4()[FIXED..]),
        version_2(0x21, 0x12, &ipv4()[FIXED..]),
        version_2(0x21, 0x11, &ipv4()[FIXED..FIXED + 11]),
        version_2(0x21, 0x21, &ipv4()[FIXED..]),
        version_2(0x20, 0x00, &vec![0; limits::PROXY_HEADER_BYTES + 1]),
    ] {
        assert_eq!(
            announced(&bytes),
            Err(NoHeader),
            "{}",
            bytes[12..16].escape_ascii()
        );
    }
    assert!(settable::count(Limit::ProxyHeaderBytes) > 0);
}

proptest! {
    #[test]
    fn a_split_at_any_byte_changes_nothing(bytes in prop_oneof![
        Just(ipv4()),
        Just(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec()),
        Just(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\rx".to_vec()),
        Just(version_2(0x21, 0x12, &[0; 12])),
        proptest::collection::vec(any::<u8>(), 0..40),
    ]) {
        let whole = decode(&bytes);
        for end in 0..bytes.len() {
            match decode(&bytes[..end]) {
                Ok(None) => {}
                // Found early, it is what the whole gives too.
                early => prop_assert_eq!(early, whole),
            }
        }
    }
}

/// What a server reads of what the gateway writes.
mod written {
    use policy::table::ProxyProtocol;
    use proptest::prelude::*;

    use super::super::write::{Header, HeaderTls, write, write_own};
    use super::*;
    use crate::node::address_bits;

    const TLS: HeaderTls<'_> = HeaderTls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        has_certificate: false,
        server_name: "a.test",
        protocol: Some("h2"),
    };

    fn header<'h>(client: &str, local: &str, tls: Option<HeaderTls<'h>>) -> Header<'h> {
        let client: SocketAddr = client.parse().unwrap();
        Header {
            client: Some((address_bits(client.ip()), client.port())),
            local: local.parse().ok(),
            tls,
        }
    }

    fn bytes(version: ProxyProtocol, header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write(version, header, &mut out);
        out
    }

    #[test]
    fn lines_are_those_of_the_specification() {
        for (client, local, line) in [
            (
                "192.0.2.7:56324",
                "10.0.0.1:443",
                "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n",
            ),
            (
                "[2001:db8::7]:1",
                "[2001:db8::1]:80",
                "PROXY TCP6 2001:db8::7 2001:db8::1 1 80\r\n",
            ),
            // One family for both.
            (
                "192.0.2.7:1",
                "[2001:db8::1]:80",
                "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 80\r\n",
            ),
            ("192.0.2.7:0", "", "PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n"),
        ] {
            let header = header(client, local, Some(TLS));
            assert_eq!(
                bytes(ProxyProtocol::V1, &header),
                line.as_bytes(),
                "{client} {local}"
            );
            assert_eq!(bytes(ProxyProtocol::Off, &header), b"");
        }
        let mut own = Vec::new();
        write_own(ProxyProtocol::V1, &mut own);
        assert_eq!(own, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn binary_headers_carry_the_clients_tls() {
        let header = header("192.0.2.7:56324", "10.0.0.1:443", Some(TLS));
        let expected = [
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x45"[..],
            &[192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb],
            b"\x01\0\x02h2\x02\0\x06a.test",
            b"\x20\0\x28\x01\0\0\0\x01\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256",
        ];
        assert_eq!(bytes(ProxyProtocol::V2, &header), expected.concat());
    }

    #[test]
    fn who_has_no_address_is_told_by_nobodys() {
        let unix = Header {
            client: None,
            local: None,
            tls: None,
        };
        let mut own = Vec::new();
        write_own(ProxyProtocol::V2, &mut own);
        assert_eq!(own, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        for bytes in [
            own,
            bytes(ProxyProtocol::V1, &unix),
            bytes(ProxyProtocol::V2, &unix),
        ] {
            assert_eq!(decode(&bytes), Ok(Some((bytes.len(), Announced::Peer))));
        }
    }

    proptest! {
        /// The reader is the specification's, too: it takes what the writer writes, and no byte more.
        #[test]
        fn the_reader_takes_what_is_written(
            client: (IpAddr, u16),
            local: Option<(IpAddr, u16)>,
            name in "[a-z.]{0,255}",
            has_certificate: bool,
            tail: Vec<u8>,
        ) {
            let client = SocketAddr::from(client);
            let header = Header {
                client: Some((address_bits(client.ip()), client.port())),
                local: local.map(SocketAddr::from),
                tls: Some(HeaderTls { server_name: &name, has_certificate, ..TLS }),
            };
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let written = bytes(version, &header);
                let read = decode(&[written.as_slice(), &tail].concat());
                let Ok(Some((length, Announced::Client(named)))) = read else {
                    panic!("{read:?}");
                };
                prop_assert_eq!(length, written.len());
                prop_assert_eq!(named.ip().to_canonical(), client.ip().to_canonical());
                prop_assert_eq!(named.port(), client.port());
            }
        }
    }
}
