use super::*;

#[test]
fn clients_of_both_versions_are_served_and_get_http_2_where_they_offer_it() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        on_each_driver(move || async move {
            let authority = Authority::new();
            let identity = authority.sign("api.test");
            let tls = server_tls(&[("api.test", &identity)], ticketer());
            let (conn, socket) = pair().await;
            let sent = b"0123456789abcdef".repeat(20_000);
            let config = client_config(&authority, version);
            let expected = sent.clone();
            let client = thread::spawn(move || {
                let mut client = blocking_client(&config, "api.test", socket);
                client.write_all(&sent).unwrap();
                let mut echoed = vec![0; sent.len()];
                client.read_exact(&mut echoed).unwrap();
                assert!(echoed == sent);
                assert_eq!(client.conn.alpn_protocol(), Some(&b"h2"[..]));
                assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end is announced, not cut");
            });
            let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
                .await
                .unwrap();
            let mut buffer = Buffer::take();
            while buffer.len() < expected.len() {
                stream.read(&mut buffer).await.unwrap();
            }
            assert!(buffer[..] == expected);
            stream.write_all(&mut buffer).await.unwrap();
            stream.finish().await;
            // The client's thread blocks, this one must not.
            assert_eq!(
                stream.read(&mut buffer).await,
                Err(StreamError::Conn(ConnError::Closed))
            );
            client.join().unwrap();
        });
    }
}

#[test]
fn what_came_with_the_end_of_the_handshake_is_readable() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let tls = server_tls(&[("api.test", &authority.sign("api.test"))], ticketer());
        let (conn, socket) = pair().await;
        let config = client_config(&authority, &rustls::version::TLS13);
        let client = thread::spawn(move || {
            let mut client = blocking_client(&config, "api.test", socket);
            while client.conn.is_handshaking() {
                client.conn.writer().write_all(b"early").unwrap();
                client.conn.complete_io(&mut client.sock).unwrap();
            }
            client.flush().unwrap();
            client
        });
        let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
            .await
            .unwrap();
        stream.conn().arm(Duration::from_secs(5));
        stream.readable().await.unwrap();
        let mut buffer = Buffer::take();
        assert_eq!(stream.read_or_idle(&mut buffer, LONG).await, Ok(Activity::Read));
        assert!(buffer.starts_with(b"early"));
        drop(client.join().unwrap());
    });
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let authority = Authority::new();
    let names = ["api.test", "*.test", "shop.*", "*.deep.test", "other"];
    let identities: Vec<Identity> = names
        .iter()
        .map(|name| authority.sign(&name.replace('*', "x")))
        .collect();
    let mut certificates = Certificates::default();
    assert!(certificates.is_empty());
    for (name, identity) in names.iter().zip(&identities) {
        certificates
            .add(
                &name.to_uppercase(),
                identity.chain.as_bytes(),
                identity.key.as_bytes(),
                |_| None,
            )
            .unwrap();
    }
    assert!(!certificates.is_empty());
    let chosen = |certificates: &Certificates, name| {
        let key = certificates.choose(name).expect("there is a default");
        identities
            .iter()
            .position(|identity| identity.der() == key.plain.cert[0])
            .expect("it is one of ours")
    };
    for (name, expected) in [
        (Some("api.test"), 0),
        (Some("www.test"), 1),
        (Some("shop.test"), 1),
        (Some("shop.example"), 2),
        (Some("a.deep.test"), 3),
        (Some("b.a.deep.test"), 0),
        (Some("test"), 0),
        (Some("other"), 4),
        (None, 0),
    ] {
        assert_eq!(chosen(&certificates, name), expected, "{name:?}");
    }
    certificates
        .add(
            "*",
            identities[4].chain.as_bytes(),
            identities[4].key.as_bytes(),
            |_| None,
        )
        .unwrap();
    assert_eq!(chosen(&certificates, Some("unknown.example")), 4);
}

#[test]
fn the_name_that_a_client_sends_counts_without_its_case() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let (one, two) = (authority.sign("one.test"), authority.sign("two.test"));
        let tls = server_tls(&[("one.test", &one), ("two.test", &two)], ticketer());
        let (conn, socket) = pair().await;
        let config = client_config(&authority, &rustls::version::TLS13);
        let client = thread::spawn(move || {
            let mut client = blocking_client(&config, "TWO.test", socket);
            client.write_all(b"x").unwrap();
            client
        });
        let stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
            .await
            .unwrap();
        let Some(rustls::Connection::Server(session)) = stream.tls() else {
            panic!("it is a server")
        };
        assert_eq!(session.server_name(), Some("two.test"));
        let client = client.join().unwrap();
        assert_eq!(client.conn.peer_certificates().unwrap()[0], two.der());
    });
}

