//! The tasks of a connection and its handles, on real sockets.

mod wakes;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::http::h2::PREFACE;
use crate::http::h2::frame;
use crate::http::head::{Method, ResponseHead};
use crate::tls::StreamError;
use crate::upstream;
use crate::worker::tests::{acceptor, on_each_driver};
use crate::worker::{Accepted, ConnError, sleep};

const SHORT: Duration = Duration::from_millis(50);

/// A connection to a server that says what the test writes.
async fn connect() -> (Multiplexed, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = upstream::connect(address.into(), &[], None, Duration::from_secs(5))
        .await
        .unwrap();
    let mut server = listener.accept().unwrap().0;
    let mut settings = Vec::new();
    frame::push_settings(&[], &mut settings);
    server.write_all(&settings).unwrap();
    (Multiplexed::connect(stream), server)
}

fn post(handle: &Handle) {
    handle.send_head(false, |out| {
        out.extend_from_slice(&[0x83, 0x86, 0x84, 0x41, 0x01, b'a'])
    });
}

#[test]
fn a_stream_that_was_refused_has_not_ended() {
    on_each_driver(|| async {
        let (connection, mut server) = connect().await;
        let mut handle = connection.open().unwrap();
        post(&handle);
        let mut answer = Vec::new();
        frame::push_block(1, false, 16_384, &mut answer, |out| out.push(0x88));
        frame::push_data(1, b"half", false, &mut answer);
        server.write_all(&answer).unwrap();
        let mut buffer = Buffer::empty();
        assert_eq!(handle.read(&mut buffer).await, Ok(4));
        answer.clear();
        frame::push_reset(1, crate::http::h2::ErrorCode::RefusedStream, &mut answer);
        server.write_all(&answer).unwrap();
        let end = handle.read(&mut buffer).await;
        assert!(
            end.is_err() && end != Err(StreamError::Conn(ConnError::Closed)),
            "{end:?}"
        );
    });
}

#[test]
fn a_stream_on_a_connection_that_rested_has_its_own_time() {
    on_each_driver(|| async {
        let (connection, mut server) = connect().await;
        let first = connection.open().unwrap();
        post(&first);
        sleep(SHORT).await;
        drop(first);
        sleep(SHORT).await;
        let second = connection.open().unwrap();
        post(&second);
        sleep(SHORT).await;
        clock::ahead::go(Duration::from_secs(limits::UPSTREAM_IDLE_S + 1));
        sleep(SHORT * 4).await;
        let mut answer = Vec::new();
        frame::push_block(3, true, 16_384, &mut answer, |out| out.push(0x89));
        server.write_all(&answer).unwrap();
        let (mut received, mut head) = (Vec::new(), ResponseHead::default());
        let read = second.response(Method::Get, &mut received, &mut head).await;
        assert_eq!((read, head.status), (Ok(Ok(())), 204));
    });
}

#[test]
fn a_connection_without_streams_is_closed_in_time() {
    on_each_driver(|| async {
        let (connection, mut server) = connect().await;
        drop(connection.open().unwrap());
        sleep(SHORT).await;
        clock::ahead::go(Duration::from_secs(limits::UPSTREAM_IDLE_S + 1));
        sleep(SHORT * 4).await;
        assert!(connection.is_spent());
        let mut said = Vec::new();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        server.read_to_end(&mut said).unwrap();
        assert!(said.starts_with(PREFACE));
        let mut goodbye = Vec::new();
        frame::push_go_away(0, crate::http::h2::ErrorCode::NoError, &mut goodbye);
        assert!(said.ends_with(&goodbye), "it is told: {}", said.escape_ascii());
    });
}

#[test]
fn a_stream_that_nobody_has_heard_of_is_let_go_in_silence() {
    on_each_driver(|| async {
        let (connection, mut server) = connect().await;
        drop(connection.open().unwrap());
        let second = connection.open().unwrap();
        post(&second);
        sleep(SHORT).await;
        drop(second);
        sleep(SHORT).await;
        let mut said = vec![0; 4096];
        let count = server.read(&mut said).unwrap();
        let reset = |id| {
            let mut bytes = Vec::new();
            frame::push_reset(id, crate::http::h2::ErrorCode::Cancel, &mut bytes);
            said[..count].windows(bytes.len()).any(|window| window == bytes)
        };
        assert_eq!((reset(1), reset(3)), (false, true));
    });
}

