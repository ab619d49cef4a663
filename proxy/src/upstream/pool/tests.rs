use std::io::Write as _;
use std::net::TcpListener;

use super::*;
use crate::upstream::connect;
use crate::wire::Wire;
use crate::worker::tests::on_each_driver;

const LONG: Duration = Duration::from_secs(20);

struct Server(TcpListener, Vec<std::net::TcpStream>);

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

    async fn lease(&mut self) -> Leased {
        let stream = connect(self.key().address, &[], None, LONG).await.unwrap();
        self.1.push(self.0.accept().unwrap().0);
        Leased {
            wire: Wire::Bytes(stream),
            requests: 0,
        }
    }
}

fn port(leased: Option<Leased>) -> Option<u16> {
    leased.map(|mut leased| leased.wire.bytes().unwrap().conn().local().unwrap().port())
}

#[test]
fn the_newest_connection_is_used_first() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        let mut ports = Vec::new();
        for _ in 0..3 {
            let mut leased = server.lease().await;
            ports.push(leased.wire.bytes().unwrap().conn().local().unwrap().port());
            pool.give(&server.key(), leased);
        }
        assert_eq!(pool.len(), 3);
        for expected in ports.into_iter().rev() {
            assert_eq!(port(pool.take(&server.key())), Some(expected));
        }
        assert!(pool.is_empty());
        assert!(pool.take(&server.key()).is_none());
    });
}

#[test]
fn a_connection_that_was_closed_or_spoke_unasked_is_passed_over() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        for _ in 0..3 {
            let leased = server.lease().await;
            pool.give(&server.key(), leased);
        }
        let good = server.1[0].peer_addr().unwrap().port();
        server.1[1].write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        server.1.truncate(2);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(port(pool.take(&server.key())), Some(good));
        assert!(pool.is_empty());
    });
}

#[test]
fn a_different_key_gets_a_different_connection() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        let plain = server.key();
        let tls = |identity, name: &str| Key {
            tls: Some((identity, name.into())),
            ..server.key()
        };
        let keys = [tls(0, "a"), tls(0, "b"), tls(1, "a"), plain];
        let leased = server.lease().await;
        pool.give(&keys[0], leased);
        for other in &keys[1..] {
            assert!(pool.take(other).is_none(), "{other:?}");
        }
        assert!(pool.take(&keys[0]).is_some());
    });
}

#[test]
fn the_longest_idle_connection_makes_room() {
    on_each_driver(|| async {
        let (mut quiet, mut busy, mut pool) = (Server::new(), Server::new(), Pool::default());
        let leased = quiet.lease().await;
        pool.give(&quiet.key(), leased);
        sleep(Duration::from_millis(2)).await;
        clock::refresh();
        for _ in 0..limits::UPSTREAM_IDLE {
            let leased = busy.lease().await;
            pool.give(&busy.key(), leased);
        }
        assert_eq!(pool.len(), limits::UPSTREAM_IDLE);
        assert!(pool.take(&quiet.key()).is_none());
        assert!(pool.take(&busy.key()).is_some());
    });
}

#[test]
fn a_worn_out_connection_is_closed() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        let leased = server.lease().await;
        pool.give(
            &server.key(),
            Leased {
                requests: limits::UPSTREAM_REQUESTS - 1,
                ..leased
            },
        );
        assert!(pool.is_empty());
        let leased = server.lease().await;
        pool.give(
            &server.key(),
            Leased {
                requests: limits::UPSTREAM_REQUESTS - 2,
                ..leased
            },
        );
        let leased = pool.take(&server.key()).expect("it has one request left");
        assert_eq!(leased.requests, limits::UPSTREAM_REQUESTS - 1);
    });
}

#[test]
fn what_idles_too_long_is_swept_and_not_used() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        for _ in 0..3 {
            let leased = server.lease().await;
            pool.give(&server.key(), leased);
        }
        let long_ago = clock::now() + Duration::from_secs(limits::UPSTREAM_IDLE_S);
        let list = pool.idle.get_mut(&server.key()).unwrap();
        // As if the clock had gone on: the list's newest is the only one that is still fresh.
        list[2].since = long_ago;
        clock::ahead::go(Duration::from_secs(limits::UPSTREAM_IDLE_S));
        pool.sweep();
        assert_eq!(pool.len(), 1);
        assert!(pool.take(&server.key()).is_some());
    });
}

#[test]
fn what_was_opened_for_one_client_serves_no_other_and_ends_with_it() {
    on_each_driver(|| async {
        let (mut server, mut pool) = (Server::new(), Pool::default());
        let of = |connection, client, version| Behalf {
            version,
            connection,
            client,
        };
        let own = of(1, Some(7), ProxyProtocol::V2);
        let key = |behalf| Key {
            behalf,
            ..server.key()
        };
        let [plain, ours] = [None, Some(own)].map(key);
        let strangers = [
            of(2, Some(7), ProxyProtocol::V2),
            of(1, Some(8), ProxyProtocol::V2),
            of(1, None, ProxyProtocol::V2),
            of(1, Some(7), ProxyProtocol::V1),
        ];
        let strangers = strangers.map(|behalf| key(Some(behalf)));
        for key in [&plain, &ours] {
            let leased = server.lease().await;
            pool.give(key, leased);
        }
        for key in &strangers {
            assert!(pool.take(key).is_none(), "{key:?}");
        }
        let leased = pool.take(&ours).expect("its own");
        pool.give(&ours, leased);
        pool.forget(2);
        assert_eq!(pool.len(), 2);
        pool.forget(1);
        assert_eq!(pool.len(), 1);
        assert!(pool.take(&ours).is_none());
        assert!(pool.take(&plain).is_some(), "it was opened for anybody");
    });
}
