//! Heads that come before and after.

use super::*;

#[test]
fn interim_heads_are_passed_over_but_not_for_ever() {
    let mut pair = Pair::new();
    let id = pair.open();
    for _ in 0..limits::INTERIM_RESPONSES {
        pair.server.send_block(id, false, |out| encode::status(103, out));
    }
    pair.exchange(usize::MAX);
    assert!(!pair.client.stream(id).unwrap().begun);
    pair.server.send_block(id, false, |out| encode::status(103, out));
    carry(&mut pair.server, &mut pair.client, usize::MAX).unwrap();
    assert!(pair.client.stream(id).unwrap().is_reset());
}

#[test]
fn trailers_end_a_response() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.server.send_block(id, false, |out| encode::status(200, out));
    pair.server.send_data(id, b"x", false);
    let status = crate::http::known::KnownHeader::GrpcStatus;
    pair.server
        .send_block(id, true, |out| encode::field(b"grpc-status", status, b"0", out));
    pair.exchange(3);
    let stream = pair.client.stream(id).unwrap();
    assert_eq!((stream.remote, &stream.received[..]), (Remote::Ended, &b"x"[..]));
    assert_eq!(
        stream.trailers.as_ref().unwrap().iter().next(),
        Some((&b"grpc-status"[..], &b"0"[..]))
    );
}
