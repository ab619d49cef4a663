use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::limits;
use crate::settable::{self, Limit};
use crate::stream::client_hello::{NoHello, server_name};

/// What a real client sends first.
fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Option<String>, NoHello> {
    server_name(bytes, &mut Vec::new())
}

fn found(name: &str) -> Result<Option<String>, NoHello> {
    Ok(Some(name.to_owned()))
}

/// The message of one record in records of `size` bytes.
fn cut(bytes: &[u8], size: usize) -> Vec<u8> {
    let records = bytes[5..].chunks(size).map(|piece| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// A message with these extensions, in one record.
fn made(extensions: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &length(extensions.len()),
        extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &length(body.len()), &body].concat();
    [&[22, 3, 1][..], &length(message.len()), &message].concat()
}

/// A `server_name` extension with this list.
fn names(list: &[u8]) -> Vec<u8> {
    let length = u8::try_from(list.len()).unwrap();
    [&[0, 0, 0, length + 2, 0, length], list].concat()
}

#[test]
fn the_name_is_read_in_lower_case_and_a_client_may_ask_for_none() {
    assert_eq!(read(&hello("api.test")), found("api.test"));
    assert_eq!(read(&hello("192.0.2.1")), found(""));
    assert_eq!(read(&made(&names(b"\0\0\x08API.Test"))), found("api.test"));
    assert_eq!(read(&made(&names(b"\0\0\x07a.test."))), found("a.test"));
    assert_eq!(read(&made(b"")), found(""));
    assert_eq!(read(&made(b"\x12\x34\0\x01x")), found(""));
}

#[test]
fn every_start_of_a_hello_is_waited_for() {
    let hello = hello("api.test");
    for length in 0..hello.len() {
        assert_eq!(read(&hello[..length]), Ok(None), "{length}");
    }
    // What follows is not looked at.
    assert_eq!(read(&[&hello[..], b"early data"].concat()), found("api.test"));
}

#[test]
fn a_hello_may_be_cut_into_records_anywhere() {
    let hello = hello("api.test");
    for size in 1..hello.len() {
        let bytes = cut(&hello, size);
        assert_eq!(read(&bytes), found("api.test"), "{size}");
        assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None), "{size}");
    }
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    for junk in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x15\x03\x01\0\x02\x02\x28",
        b"\x16\x02",
        // Records without content, or with too much.
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
        // Another message, one that is too long, and one with nothing in it.
        b"\x16\x03\x01\0\x04\x02\0\0\0",
        b"\x16\x03\x01\0\x04\x01\x01\0\0",
        b"\x16\x03\x01\0\x04\x01\0\0\0",
    ] {
        assert_eq!(read(junk), Err(NoHello), "{}", junk.escape_ascii());
    }
    let two = [names(b"\0\0\x01a"), names(b"\0\0\x01b")].concat();
    for extensions in [
        two,
        names(b"\0\0\x01a\0\0\x01b"),
        names(b"\0\0\0"),
        names(b"\x01\0\x01a"),
        names(b"\0\0\x02a"),
        names(b"\0\0\x03a b"),
        names(b"\0\0\x02\xc3\xa4"),
        b"\0\0".to_vec(),
        b"\0\0\0\x09".to_vec(),
    ] {
        assert_eq!(
            read(&made(&extensions)),
            Err(NoHello),
            "{}",
            extensions.escape_ascii()
        );
    }
}

#[test]
fn a_hello_without_an_end_is_given_up() {
    let long = [
        &[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc],
        &[0; limits::CLIENT_HELLO_BYTES][..],
    ]
    .concat();
    assert_eq!(read(&long[..limits::CLIENT_HELLO_BYTES - 1]), Ok(None));
    let before = settable::count(Limit::ClientHelloBytes);
    assert_eq!(read(&long[..limits::CLIENT_HELLO_BYTES]), Err(NoHello));
    assert!(settable::count(Limit::ClientHelloBytes) > before);
}

proptest! {
    #[test]
    fn a_changed_hello_is_read_or_refused(at in 0_usize..240, value: u8, split in 1_usize..240) {
        let mut bytes = hello("api.test");
        let at = at % bytes.len();
        bytes[at] = value;
        let whole = read(&bytes);
        // A start says nothing that the whole does not.
        if let early @ (Ok(Some(_)) | Err(_)) = read(&bytes[..split % bytes.len()]) {
            prop_assert_eq!(early, whole);
        }
    }
}
