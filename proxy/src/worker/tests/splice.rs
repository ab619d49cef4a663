use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;

use super::{on_each_driver, opened, pair, read_to_end};
use crate::limits;
use crate::worker::{Conn, ConnError, Pipe, sleep};

/// Far more than a pipe and two sockets hold.
fn long() -> Vec<u8> {
    (0..251).cycle().take(9 << 20).collect()
}

/// Moves all until the other side ends.
async fn pump(from: &Conn, to: &Conn) -> Result<usize, ConnError> {
    let mut pipe = Pipe::between(from, to).expect("descriptors are left");
    let mut moved = 0;
    loop {
        match pipe.fill(from, limits::SPLICE_BYTES) {
            Ok(0) => from.readable().await?,
            Ok(count) => moved += count,
            Err(ConnError::Closed) => return Ok(moved),
            Err(error) => return Err(error),
        }
        while pipe.held() > 0 {
            if pipe.drain(to)? == 0 {
                to.room(false).await?;
            }
        }
    }
}

#[test]
fn every_byte_goes_through_in_order() {
    on_each_driver(|| async {
        let (from, mut sender) = pair().await;
        let (to, receiver) = opened().await;
        let writer = thread::spawn(move || sender.write_all(&long()).unwrap());
        let reader = thread::spawn(move || read_to_end(receiver));
        assert_eq!(pump(&from, &to).await, Ok(long().len()));
        to.finish();
        assert!(reader.join().unwrap() == long());
        writer.join().unwrap();
    });
}

#[test]
fn no_more_is_taken_than_was_asked_for_and_the_rest_can_be_read() {
    on_each_driver(|| async {
        let (mut from, mut sender) = pair().await;
        let (to, mut receiver) = opened().await;
        sender.write_all(b"body, next").unwrap();
        from.readable().await.unwrap();
        let mut pipe = Pipe::between(&from, &to).unwrap();
        assert_eq!(pipe.fill(&from, 4), Ok(4));
        assert_eq!(pipe.drain(&to), Ok(4));
        let mut rest = crate::worker::Buffer::take();
        assert_eq!(from.read(&mut rest).await, Ok(6));
        assert_eq!(&rest[..], b", next");
        let mut body = [0; 4];
        receiver.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        // Waiting reads still wait, though the socket does not block any more.
        let late = thread::spawn(move || {
            thread::park_timeout(std::time::Duration::from_millis(60));
            sender.write_all(b"!").unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(from.read(&mut rest).await, Ok(1));
        late.join().unwrap();
    });
}

#[test]
fn nothing_of_one_connection_is_left_in_a_pipe_for_the_next() {
    on_each_driver(|| async {
        let (first, mut secret) = pair().await;
        let (to, _receiver) = opened().await;
        secret.write_all(b"secret").unwrap();
        first.readable().await.unwrap();
        let mut pipe = Pipe::between(&first, &to).unwrap();
        assert_eq!(pipe.fill(&first, 6), Ok(6));
        drop(pipe);
        let (second, mut other) = pair().await;
        let (to, mut receiver) = opened().await;
        other.write_all(b"public").unwrap();
        second.readable().await.unwrap();
        let mut pipe = Pipe::between(&second, &to).unwrap();
        assert_eq!(pipe.fill(&second, 6), Ok(6));
        assert_eq!(pipe.drain(&to), Ok(6));
        let mut seen = [0; 6];
        receiver.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"public");
    });
}

#[test]
fn a_pipe_waits_for_nobody() {
    on_each_driver(|| async {
        let (from, mut sender) = pair().await;
        let (to, _receiver) = opened().await;
        let mut pipe = Pipe::between(&from, &to).unwrap();
        assert_eq!(pipe.fill(&from, 10), Ok(0), "nothing has come");
        let writer = thread::spawn(move || while sender.write_all(&[7; 1 << 16]).is_ok() {});
        // Nobody reads at the other end: it takes until its socket is full, and no more.
        loop {
            if pipe.held() == 0 {
                from.readable().await.unwrap();
                pipe.fill(&from, limits::SPLICE_BYTES).unwrap();
            } else if pipe.drain(&to) == Ok(0) {
                break;
            }
        }
        drop((from, to));
        sleep(std::time::Duration::from_millis(1)).await;
        writer.join().unwrap();
    });
}
