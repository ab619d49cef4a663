//! Who a client proved to be with its certificate.

use std::net::IpAddr;

use rustls::Connection;
use sha2::Digest as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The certificate that a client proved to hold, verified in the handshake of this connection or of the one that it
/// resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject (RFC 4514), the most specific part first: `CN=billing,O=Example`. May be empty.
    pub subject: String,
    /// SHA-256 of the certificate in DER.
    pub fingerprint: [u8; 32],
    /// Subject alternative names of the kinds that identities are made of, in the certificate's order.
    pub names: Vec<AlternativeName>,
}

/// A subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// `dNSName`
    Dns(String),
    /// `rfc822Name`
    Email(String),
    /// `uniformResourceIdentifier`, as SPIFFE uses it.
    Uri(String),
    /// `iPAddress`
    Address(IpAddr),
}

impl PeerCertificate {
    /// The certificate of the other end of a session whose handshake is complete. `None` when it showed none, or when
    /// clients are not asked.
    pub fn of(session: &Connection) -> Option<Self> {
        let der = session.peer_certificates()?.first()?;
        // The verifier has read it already; what this reader makes nothing of has a fingerprint all the same.
        let tbs = Certificate::from_der(der)
            .ok()
            .map(|certificate| certificate.tbs_certificate);
        let names = tbs
            .as_ref()
            .and_then(|tbs| tbs.get::<SubjectAltName>().ok().flatten());
        Some(Self {
            subject: tbs
                .as_ref()
                .map_or_else(String::new, |tbs| tbs.subject.to_string()),
            fingerprint: sha2::Sha256::digest(der).into(),
            names: names
                .map(|(_critical, names)| names.0.iter().filter_map(AlternativeName::of).collect())
                .unwrap_or_default(),
        })
    }
}

impl AlternativeName {
    fn of(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DnsName(name) => Some(Self::Dns(name.to_string())),
            GeneralName::Rfc822Name(name) => Some(Self::Email(name.to_string())),
            GeneralName::UniformResourceIdentifier(name) => Some(Self::Uri(name.to_string())),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
                    .ok()
                    .map(Self::Address)
            }
            _ => None,
        }
    }
}
