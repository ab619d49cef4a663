//! Both sides against blocking rustls peers, under both drivers.

mod client;
mod client_auth;
mod duplex;
mod ocsp;
mod parked;
mod server;

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

use super::{
    Certificates, ClientConfigs, ClientTls, Demands, OldestTls, ServerTls, Stream, StreamError, TlsSetupError,
};
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
            .add(name, identity.chain.as_bytes(), identity.key.as_bytes(), |_| None)
            .unwrap();
    }
    ServerTls::new(certificates, ticketer, OldestTls::default(), None).unwrap()
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
    let conn = Conn::connect(address.into(), LONG).await.unwrap();
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
fn what_is_not_pem_is_refused_by_its_kind() {
    let authority = Authority::new();
    let (own, other) = (authority.sign("a.test"), authority.sign("b.test"));
    let mut certificates = Certificates::default();
    let mut add =
        |chain: &str, key: &str| certificates.add("a.test", chain.as_bytes(), key.as_bytes(), |_| None);
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
    assert_eq!(
        configs
            .get(&Demands {
                client: shown,
                ..Demands::STRICT
            })
            .err(),
        Some(TlsSetupError::Key)
    );
    let tls = configs.get(&Demands::STRICT).unwrap();
    assert_eq!(tls.connect("not a name").err(), Some(TlsSetupError::ServerName));
}
