use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::{PATIENCE, buffer, on_each_driver, opened, pair, read_to_end};
use crate::worker::{Activity, Arrived, Buffer, Conn, ConnError, Deadline, First, race, sleep};

const SHORT: Duration = Duration::from_millis(60);

/// Long enough to fill both sockets' buffers many times.
fn long() -> Vec<u8> {
    b"every byte in its place; ".repeat(700_000)
}

#[test]
fn an_accepted_connection_carries_bytes_both_ways() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        assert_eq!(conn.peer(), client.local_addr().ok());
        assert_eq!(conn.local(), client.peer_addr().ok());
        client.write_all(b"ping").unwrap();
        let mut received = Buffer::take();
        assert_eq!(conn.read(&mut received).await, Ok(4));
        assert_eq!(&received[..], b"ping");
        conn.write_all(&mut buffer(b"pong")).await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong");
        drop(client);
        assert_eq!(conn.read(&mut received).await, Err(ConnError::Closed));
        assert_eq!(&received[..], b"ping", "a failed read keeps what the buffer held");
    });
}

#[test]
fn an_opened_connection_waits_for_bytes_that_are_not_there_yet() {
    on_each_driver(|| async {
        let (mut conn, mut server) = opened().await;
        let writer = thread::spawn(move || {
            let mut request = [0; 3];
            server.read_exact(&mut request).unwrap();
            thread::park_timeout(SHORT);
            server.write_all(&request).unwrap();
        });
        conn.write_all(&mut buffer(b"abc")).await.unwrap();
        let mut answer = Buffer::take();
        assert_eq!(conn.read(&mut answer).await, Ok(3));
        assert_eq!(&answer[..], b"abc");
        writer.join().unwrap();
    });
}

#[test]
fn a_write_larger_than_every_socket_buffer_arrives_whole() {
    on_each_driver(|| async {
        let (mut conn, client) = opened().await;
        let reader = thread::spawn(move || read_to_end(client));
        let mut sent = buffer(&long());
        conn.write_all(&mut sent).await.unwrap();
        assert!(sent.is_empty());
        conn.finish();
        while !reader.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(reader.join().unwrap() == long());
    });
}

#[test]
fn a_deadline_ends_a_read() {
    on_each_driver(|| async {
        let (mut conn, _client) = pair().await;
        conn.arm(SHORT);
        assert_eq!(conn.read(&mut Buffer::take()).await, Err(ConnError::TimedOut));
    });
}

#[test]
fn a_deadline_ends_a_wait_for_readability() {
    on_each_driver(|| async {
        let (conn, _client) = pair().await;
        conn.arm(SHORT);
        assert_eq!(conn.readable().await, Err(ConnError::TimedOut));
    });
}

#[test]
fn a_deadline_ends_a_write_to_a_peer_that_does_not_read() {
    on_each_driver(|| async {
        let (mut conn, _client) = opened().await;
        conn.arm(SHORT);
        assert_eq!(
            conn.write_all(&mut buffer(&long())).await,
            Err(ConnError::TimedOut)
        );
    });
}

#[test]
fn a_deadline_that_was_taken_away_ends_nothing() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        conn.arm(SHORT);
        conn.disarm();
        sleep(SHORT * 3).await;
        client.write_all(b"late").unwrap();
        assert_eq!(conn.read(&mut Buffer::take()).await, Ok(4));
    });
}

#[test]
fn giving_up_a_read_loses_no_byte() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        let writer = thread::spawn(move || {
            // Around the reader's patience, so that bytes come before, while and after it gives up.
            for number in 0..60_u8 {
                thread::park_timeout(Duration::from_millis(20 + u64::from(number % 30)));
                client.write_all(&[number, !number]).unwrap();
            }
        });
        let mut received = Buffer::take();
        let mut gave_up = 0;
        loop {
            match conn.read_or_idle(&mut received, Duration::from_millis(25)).await {
                Ok(Activity::Read) => {}
                Ok(Activity::Idle) => gave_up += 1,
                Err(error) => {
                    assert_eq!(error, ConnError::Closed);
                    break;
                }
            }
        }
        writer.join().unwrap();
        let expected: Vec<u8> = (0..60_u8).flat_map(|number| [number, !number]).collect();
        assert_eq!(&received[..], expected);
        assert!(gave_up > 0, "the reader never lost its patience");
    });
}

#[test]
fn a_wait_for_readability_may_be_dropped() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        let patience = Deadline::on_waker();
        for _ in 0..3 {
            patience.arm_in(Duration::from_millis(1));
            assert_eq!(race(conn.readable(), patience.wait()).await, First::Right(()));
        }
        client.write_all(b"still here").unwrap();
        conn.readable().await.unwrap();
        assert_eq!(conn.read(&mut Buffer::take()).await, Ok(10));
    });
}

