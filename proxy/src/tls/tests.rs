use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::{Certificates, ClientConfigs, ClientTls, ServerTls, Stream, StreamError, TlsSetupError};
use crate::worker::tests::{accepted, acceptor, on_each_driver, pair};
use crate::worker::{Activity, Buffer, Conn, ConnError};

const LONG: Duration = Duration::from_secs(20);

/// An authority, and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone)]
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity {
            chain,
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        roots
    }
}

impl Identity {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn ticketer() -> Arc<dyn ProducesTickets> {
    Ticketer::new().unwrap()
}

fn server_tls(named: &[(&str, &Identity)], ticketer: Arc<dyn ProducesTickets>) -> ServerTls {
    let mut certificates = Certificates::default();
    for (name, identity) in named {
        certificates
            .add(name, identity.chain.as_bytes(), identity.key.as_bytes())
            .unwrap();
    }
    ServerTls::new(certificates, ticketer).unwrap()
}

/// A blocking client that trusts the authority.
fn client_config(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

type Blocking<C> = StreamOwned<C, TcpStream>;

fn blocking_client(config: &Arc<ClientConfig>, name: &str, socket: TcpStream) -> Blocking<ClientConnection> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// A blocking server that echoes one connection after the other.
fn echo_server(config: ServerConfig, connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for _ in 0..connections {
            let Ok((socket, _peer)) = listener.accept() else {
                return;
            };
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, socket);
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
        }
    });
    address
}

fn server_config(identity: &Identity, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider)
                .build()
                .unwrap(),
        ),
    };
    builder
        .with_single_cert(vec![identity.der()], identity.key())
        .unwrap()
}

fn configs(authority: &Authority) -> ClientConfigs {
    ClientConfigs::new(Some(authority.pem.as_bytes())).unwrap()
}

async fn open(address: SocketAddr, tls: &ClientTls, name: &str) -> Result<Stream, StreamError> {
    let conn = Conn::connect(address, LONG).await.unwrap();
    Stream::handshake(conn, tls.connect(name).unwrap(), LONG).await
}

async fn echo(stream: &mut Stream, bytes: &[u8]) -> Result<(), StreamError> {
    let mut buffer = Buffer::take();
    buffer.extend_from_slice(bytes);
    stream.write_all(&mut buffer).await?;
    while buffer.len() < bytes.len() {
        stream.read(&mut buffer).await?;
    }
    assert!(buffer[..] == *bytes);
    Ok(())
}

#[test]
fn clients_of_both_versions_are_served_with_http_1() {
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
                assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
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
            )
            .unwrap();
    }
    assert!(!certificates.is_empty());
    let chosen = |certificates: &Certificates, name| {
        let key = certificates.choose(name).expect("there is a default");
        identities
            .iter()
            .position(|identity| identity.der() == key.cert[0])
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
        .add("*", identities[4].chain.as_bytes(), identities[4].key.as_bytes())
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
fn an_upstream_must_prove_its_name_unless_told_otherwise() {
    on_each_driver(|| async {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let address = echo_server(server_config(&authority.sign("up.test"), None), 5);
        let mut configs = configs(&authority);
        let verified = configs.get(true, b"", None).unwrap();
        let mut stream = open(address, &verified, "up.test").await.unwrap();
        echo(&mut stream, &b"bytes ".repeat(30_000)).await.unwrap();
        drop(stream);
        assert_eq!(
            open(address, &verified, "else.test").await.err(),
            Some(StreamError::Tls)
        );
        let others = configs.get(true, stranger.pem.as_bytes(), None).unwrap();
        assert_eq!(
            open(address, &others, "up.test").await.err(),
            Some(StreamError::Tls)
        );
        let unverified = configs.get(false, b"", None).unwrap();
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
            .get(true, b"", Some((own.chain.as_bytes(), own.key.as_bytes())))
            .unwrap();
        echo(&mut open(address, &known, "up.test").await.unwrap(), b"hello")
            .await
            .unwrap();
        let anonymous = configs.get(true, b"", None).unwrap();
        // In TLS 1.3 a client learns only after its handshake that it was refused.
        let refused = match open(address, &anonymous, "up.test").await {
            Ok(mut stream) => echo(&mut stream, b"hello").await.err(),
            Err(error) => Some(error),
        };
        assert!(refused.is_some());
    });
}

#[test]
fn equal_configurations_are_made_once() {
    let authority = Authority::new();
    let own = authority.sign("gateway.test");
    let mut configs = configs(&authority);
    let shown = Some((own.chain.as_bytes(), own.key.as_bytes()));
    let ways = [
        (true, &b""[..], None),
        (false, b"", None),
        (true, authority.pem.as_bytes(), None),
        (true, b"", shown),
    ];
    let identities: Vec<u32> = ways
        .iter()
        .map(|&(verify, roots, own)| configs.get(verify, roots, own).unwrap().identity)
        .collect();
    for (number, &(verify, roots, own)) in ways.iter().enumerate() {
        assert_eq!(
            configs.get(verify, roots, own).unwrap().identity,
            identities[number]
        );
        assert!(
            !identities[..number].contains(&identities[number]),
            "way {number} shares connections"
        );
    }
}

#[test]
fn what_is_not_pem_is_refused_by_its_kind() {
    let authority = Authority::new();
    let (own, other) = (authority.sign("a.test"), authority.sign("b.test"));
    let mut certificates = Certificates::default();
    let mut add = |chain: &str, key: &str| certificates.add("a.test", chain.as_bytes(), key.as_bytes());
    assert_eq!(add("", &own.key), Err(TlsSetupError::Certificate));
    assert_eq!(add("junk", &own.key), Err(TlsSetupError::Certificate));
    assert_eq!(add(&own.chain, "junk"), Err(TlsSetupError::Key));
    assert_eq!(add(&own.chain, &other.key), Err(TlsSetupError::Key));
    assert_eq!(add(&own.chain, &own.key), Ok(()));
    assert_eq!(
        ClientConfigs::new(Some(b"junk")).err(),
        Some(TlsSetupError::Authority)
    );
    let mut configs = configs(&authority);
    let shown = Some((own.chain.as_bytes(), other.key.as_bytes()));
    assert_eq!(configs.get(true, b"", shown).err(), Some(TlsSetupError::Key));
    let tls = configs.get(true, b"", None).unwrap();
    assert_eq!(tls.connect("not a name").err(), Some(TlsSetupError::ServerName));
}

#[test]
fn an_idle_session_gives_up_and_goes_on() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let address = echo_server(server_config(&authority.sign("up.test"), None), 1);
        let tls = configs(&authority).get(true, b"", None).unwrap();
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
        let tls = configs(&authority).get(true, b"", None).unwrap();
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
