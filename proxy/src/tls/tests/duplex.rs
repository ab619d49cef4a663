use std::io::{Read as _, Write as _};
use std::thread;

use rustls::version::{TLS12, TLS13};

use super::*;
use crate::worker::{Arrived, race};

/// More than both sockets' buffers hold.
const BYTES: usize = 12 << 20;

fn pattern() -> Vec<u8> {
    (0..BYTES)
        .map(|at| u8::try_from(at * 31 % 251).unwrap())
        .collect()
}

/// Sends back what comes, by steps that never wait, until the peer ends; then ends too.
async fn echo_in_steps(stream: &mut Stream) -> Result<(), StreamError> {
    let encrypted = !matches!(stream, Stream::Plain(_));
    let mut stream = stream.duplex();
    let (mut buffer, mut ended) = (Buffer::empty(), false);
    loop {
        if buffer.is_empty() && !ended {
            match stream.try_read(&mut buffer) {
                Ok(Arrived::Some | Arrived::All) => {}
                Ok(Arrived::Nothing) => stream.conn().readable().await?,
                Err(StreamError::Conn(ConnError::Closed)) => ended = true,
                Err(error) => return Err(error),
            }
        }
        stream.try_write(&mut buffer)?;
        if stream.pending() > 0 {
            assert!(encrypted);
            stream.conn().room(false).await?;
        } else if ended && buffer.is_empty() && stream.try_finish()? {
            return Ok(());
        }
    }
}

#[test]
fn both_directions_move_in_steps_and_each_ends_by_itself() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let identity = authority.sign("a.test");
        let tls = server_tls(&[("a.test", &identity)], ticketer());
        for version in [&TLS12, &TLS13] {
            let (conn, socket) = pair().await;
            let config = client_config(&authority, version);
            let client = thread::spawn(move || {
                let mut blocking = blocking_client(&config, "a.test", socket);
                let sent = pattern();
                // Small enough for the sockets, so that one thread can do both.
                let mut got = vec![0; 60_000];
                for piece in sent.chunks(60_000) {
                    blocking.write_all(piece).unwrap();
                    blocking.read_exact(&mut got[..piece.len()]).unwrap();
                    assert!(got[..piece.len()] == *piece);
                }
                blocking.conn.send_close_notify();
                blocking.flush().unwrap();
                let mut rest = Vec::new();
                // A goodbye, not a cut.
                blocking.read_to_end(&mut rest).unwrap();
                assert!(rest.is_empty());
            });
            let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
                .await
                .unwrap();
            echo_in_steps(&mut stream).await.unwrap();
            while !client.is_finished() {
                crate::worker::sleep(Duration::from_millis(5)).await;
            }
            client.join().unwrap();
        }
    });
}

#[test]
fn a_peer_that_reads_nothing_leaves_one_encrypted_buffer_behind() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let identity = authority.sign("a.test");
        let tls = server_tls(&[("a.test", &identity)], ticketer());
        let (conn, socket) = pair().await;
        let config = client_config(&authority, &TLS13);
        let (go, wait) = std::sync::mpsc::channel();
        let client = thread::spawn(move || {
            let mut blocking = blocking_client(&config, "a.test", socket);
            blocking.write_all(b"go").unwrap();
            wait.recv().unwrap();
            let mut got = Vec::new();
            blocking.read_to_end(&mut got).unwrap();
            got
        });
        let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
            .await
            .unwrap();
        let mut stream = stream.duplex();
        let mut buffer = Buffer::take();
        while stream.try_read(&mut buffer).unwrap() == Arrived::Nothing {
            stream.conn().readable().await.unwrap();
        }
        assert_eq!(&buffer[..], b"go");
        assert!(stream.pending() == 0);
        buffer.clear();
        buffer.extend_from_slice(&pattern());
        // What the kernel holds on the way grows for a moment.
        let mut before = (0, 0);
        while before != (buffer.len(), stream.pending()) {
            before = (buffer.len(), stream.pending());
            stream.try_write(&mut buffer).unwrap();
            crate::worker::sleep(Duration::from_millis(50)).await;
        }
        let left = buffer.len();
        assert!(stream.pending() > 0 && left > 0, "it took all of it");
        stream.try_write(&mut buffer).unwrap();
        assert_eq!(
            buffer.len(),
            left,
            "nothing more is encrypted while the peer takes nothing"
        );
        assert_eq!(stream.try_finish(), Ok(false), "the goodbye waits behind it");
        go.send(()).unwrap();
        while !stream.try_finish().unwrap() {
            let waited = race(stream.conn().room(false), crate::worker::sleep(LONG)).await;
            assert_eq!(waited, crate::worker::First::Left(Ok(())));
        }
        while !client.is_finished() {
            crate::worker::sleep(Duration::from_millis(5)).await;
        }
        assert!(client.join().unwrap() == pattern()[..BYTES - left]);
    });
}
