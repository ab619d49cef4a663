//! The asking side: what an upstream must prove, and what we show it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// Why TLS cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsSetupError {
    /// A certificate is not PEM.
    Certificate,
    /// A key is not PEM, or does not belong to its certificate.
    Key,
    /// An authority is not a certificate.
    Authority,
    /// The name of the server is not a DNS name or address.
    ServerName,
    /// The cryptography cannot be set up.
    Provider,
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate is not PEM",
            Self::Key => "the key is not PEM, or is not the certificate's",
            Self::Authority => "an authority is not a PEM certificate",
            Self::ServerName => "the server's name is neither a DNS name nor an address",
            Self::Provider => "the cryptography cannot be set up",
        })
    }
}

impl std::error::Error for TlsSetupError {}

/// What is spoken through TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As ALPN has it (RFC 7301).
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// How to speak TLS to one service. Equal identities may share connections.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// Digest of all that this configuration was made of. The same in every epoch that has the same.
    pub identity: u128,
}

impl ClientTls {
    /// A new session to a server of this name.
    ///
    /// # Errors
    /// [`TlsSetupError::ServerName`] for a name that no certificate can carry.
    pub fn connect(&self, name: &str) -> Result<rustls::Connection, TlsSetupError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_error| TlsSetupError::ServerName)?;
        let session = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|_error| TlsSetupError::Provider)?;
        Ok(session.into())
    }
}

/// What a server must prove, and what it is shown.
#[derive(Clone, Copy)]
pub struct Demands<'d> {
    /// Whether its certificate is verified.
    pub verify: bool,
    /// Certificates that may stand between its own and an authority's (nginx `proxy_ssl_verify_depth`).
    pub depth: Option<u32>,
    /// Authorities (PEM) to verify against; the system's when empty.
    pub authorities: &'d [u8],
    /// Chain and key (PEM) of a certificate that it is shown.
    pub client: Option<(&'d [u8], &'d [u8])>,
    /// What may be spoken, the best first, as ALPN offers it (RFC 7301); empty where it has no name there.
    pub protocols: &'d [Protocol],
}

impl Demands<'_> {
    /// HTTP/1.1 to a server that must verify against the system's authorities.
    pub const STRICT: Self = Self {
        verify: true,
        depth: None,
        authorities: &[],
        client: None,
        protocols: &[Protocol::Http1],
    };
}

/// The client configurations of an epoch, each made once.
pub struct ClientConfigs {
    system: Arc<RootCertStore>,
    system_digest: [u8; policy::digest::LEN],
    made: HashMap<u128, ClientTls>,
}

impl ClientConfigs {
    /// With the system's authorities, or those of a PEM text instead.
    ///
    /// # Errors
    /// [`TlsSetupError::Authority`] when the given text holds no certificate.
    pub fn new(authorities: Option<&[u8]>) -> Result<Self, TlsSetupError> {
        let system = match authorities {
            Some(pem) => roots(pem)?,
            None => {
                let mut store = RootCertStore::empty();
                let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                store
            }
        };
        Ok(Self {
            system_digest: digest_of(&system),
            system: Arc::new(system),
            made: HashMap::new(),
        })
    }

    /// A configuration that makes these demands.
    ///
    /// # Errors
    /// [`TlsSetupError`] when a certificate or key is not one.
    pub fn get(&mut self, demands: &Demands<'_>) -> Result<ClientTls, TlsSetupError> {
        let identity = self.identity(demands);
        if let Some(made) = self.made.get(&identity) {
            return Ok(made.clone());
        }
        let roots = if demands.authorities.is_empty() {
            Arc::clone(&self.system)
        } else {
            Arc::new(roots(demands.authorities)?)
        };
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_error| TlsSetupError::Provider)?;
        let builder = match (demands.verify, demands.depth) {
            (true, None) => builder.with_root_certificates(roots),
            (true, Some(depth)) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Shallow::new(roots, depth)?)),
            (false, _) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified { algorithms })),
        };
        let mut config = match demands.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain)
                    .collect::<Result<_, _>>()
                    .map_err(|_error| TlsSetupError::Certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_error| TlsSetupError::Key)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_error| TlsSetupError::Key)?
            }
        };
        let names = demands.protocols.iter().map(|protocol| protocol.name().to_vec());
        config.alpn_protocols = names.collect();
        let made = ClientTls {
            config: Arc::new(config),
            identity,
        };
        self.made.insert(identity, made.clone());
        Ok(made)
    }

    fn identity(&self, demands: &Demands<'_>) -> u128 {
        let authorities = if demands.authorities.is_empty() {
            &self.system_digest
        } else {
            demands.authorities
        };
        let (chain, key) = demands.client.unwrap_or_default();
        let protocols: Vec<&[u8]> = demands.protocols.iter().map(|protocol| protocol.name()).collect();
        let depth = demands.depth.map(u32::to_le_bytes);
        let depth = depth.as_ref().map_or(&[][..], |depth| depth);
        let digest = digest(&[
            &protocols.join(&b' '),
            &[u8::from(demands.verify)],
            depth,
            authorities,
            chain,
            key,
        ]);
        u128::from_le_bytes(*digest.first_chunk().expect("a digest is longer"))
    }
}

fn digest_of(roots: &RootCertStore) -> [u8; policy::digest::LEN] {
    let names = roots.roots.iter().flat_map(|root| {
        let constraints = root.name_constraints.as_deref().unwrap_or_default();
        [&*root.subject, &*root.subject_public_key_info, constraints]
    });
    digest(&names.collect::<Vec<_>>())
}

/// Digest of parts, none of which can pass for another part's end.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; policy::digest::LEN] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&part.len().to_le_bytes());
        bytes.extend_from_slice(part);
    }
    policy::digest::plain(&bytes)
}

pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, TlsSetupError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_error| TlsSetupError::Authority)?;
        store
            .add(certificate)
            .map_err(|_error| TlsSetupError::Authority)?;
    }
    if store.is_empty() {
        Err(TlsSetupError::Authority)
    } else {
        Ok(store)
    }
}

/// Verifies as usual, and refuses chains that are longer than allowed (`tls_verify_depth`).
#[derive(Debug)]
struct Shallow {
    usual: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    depth: u32,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Shallow {
    fn new(roots: Arc<RootCertStore>, depth: u32) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider)
            .build()
            .map_err(|_error| TlsSetupError::Authority)?;
        Ok(Self {
            usual,
            roots,
            depth,
            algorithms,
        })
    }

    /// Whether some path to an authority is short enough.
    fn is_near(&self, own: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Ok(own) = EndEntityCert::try_from(own) else {
            return false;
        };
        let near = |path: &VerifiedPath<'_>| {
            let count = path.intermediate_certificates().count();
            match u32::try_from(count) {
                Ok(count) if count <= self.depth => Ok(()),
                _ => Err(webpki::Error::MaximumPathDepthExceeded),
            }
        };
        own.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            between,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&near),
        )
        .is_ok()
    }
}

impl ServerCertVerifier for Shallow {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .usual
            .verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        if self.is_near(certificate, intermediates, now) {
            Ok(verified)
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Accepts any certificate but still checks that the server holds its key (`tls_verify: false`).
#[derive(Debug)]
struct Unverified {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
