//! Flow control, of a stream and of the whole connection.

use super::*;

#[test]
fn a_body_of_any_length_passes_within_the_windows() {
    let mut pair = Pair::new();
    let id = pair.open();
    let (mut sent, mut taken) = (0, 0);
    let total = 3_000_000;
    while taken < total {
        let room = pair.client.sendable(id).min(total - sent);
        pair.client.send_data(id, &vec![7; room], sent + room == total);
        sent += room;
        pair.exchange(usize::MAX);
        let stream = pair.server.stream(id).unwrap();
        assert!(stream.received.len() <= limits::H2_STREAM_WINDOW_BYTES as usize);
        let count = std::mem::take(&mut stream.received).len();
        assert!(count > 0 || sent == total, "the windows never close for good");
        taken += count;
        pair.server.consumed(id, count);
        pair.exchange(usize::MAX);
    }
    assert_eq!(pair.server.stream(id).unwrap().remote, Remote::Ended);
}

#[test]
fn what_nobody_takes_is_bounded_for_the_whole_connection() {
    let mut pair = Pair::new();
    let mut held = 0;
    for _ in 0..8 {
        let id = pair.open();
        while pair.client.sendable(id) > 0 {
            let room = pair.client.sendable(id);
            pair.client.send_data(id, &vec![7; room], false);
            pair.exchange(usize::MAX);
        }
        held += pair.server.stream(id).unwrap().received.len();
    }
    assert_eq!(held, limits::H2_WINDOW_BYTES as usize);
    // Streams that go give their part back.
    for id in [1, 3] {
        pair.server.release(id);
    }
    pair.exchange(usize::MAX);
    assert!(pair.client.sendable(15) > 0);
}

#[test]
fn answers_that_nobody_takes_do_not_hold_those_of_others() {
    let mut pair = Pair::new();
    for _ in 0..limits::H2_STREAMS {
        let id = pair.open();
        pair.server.send_block(id, false, |out| encode::status(200, out));
        let mut sent = 0;
        loop {
            let room = pair.server.sendable(id);
            if room == 0 {
                break;
            }
            pair.server.send_data(id, &vec![7; room], false);
            pair.exchange(usize::MAX);
            sent += room;
        }
        assert_eq!(sent, limits::H2_STREAM_WINDOW_BYTES as usize, "stream {id}");
    }
}

#[test]
fn who_sends_more_than_a_window_allows_is_told_and_counted() {
    let data = |stream, count| frame(0, 0, stream, &[0; 16_384]).repeat(count);
    let counts = || [Limit::H2StreamWindowBytes, Limit::H2WindowBytes].map(settable::count);
    let before = counts();
    let (server, fed) = attack(&[headers(1, false), data(1, 9)].concat());
    assert!(fed.is_ok() && server.out.ends_with(&frame(3, 0, 1, &3_u32.to_be_bytes())));
    let streams = [1, 3, 5].map(|id| [headers(id, false), data(id, 6)].concat());
    let (_server, fed) = attack(&streams.concat());
    assert_eq!(fed, Err(ErrorCode::FlowControl));
    assert!(counts().iter().zip(before).all(|(after, before)| *after > before));
}