#[test]
fn what_is_passed_on_ends_with_its_streams() {
    on_each_driver(|| async {
        let ((from, _one), (to, _other)) = (connect().await, connect().await);
        let counted = Rc::new(Cell::new(0));
        let (left, right) = (from.open().unwrap(), to.open().unwrap());
        post(&left);
        post(&right);
        left.pass_on(&right, Rc::clone(&counted));
        sleep(SHORT).await;
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(right);
        drop(left);
        sleep(SHORT).await;
        assert_eq!(Rc::strong_count(&counted), 1, "nobody waits any more");
        assert_eq!((from.streams(), to.streams()), (0, 0));
    });
}

/// What a server's state answers `bytes` with, until it closes, when they come with pauses of `pause`.
async fn drip(pieces: &[&[u8]], pause: Duration) -> (TcpStream, bool) {
    let (acceptor, address) = acceptor();
    let mut client = TcpStream::connect(address).unwrap();
    let Accepted::Conn(conn) = acceptor.accept().await else {
        panic!("no connection")
    };
    let stream = Stream::Plain(Box::new(conn));
    let ended = Rc::new(Cell::new(false));
    let told = Rc::clone(&ended);
    worker::spawn(async move {
        serve(stream, Buffer::empty(), Rc::default(), drop).await;
        told.set(true);
    });
    for piece in pieces {
        client.write_all(piece).unwrap();
        sleep(SHORT).await;
        clock::ahead::go(pause);
        sleep(SHORT * 3).await;
    }
    (client, ended.get())
}

#[test]
fn a_head_that_never_ends_has_its_time() {
    on_each_driver(|| async {
        let mut begun = PREFACE.to_vec();
        frame::push_settings(&[], &mut begun);
        let mut head = Vec::new();
        frame::push_head(1, 1, 0, 1, &mut head);
        head.push(0x82);
        let pause = Duration::from_secs(limits::REQUEST_HEAD_S) / 2 - Duration::from_secs(1);
        // A frame that comes byte by byte, and a block of which another frame is always missing.
        let mut more = Vec::new();
        frame::push_head(0, 9, 0, 1, &mut more);
        let (_client, ended) = drip(
            &[&begun, &head[..3], &head[3..4], &head[4..5], &head[5..6]],
            pause,
        )
        .await;
        assert!(ended, "half a frame");
        let (_client, ended) = drip(&[&begun, &head, &more, &more, &more], pause).await;
        assert!(ended, "half a block");
        let (_client, ended) = drip(&[&begun, &[], &[], &[]], pause).await;
        assert!(!ended, "a connection may rest for longer");
    });
}

#[test]
fn what_is_passed_on_ends_where_the_other_side_needs_no_more_of_it() {
    on_each_driver(|| async {
        let ((from, mut sender), (to, mut taker)) = (connect().await, connect().await);
        let counted = Rc::new(Cell::new(0));
        let (left, right) = (from.open().unwrap(), to.open().unwrap());
        post(&left);
        post(&right);
        // A whole answer, and a reset that says that the rest of the question is of no use (RFC 9113 §8.1).
        let mut frames = Vec::new();
        frame::push_block(1, true, 16_384, &mut frames, |out| out.push(0x89));
        frame::push_reset(1, crate::http::h2::ErrorCode::NoError, &mut frames);
        taker.write_all(&frames).unwrap();
        frames.clear();
        frame::push_block(1, true, 16_384, &mut frames, |out| out.push(0x88));
        sender.write_all(&frames).unwrap();
        sleep(SHORT).await;
        left.pass_on(&right, Rc::clone(&counted));
        sleep(SHORT).await;
        assert_eq!(Rc::strong_count(&counted), 1, "it does not go round and round");
    });
}
