//! The serving side: which certificate a client gets, and what TLS it must speak.

use std::collections::HashMap;
use std::sync::Arc;

use clap::ValueEnum;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use serde::Deserialize;

use super::client::{Protocol, TlsSetupError};
use super::client_auth::{Asking, BoundTickets};
use super::ocsp::Staple;
use crate::worker::clock;

/// Certificates by server name, as Kong chooses them: the exact name, then `*.x` for its first label, then `x.*` for
/// its last, then the default.
#[derive(Debug, Default)]
pub struct Certificates {
    exact: Names,
    /// By what follows the star.
    starting: Names,
    /// By what precedes the star.
    ending: Names,
    default: Option<Arc<Offer>>,
}

type Names = HashMap<String, Arc<Offer>, ahash::RandomState>;

/// A certificate, and the proof that it is not revoked, while there is one.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) plain: Arc<CertifiedKey>,
    /// The same with the OCSP response, and the Unix second until which that is shown.
    stapled: Option<(Arc<CertifiedKey>, u64)>,
}

impl Offer {
    fn at(&self, now: u64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, until)) if now < *until => stapled,
            _ => &self.plain,
        }
    }
}

impl Certificates {
    /// Adds a certificate for a server name, which may be `*.x`, `x.*` or `*`. The first certificate added is the
    /// default until one is added for `*`. `staple` gives the OCSP response for its chain, if there is one.
    ///
    /// # Errors
    /// [`TlsSetupError`] when chain or key is not PEM, or they do not belong together.
    pub fn add(
        &mut self,
        name: &str,
        chain: &[u8],
        key: &[u8],
        staple: impl FnOnce(&[CertificateDer<'_>]) -> Option<Staple>,
    ) -> Result<(), TlsSetupError> {
        let plain = certified(chain, key)?;
        let stapled = staple(&plain.cert).map(|staple| {
            let mut stapled = plain.clone();
            stapled.ocsp = Some(staple.der);
            (Arc::new(stapled), staple.until)
        });
        let certified = Arc::new(Offer {
            plain: Arc::new(plain),
            stapled,
        });
        if self.default.is_none() || name == "*" {
            self.default = Some(Arc::clone(&certified));
        }
        let name = name.to_ascii_lowercase();
        if name == "*" {
        } else if let Some(rest) = name.strip_prefix('*') {
            self.starting.insert(rest.to_owned(), certified);
        } else if let Some(rest) = name.strip_suffix('*') {
            self.ending.insert(rest.to_owned(), certified);
        } else {
            self.exact.insert(name, certified);
        }
        Ok(())
    }

    /// Whether there is no certificate at all.
    pub const fn is_empty(&self) -> bool {
        self.default.is_none()
    }

    /// The certificate for a name in lower case, or for none.
    pub(super) fn choose(&self, name: Option<&str>) -> Option<&Arc<Offer>> {
        let by_name = name.and_then(|name| {
            let starting = || self.starting.get(&name[name.find('.')?..]);
            let ending = || self.ending.get(&name[..=name.rfind('.')?]);
            self.exact.get(name).or_else(starting).or_else(ending)
        });
        by_name.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offer = self.choose(hello.server_name())?;
        Some(Arc::clone(offer.at(clock::unix_ms() / 1000)))
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsSetupError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_error| TlsSetupError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsSetupError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_error| TlsSetupError::Key)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|_error| TlsSetupError::Key)
}

/// The oldest version of TLS that clients may speak. None is older than 1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
pub enum OldestTls {
    /// TLS 1.2 (RFC 5246), with forward secrecy and authenticated encryption only.
    #[default]
    #[value(name = "1.2")]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[value(name = "1.3")]
    #[serde(rename = "1.3")]
    V1_3,
}

impl OldestTls {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
        match self {
            Self::V1_2 => &ALL,
            Self::V1_3 => &ALL[1..],
        }
    }
}

/// What every TLS listener of an epoch offers.
#[derive(Clone)]
pub struct ServerTls {
    http: Arc<ServerConfig>,
    /// The same for what is not HTTP: without ALPN (RFC 7301), so that whatever a client offers there is let be.
    stream: Arc<ServerConfig>,
}

impl ServerTls {
    /// Offers these certificates, HTTP/2 and HTTP/1.1 by ALPN, TLS from `oldest` on; asks clients for certificates if
    /// told to. Session tickets are keyed by `ticketer`, which all workers and epochs share.
    ///
    /// # Errors
    /// [`TlsSetupError::Provider`] when the cryptography cannot be set up.
    pub fn new(
        certificates: Certificates,
        ticketer: Arc<dyn ProducesTickets>,
        oldest: OldestTls,
        asking: Option<&Asking>,
    ) -> Result<Self, TlsSetupError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(oldest.versions())
            .map_err(|_error| TlsSetupError::Provider)?;
        let builder = match asking {
            None => builder.with_no_client_auth(),
            Some(asking) => builder.with_client_cert_verifier(Arc::clone(&asking.verifier)),
        };
        let mut stream = builder.with_cert_resolver(Arc::new(certificates));
        stream.ticketer = Arc::new(BoundTickets::new(ticketer, asking));
        let mut http = stream.clone();
        http.alpn_protocols = [Protocol::Http2, Protocol::Http1]
            .map(|it| it.name().to_vec())
            .into();
        Ok(Self {
            http: Arc::new(http),
            stream: Arc::new(stream),
        })
    }

    /// A new session for an accepted connection that carries HTTP.
    ///
    /// # Errors
    /// [`TlsSetupError::Provider`] when randomness cannot be had.
    pub fn accept(&self) -> Result<rustls::Connection, TlsSetupError> {
        Self::session(&self.http)
    }

    /// The same for a connection that carries anything else.
    ///
    /// # Errors
    /// [`TlsSetupError::Provider`] when randomness cannot be had.
    pub fn accept_stream(&self) -> Result<rustls::Connection, TlsSetupError> {
        Self::session(&self.stream)
    }

    fn session(config: &Arc<ServerConfig>) -> Result<rustls::Connection, TlsSetupError> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(|_error| TlsSetupError::Provider)?;
        Ok(session.into())
    }
}
