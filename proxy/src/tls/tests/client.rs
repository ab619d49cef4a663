use super::*;

#[test]
fn an_upstream_must_prove_its_name_unless_told_otherwise() {
    on_each_driver(|| async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let address = echo_server(server_config(&authority.sign("up.test"), None), 5);
        let mut configs = configs(&authority);
        let verified = configs.get(&Demands::STRICT).unwrap();
        let mut stream = open(address, &verified, "up.test").await.unwrap();
        echo(&mut stream, &b"bytes ".repeat(30_000)).await.unwrap();
        drop(stream);
        assert_eq!(
            open(address, &verified, "else.test").await.err(),
            Some(StreamError::Tls)
        );
        let others = configs
            .get(&Demands {
                authorities: stranger.pem.as_bytes(),
                ..Demands::STRICT
            })
            .unwrap();
        assert_eq!(
            open(address, &others, "up.test").await.err(),
            Some(StreamError::Tls)
        );
        let unverified = configs
            .get(&Demands {
                verify: false,
                ..Demands::STRICT
            })
            .unwrap();
        for name in ["else.test", "127.0.0.1"] {
            echo(&mut open(address, &unverified, name).await.unwrap(), b"hello")
                .await
                .unwrap();
        }
    });
}

#[test]
fn an_upstream_is_shown_our_certificate_when_it_asks() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let address = echo_server(server_config(&authority.sign("up.test"), Some(&authority)), 2);
        let mut configs = configs(&authority);
        let own = authority.sign("gateway.test");
        let known = configs
            .get(&Demands {
                client: Some((own.chain.as_bytes(), own.key.as_bytes())),
                ..Demands::STRICT
            })
            .unwrap();
        echo(&mut open(address, &known, "up.test").await.unwrap(), b"hello")
            .await
            .unwrap();
        let anonymous = configs.get(&Demands::STRICT).unwrap();
        // In TLS 1.3 a client learns only after its handshake that it was refused.
        let refused = match open(address, &anonymous, "up.test").await {
            Ok(mut stream) => echo(&mut stream, b"hello").await.err(),
            Err(error) => Some(error),
        };
        assert!(refused.is_some());
    });
}

#[test]
fn equal_configurations_share_connections_in_every_epoch() {
    let authority = Authority::new();
    let own = authority.sign("gateway.test");
    let [mut configs, mut next_epoch] = [(); 2].map(|()| configs(&authority));
    let shown = Some((own.chain.as_bytes(), own.key.as_bytes()));
    let ways = [
        Demands::STRICT,
        Demands {
            verify: false,
            ..Demands::STRICT
        },
        Demands {
            authorities: authority.pem.as_bytes(),
            ..Demands::STRICT
        },
        Demands {
            client: shown,
            ..Demands::STRICT
        },
        Demands {
            depth: Some(0),
            ..Demands::STRICT
        },
        Demands {
            protocols: &[],
            ..Demands::STRICT
        },
    ];
    let identities: Vec<u128> = ways
        .iter()
        .map(|way| configs.get(way).unwrap().identity)
        .collect();
    for (number, way) in ways.iter().enumerate() {
        for configs in [&mut configs, &mut next_epoch] {
            let again = configs.get(way).unwrap();
            assert_eq!(again.identity, identities[number], "way {number}");
        }
        assert!(
            !identities[..number].contains(&identities[number]),
            "way {number} shares connections"
        );
    }
    let others = Authority::new();
    let other_system = self::configs(&others).get(&Demands::STRICT).unwrap();
    assert!(!identities.contains(&other_system.identity));
}

#[test]
fn an_idle_session_gives_up_and_goes_on() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let address = echo_server(server_config(&authority.sign("up.test"), None), 1);
        let tls = configs(&authority).get(&Demands::STRICT).unwrap();
        let mut stream = open(address, &tls, "up.test").await.unwrap();
        for _ in 0..3 {
            let mut buffer = Buffer::take();
            let waited = stream.read_or_idle(&mut buffer, Duration::from_millis(30)).await;
            assert_eq!(waited, Ok(Activity::Idle));
            assert!(buffer.is_empty());
            echo(&mut stream, b"still there").await.unwrap();
        }
    });
}

#[test]
fn a_session_at_work_uses_the_pools_memory() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let address = echo_server(server_config(&authority.sign("up.test"), None), 1);
        let tls = configs(&authority).get(&Demands::STRICT).unwrap();
        let mut stream = open(address, &tls, "up.test").await.unwrap();
        echo(&mut stream, b"warm").await.unwrap();
        let spare = Buffer::spare();
        for _ in 0..20 {
            echo(&mut stream, b"hello").await.unwrap();
            assert_eq!(Buffer::spare(), spare, "each round gives back what it took");
        }
    });
}

#[test]
fn a_chain_is_no_longer_than_allowed() {
    on_each_driver(|| async {
        let root = Authority::new();
        // Root, intermediate, server.
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "intermediate");
        let between = params.signed_by(&key, &root.issuer).unwrap();
        let intermediate = Authority {
            pem: between.pem(),
            issuer: Issuer::new(params, key),
        };
        let own = intermediate.sign("up.test");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der(), between.der().clone()], own.key())
            .unwrap();
        let address = echo_server(config, 4);
        let mut configs = configs(&root);
        for (depth, trusted) in [(None, true), (Some(2), true), (Some(1), true), (Some(0), false)] {
            let tls = configs
                .get(&Demands {
                    depth,
                    ..Demands::STRICT
                })
                .unwrap();
            let opened = open(address, &tls, "up.test").await;
            assert_eq!(opened.is_ok(), trusted, "{depth:?}");
        }
    });
}
