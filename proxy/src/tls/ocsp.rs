//! OCSP responses for stapling (RFC 6960, RFC 8446 §4.4.2.1): read, matched with a certificate, judged.
//!
//! Enters: a response as `openssl ocsp -respout` writes it, and the chain of a certificate. Leaves: whether it may be
//! shown beside that certificate, and until when. Absent: asking responders; a timer of the operator does that.

use std::fmt;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use sha2::Digest as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, ObjectIdentifier};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_ocsp::{BasicOcspResponse, CertId, CertStatus, OcspResponse, OcspResponseStatus, SingleResponse};

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");

/// Why a response is not stapled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspError {
    /// The file is no OCSP response in DER.
    Malformed,
    /// The responder says that it has no answer.
    Unanswered,
    /// It is about none of the certificates.
    Stranger,
    /// The certificate's chain does not hold the issuer, without whose key nothing can be checked.
    NoIssuer,
    /// It is not signed by the issuer, or by whom the issuer appointed.
    Unsigned,
    /// The certificate is revoked, or unknown to its issuer.
    NotGood,
    /// It is not valid yet.
    Early,
    /// A newer one was due.
    Stale,
}

impl fmt::Display for OcspError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an OCSP response in DER",
            Self::Unanswered => "the responder had no answer",
            Self::Stranger => "it is about none of the policy's certificates",
            Self::NoIssuer => "the certificate's chain lacks its issuer, so the response cannot be checked",
            Self::Unsigned => "it is not signed by the certificate's issuer",
            Self::NotGood => "it says that the certificate is revoked or unknown",
            Self::Early => "it is not valid yet",
            Self::Stale => "it is out of date",
        })
    }
}

impl std::error::Error for OcspError {}

/// A response that was read, not yet believed.
pub struct Response {
    der: Vec<u8>,
    basic: BasicOcspResponse,
}

/// A response that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// The response in DER.
    pub der: Vec<u8>,
    /// Unix seconds at which a newer one is due; `u64::MAX` when the responder does not say.
    pub until: u64,
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// [`OcspError::Malformed`], [`OcspError::Unanswered`].
    pub fn read(der: &[u8]) -> Result<Self, OcspError> {
        let response = OcspResponse::from_der(der).map_err(|_error| OcspError::Malformed)?;
        if response.response_status != OcspResponseStatus::Successful {
            return Err(OcspError::Unanswered);
        }
        let bytes = response
            .response_bytes
            .filter(|bytes| bytes.response_type == BASIC)
            .ok_or(OcspError::Malformed)?;
        let basic =
            BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(|_error| OcspError::Malformed)?;
        Ok(Self {
            der: der.to_vec(),
            basic,
        })
    }

    /// Judges the response for the certificate that `chain` begins with, at `now` in Unix seconds.
    ///
    /// # Errors
    /// [`OcspError::Stranger`] when it is about another certificate, else why it must not be shown.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: u64) -> Result<Staple, OcspError> {
        let mut chain = chain
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .map(|certificate| certificate.tbs_certificate);
        let own = chain.next().ok_or(OcspError::Stranger)?;
        let serial = &own.serial_number;
        let mut singles = self.basic.tbs_response_data.responses.iter();
        // Serial numbers are random: one that is equal is this certificate's, or a rare accident that hashes settle.
        if !singles
            .clone()
            .any(|single| single.cert_id.serial_number == *serial)
        {
            return Err(OcspError::Stranger);
        }
        let issuer = chain
            .find(|issuer| issuer.subject == own.issuer)
            .ok_or(OcspError::NoIssuer)?;
        let name = own.issuer.to_der().map_err(|_error| OcspError::Malformed)?;
        let key = &issuer.subject_public_key_info;
        let single = singles
            .find(|single| single.cert_id.serial_number == *serial && issued_by(&single.cert_id, &name, key))
            .ok_or(OcspError::Stranger)?;
        if !self.is_signed(key, &name, now) {
            return Err(OcspError::Unsigned);
        }
        let until = current(single, now)?;
        Ok(Staple {
            der: self.der.clone(),
            until,
        })
    }

    /// RFC 6960 §4.2.2.2: by the issuer itself, or with a certificate that the issuer made for this purpose.
    fn is_signed(&self, issuer: &SubjectPublicKeyInfoOwned, issuer_name: &[u8], now: u64) -> bool {
        let Ok(signed) = self.basic.tbs_response_data.to_der() else {
            return false;
        };
        let by = |key: &SubjectPublicKeyInfoOwned| {
            let algorithm = &self.basic.signature_algorithm;
            verifies(key, algorithm, &signed, &self.basic.signature)
        };
        let appointed = self.basic.certs.iter().flatten().filter(|certificate| {
            let (algorithm, signature) = (&certificate.signature_algorithm, &certificate.signature);
            let signed = certificate.tbs_certificate.to_der();
            appoints(certificate, issuer_name, now)
                && signed.is_ok_and(|signed| verifies(issuer, algorithm, &signed, signature))
        });
        let mut keys = appointed.map(|certificate| &certificate.tbs_certificate.subject_public_key_info);
        by(issuer) || keys.any(by)
    }
}

