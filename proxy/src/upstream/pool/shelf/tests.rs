use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use policy::table::{HttpVersion, ProxyProtocol};

use super::*;
use crate::node::DriverChoice;
use crate::tls::Stream;
use crate::upstream::connect;
use crate::upstream::pool::Behalf;
use crate::worker::tests::on;
use crate::worker::{Buffer, Driver, race, sleep};

const LONG: Duration = Duration::from_secs(20);
const SURPLUS: Duration = Duration::from_millis(limits::UPSTREAM_SURPLUS_MS);

/// Where connections lead to, and the server's ends of them.
struct Server(TcpListener, Vec<TcpStream>);

impl Server {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap(), Vec::new())
    }

    fn key(&self) -> Key {
        Key {
            address: self.0.local_addr().unwrap().into(),
            tls: None,
            http: HttpVersion::Http1,
            behalf: None,
        }
    }

    async fn open(&mut self) -> Stream {
        let stream = connect(self.key().address, &[], None, LONG).await.unwrap();
        let (end, _peer) = self.0.accept().unwrap();
        end.set_read_timeout(Some(LONG)).unwrap();
        self.1.push(end);
        stream
    }

    /// Lets a pool keep some connections.
    async fn fill(&mut self, pool: &mut Pool, key: &Key, count: usize) {
        for _ in 0..count {
            let wire = Wire::Bytes(self.open().await);
            pool.give(key, Leased { wire, requests: 7 });
        }
    }

    /// Which of the server's ends this connection has.
    fn number(&self, stream: &Stream) -> Option<usize> {
        let local = stream.conn().local();
        self.1.iter().position(|end| end.peer_addr().ok() == local)
    }
}

fn shelf() -> Arc<Shelf> {
    Arc::new(Shelf::new(2))
}

fn each_driver(test: impl Fn(Driver)) {
    if let Ok(uring) = Driver::choose(DriverChoice::Uring) {
        test(uring);
    }
    test(Driver::Epoll);
}

/// A connection taken from a pool, as this worker's.
fn taken(pool: &mut Pool, key: &Key) -> Option<(Stream, u32)> {
    let leased = pool.take(key)?;
    match leased.wire {
        Wire::Bytes(stream) => Some((stream, leased.requests)),
        Wire::Frames(_) => None,
    }
}

async fn exchange(stream: &mut Stream, server: &mut TcpStream) {
    for text in [b"ping", b"pong"] {
        let mut buffer = Buffer::take();
        buffer.extend_from_slice(text);
        stream.write_all(&mut buffer).await.unwrap();
        let mut request = [0; 4];
        server.read_exact(&mut request).unwrap();
        server.write_all(&request).unwrap();
        while buffer.len() < 4 {
            stream.read(&mut buffer).await.unwrap();
        }
        assert_eq!(&buffer[..], text);
    }
}

/// Parks some connections to a new server, all of one key, on a worker of its own.
fn parked(driver: Driver, shelf: &Arc<Shelf>, count: usize) -> Server {
    let shelf = Arc::clone(shelf);
    on(driver, move || async move {
        let (mut server, mut pool) = (Server::new(), Pool::beside(Arc::clone(&shelf)));
        let key = server.key();
        server.fill(&mut pool, &key, count).await;
        clock::ahead::go(SURPLUS);
        pool.park_surplus();
        assert!(pool.is_empty());
        server
    })
}

#[test]
fn what_one_worker_does_not_need_another_uses() {
    each_driver(|driver| {
        let shelf = shelf();
        let mut server = parked(driver, &shelf, 1);
        assert_eq!((shelf.parked(), shelf.adopted()), (1, 0));
        let others = Arc::clone(&shelf);
        on(driver, move || async move {
            let mut pool = Pool::beside(others);
            let key = server.key();
            let (mut stream, requests) = taken(&mut pool, &key).expect("it is on the shelf");
            assert_eq!(requests, 8, "as many as it served on the other worker");
            exchange(&mut stream, &mut server.1[0]).await;
            assert_eq!(stream.conn().local(), server.1[0].peer_addr().ok());
            assert_eq!(stream.conn().peer(), server.0.local_addr().ok());
            let wire = Wire::Bytes(stream);
            pool.give(&key, Leased { wire, requests });
            let (stream, requests) = taken(&mut pool, &key).expect("it is this worker's now");
            assert_eq!(requests, 9);
            stream.conn().arm(Duration::ZERO);
            let _ = stream.readable().await;
            let mut rest = Vec::new();
            server.1[0].read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "its deadlines are this worker's, too");
        });
        assert_eq!((shelf.parked(), shelf.adopted()), (0, 1));
    });
}

