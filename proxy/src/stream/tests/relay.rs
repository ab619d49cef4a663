//! A relay between two sockets, both ends of which are blocking threads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::stream::relay::{End, Ending, Relayed, relay};
use crate::tls::Stream;
use crate::worker::Buffer;
use crate::worker::tests::{on_each_driver, pair};

const LONG: Duration = Duration::from_secs(20);

async fn between(
    early: &[u8],
    idle: Duration,
    act: impl FnOnce(TcpStream, TcpStream) + Send + 'static,
) -> Relayed {
    let ((left, client), (right, server)) = (pair().await, pair().await);
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(LONG)).unwrap();
    }
    let acting = thread::spawn(move || act(client, server));
    let mut buffer = Buffer::take();
    buffer.extend_from_slice(early);
    let (mut left, mut right) = (Stream::Plain(Box::new(left)), Stream::Plain(Box::new(right)));
    let relayed = relay(
        End {
            stream: &mut left,
            early: buffer,
            write: idle,
        },
        End {
            stream: &mut right,
            early: Buffer::empty(),
            write: idle,
        },
        idle,
    )
    .await;
    drop((left, right));
    // The runtime closes what waited once it gets a turn, which this thread must leave to it.
    while !acting.is_finished() {
        crate::worker::sleep(Duration::from_millis(1)).await;
    }
    acting.join().unwrap();
    relayed
}

#[test]
fn an_end_is_passed_on_and_the_other_direction_goes_on() {
    on_each_driver(|| async {
        let relayed = between(b"early ", LONG, |mut client, mut server| {
            client.write_all(b"late").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            server.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"early late");
            server.write_all(b"answer").unwrap();
            drop(server);
            got.clear();
            client.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"answer");
        })
        .await;
        assert_eq!(
            relayed,
            Relayed {
                from_left: 10,
                from_right: 6,
                ending: Ending::Closed
            }
        );
    });
}

#[test]
fn both_directions_move_while_neither_end_reads_first() {
    const BYTES: usize = 24 << 20;
    on_each_driver(|| async {
        // Both ends send far more than sockets hold before they read a byte of what the other sends.
        let relayed = between(b"", LONG, |client, server| {
            let ends = [client, server].map(|socket| {
                let mut writer = socket.try_clone().unwrap();
                let writing = thread::spawn(move || {
                    let chunk = vec![7; 1 << 20];
                    (0..BYTES / chunk.len()).for_each(|_| writer.write_all(&chunk).unwrap());
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                (socket, writing)
            });
            thread::park_timeout(Duration::from_millis(200));
            let written = ends.map(|(mut socket, writing)| {
                let mut got = Vec::new();
                socket.read_to_end(&mut got).unwrap();
                assert_eq!(got.len(), BYTES);
                writing
            });
            written.into_iter().for_each(|writing| writing.join().unwrap());
        })
        .await;
        assert_eq!(
            (relayed.from_left, relayed.from_right),
            (BYTES as u64, BYTES as u64)
        );
        assert_eq!(relayed.ending, Ending::Closed);
    });
}

#[test]
fn silence_ends_it_and_movement_in_either_direction_is_none() {
    on_each_driver(|| async {
        let relayed = between(b"", Duration::from_millis(1500), |mut client, mut server| {
            for _ in 0..5 {
                thread::park_timeout(Duration::from_millis(400));
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0]).unwrap();
            }
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        })
        .await;
        assert_eq!((relayed.from_left, relayed.ending), (5, Ending::Idle));
    });
}

#[test]
fn a_broken_end_ends_the_other() {
    on_each_driver(|| async {
        let relayed = between(b"", LONG, |client, mut server| {
            socket2::SockRef::from(&client)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(client);
            let _ = server.read(&mut [0]);
        })
        .await;
        assert_eq!(relayed.ending, Ending::Broken);
    });
}

#[test]
fn an_idle_relay_holds_no_buffer() {
    on_each_driver(|| async {
        let ((left, client), (right, server)) = (pair().await, pair().await);
        let mut streams = [left, right].map(|conn| Stream::Plain(Box::new(conn)));
        let [left, right] = &mut streams;
        let end = |stream| End {
            stream,
            early: Buffer::empty(),
            write: LONG,
        };
        let mut running = std::pin::pin!(relay(end(left), end(right), LONG));
        let exchange = thread::spawn(move || {
            let (mut client, mut server) = (client, server);
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            (client, server)
        });
        let pause = crate::worker::sleep(Duration::from_millis(200));
        let first = crate::worker::race(&mut running, pause).await;
        assert_eq!(first, crate::worker::First::Right(()));
        let sockets = exchange.join().unwrap();
        // Whatever it took for the byte is back in the pool.
        let spare = Buffer::spare();
        assert!(spare >= 1);
        drop(sockets);
        assert_eq!(running.await.ending, Ending::Closed);
        assert!(Buffer::spare() <= spare + 1);
    });
}

#[test]
fn a_peer_that_ended_and_takes_nothing_is_waited_for_in_peace_and_not_for_ever() {
    on_each_driver(|| async {
        let relayed = between(b"", Duration::from_millis(700), |mut client, server| {
            server.shutdown(Shutdown::Write).unwrap();
            client.set_write_timeout(Some(LONG)).unwrap();
            let chunk = vec![7; 1 << 20];
            // It ends by the relay's patience, while this end still has more.
            while client.write_all(&chunk).is_ok() {}
            drop(server);
        })
        .await;
        assert_eq!(relayed.ending, Ending::Idle);
        assert!(relayed.from_left > 0);
    });
}