fn issued_by(id: &CertId, name: &[u8], key: &SubjectPublicKeyInfoOwned) -> bool {
    let key = key.subject_public_key.raw_bytes();
    let (name_hash, key_hash) = (id.issuer_name_hash.as_bytes(), id.issuer_key_hash.as_bytes());
    match id.hash_algorithm.oid {
        SHA1 => {
            let hash = |bytes| sha1_smol::Sha1::from(bytes).digest().bytes();
            name_hash == hash(name) && key_hash == hash(key)
        }
        SHA256 => {
            name_hash == sha2::Sha256::digest(name).as_slice()
                && key_hash == sha2::Sha256::digest(key).as_slice()
        }
        _ => false,
    }
}

/// Until when a single response holds.
fn current(single: &SingleResponse, now: u64) -> Result<u64, OcspError> {
    if !matches!(single.cert_status, CertStatus::Good(_)) {
        return Err(OcspError::NotGood);
    }
    if single.this_update.0.to_unix_duration().as_secs() > now {
        return Err(OcspError::Early);
    }
    let until = single
        .next_update
        .map_or(u64::MAX, |time| time.0.to_unix_duration().as_secs());
    if until <= now {
        return Err(OcspError::Stale);
    }
    Ok(until)
}

/// Whether a certificate says that its holder may sign responses for the issuer, now.
fn appoints(certificate: &Certificate, issuer_name: &[u8], now: u64) -> bool {
    let tbs = &certificate.tbs_certificate;
    let validity = tbs.validity;
    let during = validity.not_before.to_unix_duration().as_secs() <= now
        && now < validity.not_after.to_unix_duration().as_secs();
    let usage = tbs.get::<ExtendedKeyUsage>().ok().flatten();
    during
        && tbs.issuer.to_der().is_ok_and(|name| name == issuer_name)
        && usage.is_some_and(|(_critical, usage)| usage.0.contains(&OCSP_SIGNING))
}

fn verifies(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signature: &BitString,
) -> bool {
    // Neither has bits that fill up a last byte.
    let (Some(bytes), Some(signature)) = (key.subject_public_key.as_bytes(), signature.as_bytes()) else {
        return false;
    };
    let (Some(key_algorithm), Some(algorithm)) = (contents(&key.algorithm), contents(algorithm)) else {
        return false;
    };
    let known = ring::default_provider().signature_verification_algorithms.all;
    known.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm
            && known.public_key_alg_id().as_ref() == key_algorithm
            && known.verify_signature(bytes, signed, signature).is_ok()
    })
}

/// An algorithm identifier as rustls compares them: without tag and length, which take two bytes.
fn contents(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let der = algorithm.to_der().ok()?;
    let [_sequence, length, contents @ ..] = der.as_slice() else {
        return None;
    };
    (usize::from(*length) == contents.len()).then(|| contents.to_vec())
}