#[test]
fn a_poll_that_was_dropped_just_before_keeps_no_byte_and_no_descriptor() {
    each_driver(|driver| {
        let shelf = shelf();
        let first = Arc::clone(&shelf);
        let mut server = on(driver, move || async move {
            let (mut server, mut pool) = (Server::new(), Pool::beside(first));
            let (key, stream) = (server.key(), server.open().await);
            race(stream.readable(), sleep(Duration::from_millis(1))).await;
            let wire = Wire::Bytes(stream);
            pool.give(&key, Leased { wire, requests: 0 });
            clock::ahead::go(SURPLUS);
            // No operation was reaped since: the ring still holds the poll.
            pool.park_surplus();
            server
        });
        let mut server = on(driver, move || async move {
            let mut pool = Pool::beside(shelf);
            let (mut stream, _) = taken(&mut pool, &server.key()).expect("it is on the shelf");
            exchange(&mut stream, &mut server.1[0]).await;
            drop(stream);
            // The runtime closes it with its next operations.
            sleep(Duration::from_millis(5)).await;
            server
        });
        let mut rest = Vec::new();
        server.1[0].read_to_end(&mut rest).expect("nobody holds it open");
    });
}

#[test]
fn a_worker_keeps_what_it_uses() {
    each_driver(|driver| {
        on(driver, || async {
            let (mut server, mut pool) = (Server::new(), Pool::beside(shelf()));
            let key = server.key();
            server.fill(&mut pool, &key, 3).await;
            clock::ahead::go(SURPLUS / 2);
            pool.park_surplus();
            assert_eq!(pool.len(), 3, "none has idled for long");
            let (stream, requests) = taken(&mut pool, &key).unwrap();
            assert_eq!(server.number(&stream), Some(2));
            let wire = Wire::Bytes(stream);
            pool.give(&key, Leased { wire, requests });
            clock::ahead::go(SURPLUS / 2);
            pool.park_surplus();
            assert_eq!((pool.len(), pool.shelf.parked()), (1, 2));
            let (own, _) = taken(&mut pool, &key).unwrap();
            assert_eq!(server.number(&own), Some(2), "it was used meanwhile");
            let (other, _) = taken(&mut pool, &key).unwrap();
            assert_eq!(
                server.number(&other),
                Some(1),
                "the newest of those that were not"
            );
            assert_eq!(pool.shelf.adopted(), 1);
        });
    });
}

#[test]
fn a_parked_connection_serves_its_own_key_alone() {
    each_driver(|driver| {
        on(driver, || async {
            let (mut server, mut pool) = (Server::new(), Pool::beside(shelf()));
            let plain = server.key();
            let tls = |identity, name: &str| Key {
                tls: Some((identity, name.into())),
                ..plain.clone()
            };
            let own = tls(0, "a");
            server.fill(&mut pool, &own, 1).await;
            clock::ahead::go(SURPLUS);
            pool.park_surplus();
            let either = Key {
                http: HttpVersion::Negotiated,
                ..own.clone()
            };
            for other in [
                tls(0, "b"),
                tls(1, "a"),
                either,
                plain.clone(),
                Server::new().key(),
            ] {
                assert!(pool.take(&other).is_none(), "{other:?}");
            }
            assert!(pool.take(&own).is_some());
        });
    });
}

#[test]
fn what_was_opened_for_one_client_is_never_parked() {
    each_driver(|driver| {
        on(driver, || async {
            let (mut server, mut pool) = (Server::new(), Pool::beside(shelf()));
            let key = Key {
                behalf: Some(Behalf {
                    version: ProxyProtocol::V2,
                    connection: 1,
                    client: Some(7),
                }),
                ..server.key()
            };
            server.fill(&mut pool, &key, 2).await;
            clock::ahead::go(SURPLUS * 10);
            pool.park_surplus();
            assert_eq!((pool.len(), pool.shelf.parked()), (2, 0));
        });
    });
}