#[test]
fn tickets_of_one_worker_are_taken_by_another() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let identity = authority.sign("api.test");
        let shared = ticketer();
        let config = client_config(&authority, &rustls::version::TLS13);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            // A configuration of its own, as after a reload.
            let tls = server_tls(&[("api.test", &identity)], Arc::clone(&shared));
            let (conn, socket) = pair().await;
            let config = Arc::clone(&config);
            let client = thread::spawn(move || {
                let mut client = blocking_client(&config, "api.test", socket);
                client.write_all(b"x").unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 1);
                client.conn.handshake_kind()
            });
            let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
                .await
                .unwrap();
            let mut buffer = Buffer::take();
            stream.read(&mut buffer).await.unwrap();
            stream.write_all(&mut buffer).await.unwrap();
            assert_eq!(client.join().unwrap(), Some(expected));
        }
    });
}

#[test]
fn a_client_hello_of_junk_is_answered_with_an_alert() {
    const ALERT: u8 = 21;
    let junk: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[22, 3, 1, 255, 255, 0, 0, 0, 0],
        &[255; 300],
        &[0; 20_000],
    ];
    on_each_driver(move || async move {
        let authority = Authority::new();
        let tls = server_tls(&[("api.test", &authority.sign("api.test"))], ticketer());
        for junk in junk {
            let (conn, mut socket) = pair().await;
            socket.write_all(junk).unwrap();
            let failed = Stream::handshake(conn, tls.accept().unwrap(), LONG).await.err();
            assert_eq!(failed, Some(StreamError::Tls), "{junk:?}");
            let mut answer = [0];
            // Bytes that were never read turn the end into a reset, which may overtake the alert.
            match socket.read(&mut answer) {
                Ok(count) => assert_eq!((count, answer), (1, [ALERT]), "{junk:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{junk:?}"),
            }
        }
    });
}

#[test]
fn a_client_that_trickles_its_hello_runs_out_of_time() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let tls = server_tls(&[("api.test", &authority.sign("api.test"))], ticketer());
        let (conn, mut socket) = pair().await;
        let trickle = thread::spawn(move || {
            for byte in [22, 3, 1, 2, 0].into_iter().cycle() {
                if socket.write_all(&[byte]).is_err() {
                    return;
                }
                thread::park_timeout(Duration::from_millis(30));
            }
        });
        // No byte restarts the time.
        let failed = Stream::handshake(conn, tls.accept().unwrap(), Duration::from_millis(120))
            .await
            .err();
        assert_eq!(failed, Some(StreamError::Conn(ConnError::TimedOut)));
        trickle.join().unwrap();
    });
}

#[test]
fn a_trickled_record_does_not_restart_a_readers_patience() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let tls = server_tls(&[("api.test", &authority.sign("api.test"))], ticketer());
        let (conn, socket) = pair().await;
        let config = client_config(&authority, &rustls::version::TLS13);
        let trickle = thread::spawn(move || {
            let mut client = blocking_client(&config, "api.test", socket);
            client.conn.complete_io(&mut client.sock).unwrap();
            let mut record = Vec::new();
            client.conn.writer().write_all(b"GET / HTTP/1.1\r\n").unwrap();
            client.conn.write_tls(&mut record).unwrap();
            for byte in record {
                if client.sock.write_all(&[byte]).is_err() {
                    return;
                }
                thread::park_timeout(Duration::from_millis(25));
            }
        });
        let mut stream = Stream::handshake(conn, tls.accept().unwrap(), LONG)
            .await
            .unwrap();
        let mut buffer = Buffer::take();
        let waited = stream.read_or_idle(&mut buffer, Duration::from_millis(150)).await;
        assert_eq!(waited, Ok(Activity::Idle));
        assert_eq!(
            stream.read(&mut buffer).await,
            Ok(16),
            "nothing of the record was lost"
        );
        trickle.join().unwrap();
    });
}

#[test]
fn a_second_connection_of_the_listener_is_its_own() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let tls = server_tls(&[("api.test", &authority.sign("api.test"))], ticketer());
        let (acceptor, address) = acceptor();
        let config = client_config(&authority, &rustls::version::TLS13);
        let clients: Vec<_> = (0..2_u8)
            .map(|number| {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    let socket = TcpStream::connect(address).unwrap();
                    let mut client = blocking_client(&config, "api.test", socket);
                    client.write_all(&[number]).unwrap();
                    let mut echoed = [9];
                    client.read_exact(&mut echoed).unwrap();
                    assert_eq!(echoed, [number]);
                })
            })
            .collect();
        let mut streams = Vec::new();
        for _ in 0..2 {
            let conn = accepted(&acceptor).await;
            streams.push(
                Stream::handshake(conn, tls.accept().unwrap(), LONG)
                    .await
                    .unwrap(),
            );
        }
        for stream in &mut streams {
            let mut buffer = Buffer::take();
            stream.read(&mut buffer).await.unwrap();
            stream.write_all(&mut buffer).await.unwrap();
        }
        for client in clients {
            client.join().unwrap();
        }
    });
}
