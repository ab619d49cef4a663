use rcgen::{DnType, SanType};

use super::super::{AlternativeName, Asking, ClientAuth, PeerCertificate};
use super::*;

fn asking_tls(own: &Identity, asking: Option<&Asking>, shared: &Arc<dyn ProducesTickets>) -> ServerTls {
    let mut certificates = Certificates::default();
    certificates
        .add("*", own.chain.as_bytes(), own.key.as_bytes(), |_| None)
        .unwrap();
    ServerTls::new(certificates, Arc::clone(shared), OldestTls::default(), asking).unwrap()
}

/// A client that keeps its tickets from one connection to the next.
fn client(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
    shown: Option<&Identity>,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(authority.roots());
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(vec![own.der()], own.key()).unwrap(),
    })
}

/// One connection with a byte there and back: who the client is, and how the handshake went on its side.
async fn visit(
    tls: &ServerTls,
    config: &Arc<ClientConfig>,
) -> Result<(Option<PeerCertificate>, Option<HandshakeKind>), StreamError> {
    let (conn, socket) = pair().await;
    let config = Arc::clone(config);
    let client = thread::spawn(move || {
        let mut client = blocking_client(&config, "api.test", socket);
        // A server that refuses ends it anywhere.
        let _ = client.write_all(b"x").and_then(|()| client.read(&mut [0]));
        client.conn.handshake_kind()
    });
    let stream = Stream::handshake(conn, tls.accept().unwrap(), LONG).await;
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            client.join().unwrap();
            return Err(error);
        }
    };
    let mut buffer = Buffer::take();
    stream.read(&mut buffer).await?;
    stream.write_all(&mut buffer).await?;
    let peer = PeerCertificate::of(stream.tls().unwrap());
    Ok((peer, client.join().unwrap()))
}

#[test]
fn clients_are_asked_for_certificates_and_who_they_are_is_kept() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        on_each_driver(move || async move {
            let (authority, stranger) = (Authority::new(), Authority::new());
            let own = authority.sign("api.test");
            let (known, unknown) = (authority.sign("billing.test"), stranger.sign("billing.test"));
            let ask = |how| Asking::new(authority.pem.as_bytes(), how).unwrap();
            for (how, shown, admitted) in [
                (ClientAuth::Require, Some(&known), true),
                (ClientAuth::Require, None, false),
                (ClientAuth::Require, Some(&unknown), false),
                (ClientAuth::Request, Some(&known), true),
                (ClientAuth::Request, None, true),
                (ClientAuth::Request, Some(&unknown), false),
            ] {
                let tls = asking_tls(&own, Some(&ask(how)), &ticketer());
                let seen = visit(&tls, &client(&authority, version, shown)).await;
                assert_eq!(seen.is_ok(), admitted, "{how:?}");
                let Ok((peer, _)) = seen else { continue };
                let names = peer.map(|peer| peer.names);
                let expected = shown.map(|_| vec![AlternativeName::Dns("billing.test".to_owned())]);
                assert_eq!(names, expected);
            }
        });
    }
}

#[test]
fn a_resumed_session_is_still_the_clients_and_ends_with_the_trust_in_it() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        on_each_driver(move || async move {
            let (authority, other) = (Authority::new(), Authority::new());
            let (own, shown) = (authority.sign("api.test"), authority.sign("billing.test"));
            let shared = ticketer();
            let config = client(&authority, version, Some(&shown));
            let asking = |pem: &str| Asking::new(pem.as_bytes(), ClientAuth::Require).unwrap();
            // Each listener is made anew, as by a reload.
            let mut fingerprints = Vec::new();
            for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let tls = asking_tls(&own, Some(&asking(&authority.pem)), &shared);
                let (peer, kind) = visit(&tls, &config).await.unwrap();
                assert_eq!(kind, Some(expected));
                fingerprints.push(peer.unwrap().fingerprint);
            }
            assert_eq!(fingerprints[0], fingerprints[1]);
            let tls = asking_tls(&own, Some(&asking(&other.pem)), &shared);
            assert!(
                visit(&tls, &config).await.is_err(),
                "its authority is trusted no more"
            );
        });
    }
}

#[test]
fn a_ticket_of_nobody_does_not_pass_for_somebody() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let own = authority.sign("api.test");
        let shared = ticketer();
        let config = client(&authority, &rustls::version::TLS13, None);
        let open = asking_tls(&own, None, &shared);
        assert!(visit(&open, &config).await.is_ok());
        let asking = Asking::new(authority.pem.as_bytes(), ClientAuth::Require).unwrap();
        let strict = asking_tls(&own, Some(&asking), &shared);
        assert!(visit(&strict, &config).await.is_err());
    });
}

#[test]
fn a_certificate_says_who_holds_it() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let own = authority.sign("api.test");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "billing");
        let names = [
            SanType::URI("spiffe://example/billing".try_into().unwrap()),
            SanType::Rfc822Name("a@b.test".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 7].into()),
        ];
        params.subject_alt_names.extend(names);
        let shown = Identity {
            chain: params.signed_by(&key, &authority.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        };
        let asking = Asking::new(authority.pem.as_bytes(), ClientAuth::Require).unwrap();
        let tls = asking_tls(&own, Some(&asking), &ticketer());
        let config = client(&authority, &rustls::version::TLS13, Some(&shown));
        let (peer, _) = visit(&tls, &config).await.unwrap();
        let peer = peer.unwrap();
        assert_eq!(peer.subject, r"CN=billing,O=Example\, Inc.");
        let names = [
            AlternativeName::Dns("a.test".to_owned()),
            AlternativeName::Uri("spiffe://example/billing".to_owned()),
            AlternativeName::Email("a@b.test".to_owned()),
            AlternativeName::Address([192, 0, 2, 7].into()),
        ];
        assert_eq!(peer.names, names);
        use sha2::Digest as _;
        assert_eq!(peer.fingerprint[..], sha2::Sha256::digest(shown.der())[..]);
    });
}