#[test]
fn what_has_no_room_on_the_shelf_stays_where_it_is() {
    each_driver(|driver| {
        on(driver, || async {
            let (mut server, mut pool) = (Server::new(), Pool::beside(shelf()));
            let (key, more) = (server.key(), 5);
            server
                .fill(&mut pool, &key, limits::UPSTREAM_PARKED_KEY + more)
                .await;
            clock::ahead::go(SURPLUS);
            pool.park_surplus();
            let at_once = limits::UPSTREAM_PARKED_AT_ONCE;
            assert_eq!(
                pool.shelf.parked(),
                at_once as u64,
                "the worker has other things to do"
            );
            for _ in 0..limits::UPSTREAM_PARKED_KEY {
                pool.park_surplus();
            }
            assert_eq!(pool.shelf.parked(), limits::UPSTREAM_PARKED_KEY as u64);
            assert_eq!(pool.len(), more);
            for _ in 0..limits::UPSTREAM_PARKED_KEY + more {
                assert!(pool.take(&key).is_some(), "none was lost");
            }
        });
    });
}

#[test]
fn one_worker_alone_parks_nothing() {
    on(Driver::Epoll, || async {
        let (mut server, mut pool) = (Server::new(), Pool::beside(Arc::new(Shelf::new(1))));
        let key = server.key();
        server.fill(&mut pool, &key, 1).await;
        clock::ahead::go(SURPLUS);
        pool.park_surplus();
        assert_eq!(pool.len(), 1);
    });
}

#[test]
fn a_parked_connection_that_its_server_closed_or_spoke_on_is_not_used() {
    each_driver(|driver| {
        let shelf = shelf();
        let mut server = parked(driver, &shelf, 3);
        on(driver, move || async move {
            server.1[1].write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            server.1.truncate(2);
            sleep(Duration::from_millis(20)).await;
            let mut pool = Pool::beside(Arc::clone(&shelf));
            let (stream, _) = taken(&mut pool, &server.key()).expect("one is good");
            assert_eq!(server.number(&stream), Some(0));
            assert!(taken(&mut pool, &server.key()).is_none());
            assert_eq!((shelf.parked(), shelf.adopted()), (0, 1));
        });
    });
}

#[test]
fn workers_close_what_its_server_closed_while_it_was_parked() {
    each_driver(|driver| {
        let shelf = shelf();
        let mut server = parked(driver, &shelf, 5);
        on(driver, move || async move {
            server.1.truncate(2);
            sleep(Duration::from_millis(20)).await;
            let mut pool = Pool::beside(Arc::clone(&shelf));
            for _ in 0..2 * limits::UPSTREAM_PARKED_LOOKS {
                pool.park_surplus();
            }
            assert_eq!(shelf.parked(), 2, "wherever they lay");
        });
    });
}

#[test]
fn parking_makes_no_connection_younger() {
    each_driver(|driver| {
        let shelf = shelf();
        let server = parked(driver, &shelf, 3);
        on(driver, move || async move {
            let mut pool = Pool::beside(Arc::clone(&shelf));
            clock::ahead::go(Duration::from_secs(limits::UPSTREAM_IDLE_S) - Duration::from_millis(100));
            assert!(taken(&mut pool, &server.key()).is_some());
            clock::ahead::go(Duration::from_millis(100));
            assert!(taken(&mut pool, &server.key()).is_none());
        });
    });
}

#[test]
fn a_shelf_that_is_closed_holds_nothing_any_more() {
    each_driver(|driver| {
        let shelf = shelf();
        let mut servers = vec![parked(driver, &shelf, 2)];
        shelf.close();
        servers.push(parked(driver, &shelf, 2));
        assert_eq!(shelf.parked(), 0);
        for end in servers.iter_mut().flat_map(|server| &mut server.1) {
            let mut rest = Vec::new();
            end.read_to_end(&mut rest).expect("it was closed");
        }
    });
}
