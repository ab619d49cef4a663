//! The serving side: which certificate a client gets, and what TLS it must speak.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

use super::client::TlsSetupError;

/// Certificates by server name: exact names, then `*.x`, then `x.*`, then the default.
#[derive(Debug, Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>, ahash::RandomState>,
    suffix: Vec<(String, Arc<CertifiedKey>)>,
    prefix: Vec<(String, Arc<CertifiedKey>)>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Adds a certificate for a server name, which may be `*.x`, `x.*` or `*`. The first certificate added is the
    /// default until one is added for `*`.
    ///
    /// # Errors
    /// [`TlsSetupError`] when chain or key is not PEM, or they do not belong together.
    pub fn add(&mut self, name: &str, chain: &[u8], key: &[u8]) -> Result<(), TlsSetupError> {
        let certified = Arc::new(certified(chain, key)?);
        if self.default.is_none() || name == "*" {
            self.default = Some(Arc::clone(&certified));
        }
        if let Some(suffix) = name.strip_prefix('*') {
            if !suffix.is_empty() {
                self.suffix.push((suffix.to_owned(), certified));
                // Longer names are more specific.
                self.suffix.sort_by_key(|(suffix, _)| usize::MAX - suffix.len());
            }
        } else if let Some(prefix) = name.strip_suffix('*') {
            self.prefix.push((prefix.to_owned(), certified));
            self.prefix.sort_by_key(|(prefix, _)| usize::MAX - prefix.len());
        } else {
            self.exact.insert(name.to_ascii_lowercase(), certified);
        }
        Ok(())
    }

    /// Whether there is no certificate at all.
    pub const fn is_empty(&self) -> bool {
        self.default.is_none()
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name else {
            return self.default.clone();
        };
        let exact = self.exact.get(name);
        let suffix = || {
            self.suffix
                .iter()
                .find(|(suffix, _)| name.ends_with(suffix.as_str()))
                .map(|(_, key)| key)
        };
        let prefix = || {
            self.prefix
                .iter()
                .find(|(prefix, _)| name.starts_with(prefix.as_str()))
                .map(|(_, key)| key)
        };
        exact
            .or_else(suffix)
            .or_else(prefix)
            .or(self.default.as_ref())
            .cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
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

/// What every TLS listener of an epoch offers.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Offers these certificates, HTTP/1.1 by ALPN, TLS 1.2 and 1.3. Session tickets are keyed by `ticketer`, which
    /// all workers and epochs share.
    ///
    /// # Errors
    /// [`TlsSetupError::Provider`] when the cryptography cannot be set up.
    pub fn new(
        certificates: Certificates,
        ticketer: Arc<dyn rustls::server::ProducesTickets>,
    ) -> Result<Self, TlsSetupError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_error| TlsSetupError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = ticketer;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// A new session for an accepted connection.
    ///
    /// # Errors
    /// [`TlsSetupError::Provider`] when randomness cannot be had.
    pub fn accept(&self) -> Result<rustls::Connection, TlsSetupError> {
        let session =
            ServerConnection::new(Arc::clone(&self.config)).map_err(|_error| TlsSetupError::Provider)?;
        Ok(session.into())
    }
}