#[test]
fn readable_is_said_again_until_it_is_read() {
    on_each_driver(|| async {
        let (mut conn, mut client) = pair().await;
        client.write_all(b"x").unwrap();
        conn.readable().await.unwrap();
        conn.readable().await.unwrap();
        assert_eq!(conn.read(&mut Buffer::take()).await, Ok(1));
        conn.arm(SHORT);
        assert_eq!(
            conn.readable().await,
            Err(ConnError::TimedOut),
            "there was nothing left"
        );
    });
}

#[test]
fn an_aborted_connection_ends_the_read_that_waits() {
    on_each_driver(|| async {
        let (mut conn, _client) = pair().await;
        let aborter = conn.aborter();
        crate::worker::spawn(async move {
            sleep(SHORT).await;
            aborter.abort();
        });
        assert_eq!(conn.read(&mut Buffer::take()).await, Err(ConnError::Closed));
    });
}

#[test]
fn a_quiet_connection_is_not_stale() {
    on_each_driver(|| async {
        let (conn, mut server) = opened().await;
        assert!(!conn.is_stale());
        server.write_all(b"!").unwrap();
        conn.readable().await.unwrap();
        assert!(conn.is_stale(), "it sent something unasked");
        let (conn, server) = opened().await;
        drop(server);
        conn.readable().await.unwrap();
        assert!(conn.is_stale(), "it closed");
    });
}

#[test]
fn a_refused_connection_says_so() {
    on_each_driver(|| async {
        let (acceptor, address) = super::acceptor();
        drop(acceptor);
        sleep(SHORT).await;
        assert_eq!(
            Conn::connect(address.into(), PATIENCE).await.err(),
            Some(ConnError::Broken(ErrorKind::ConnectionRefused))
        );
    });
}

#[test]
fn an_unanswered_connection_attempt_times_out() {
    on_each_driver(|| async {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        // A queue that is full drops what asks to join it.
        let mut queued = Vec::new();
        let outcome = loop {
            match Conn::connect(address.into(), SHORT).await {
                Ok(conn) if queued.len() < 16 => queued.push(conn),
                other => break other.err(),
            }
        };
        assert_eq!(outcome, Some(ConnError::TimedOut));
    });
}

#[test]
fn a_dropped_connection_is_closed() {
    on_each_driver(|| async {
        let (conn, client) = pair().await;
        drop(conn);
        let reader = thread::spawn(move || read_to_end(client));
        while !reader.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(reader.join().unwrap().is_empty());
    });
}

#[test]
fn steps_that_never_wait_say_so() {
    on_each_driver(|| async {
        let (conn, mut client) = pair().await;
        let mut received = buffer(b"before ");
        assert_eq!(conn.try_read(&mut received), Ok(Arrived::Nothing));
        client.write_all(b"after").unwrap();
        conn.readable().await.unwrap();
        assert_eq!(conn.try_read(&mut received), Ok(Arrived::All));
        assert_eq!(&received[..], b"before after");
        assert_eq!(conn.try_read(&mut received), Ok(Arrived::Nothing));
        // A socket that takes no more leaves the rest in the buffer, and says when it takes more.
        let (sent, mut rest) = (long(), buffer(&long()));
        while {
            let before = rest.len();
            conn.try_write(&mut rest).unwrap();
            rest.len() < before
        } {}
        assert!(!rest.is_empty());
        let blocked = race(conn.room(false), sleep(SHORT)).await;
        assert_eq!(blocked, First::Right(()), "nobody reads");
        let reader = thread::spawn(move || read_to_end(client));
        while !rest.is_empty() {
            conn.room(false).await.unwrap();
            conn.try_write(&mut rest).unwrap();
        }
        conn.finish();
        while !reader.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(reader.join().unwrap() == sent);
        assert_eq!(conn.try_read(&mut received), Err(ConnError::Closed));
        assert_eq!(
            &received[..],
            b"before after",
            "a failed step keeps what the buffer held"
        );
    });
}

#[test]
fn a_full_buffer_is_no_end_of_the_stream() {
    on_each_driver(|| async {
        let (conn, mut client) = pair().await;
        let mut received = buffer(&[1; 16 * 1024]);
        client.write_all(b"more").unwrap();
        conn.readable().await.unwrap();
        assert_eq!(conn.try_read(&mut received), Ok(Arrived::All));
        assert_eq!(received.len(), 16 * 1024 + 4);
    });
}
