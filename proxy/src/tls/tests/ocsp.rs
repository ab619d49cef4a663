//! Responses made by hand, signed by keys of the tests' own.

use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SigningKey as _};
use sha2::Digest as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    ResponseBytes, ResponseData, SingleResponse, Version,
};

use super::super::{OcspError, Response, Staple};
use super::*;

const NOW: u64 = 1_900_000_000;
const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// A response about one certificate.
struct Told<'t> {
    about: &'t Identity,
    status: CertStatus,
    from: u64,
    until: Option<u64>,
    /// Who signs, and the certificate that lets it.
    signer: (&'t KeyPair, Option<Certificate>),
}

fn parsed(pem: &str) -> Certificate {
    Certificate::from_der(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

fn algorithm(oid: &str) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new(oid).unwrap(),
        parameters: None,
    }
}

fn time(seconds: u64) -> OcspGeneralizedTime {
    OcspGeneralizedTime(GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).unwrap())
}

fn response(authority: &Authority, told: Told<'_>) -> Vec<u8> {
    let (issuer, own) = (parsed(&authority.pem), parsed(&told.about.chain));
    let hash = |bytes: &[u8]| OctetString::new(sha2::Sha256::digest(bytes).as_slice()).unwrap();
    let key = &issuer.tbs_certificate.subject_public_key_info.subject_public_key;
    let name = issuer.tbs_certificate.subject;
    let data = ResponseData {
        version: Version::V1,
        responder_id: name.clone().into(),
        produced_at: time(told.from),
        responses: vec![SingleResponse {
            cert_id: CertId {
                hash_algorithm: algorithm(SHA256),
                issuer_name_hash: hash(&name.to_der().unwrap()),
                issuer_key_hash: hash(key.raw_bytes()),
                serial_number: own.tbs_certificate.serial_number,
            },
            cert_status: told.status,
            this_update: time(told.from),
            next_update: told.until.map(time),
            single_extensions: None,
        }],
        response_extensions: None,
    };
    let (key, appointed) = told.signer;
    let signature = key.sign(&data.to_der().unwrap()).unwrap();
    let basic = BasicOcspResponse {
        tbs_response_data: data,
        signature_algorithm: algorithm(ECDSA_WITH_SHA256),
        signature: BitString::from_bytes(&signature).unwrap(),
        certs: appointed.map(|certificate| vec![certificate]),
    };
    OcspResponse {
        response_status: OcspResponseStatus::Successful,
        response_bytes: Some(ResponseBytes {
            response_type: ObjectIdentifier::new("1.3.6.1.5.5.7.48.1.1").unwrap(),
            response: OctetString::new(basic.to_der().unwrap()).unwrap(),
        }),
    }
    .to_der()
    .unwrap()
}

fn good<'t>(authority: &'t Authority, about: &'t Identity) -> Told<'t> {
    Told {
        about,
        status: CertStatus::good(),
        from: NOW - 60,
        until: Some(NOW + 60),
        signer: (authority.issuer.key(), None),
    }
}

fn judged(authority: &Authority, shown_by: &Identity, der: &[u8]) -> Result<Staple, OcspError> {
    let issuer = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    Response::read(der)?.judge(&[shown_by.der(), issuer], NOW)
}

#[test]
fn a_good_response_is_shown_until_a_newer_one_is_due() {
    let authority = Authority::new();
    let own = authority.sign("api.test");
    let der = response(&authority, good(&authority, &own));
    let staple = judged(&authority, &own, &der).unwrap();
    assert_eq!((staple.der, staple.until), (der, NOW + 60));
    let open = Told {
        until: None,
        ..good(&authority, &own)
    };
    let der = response(&authority, open);
    assert_eq!(judged(&authority, &own, &der).unwrap().until, u64::MAX);
}

#[test]
fn a_response_that_proves_nothing_is_not_shown() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (own, other) = (authority.sign("api.test"), authority.sign("b.test"));
    let told = |change: fn(&mut Told<'_>)| {
        let mut told = good(&authority, &own);
        change(&mut told);
        judged(&authority, &own, &response(&authority, told)).err()
    };
    assert_eq!(told(|told| told.until = Some(NOW)), Some(OcspError::Stale));
    assert_eq!(told(|told| told.from = NOW + 1), Some(OcspError::Early));
    let unknown = |told: &mut Told<'_>| told.status = CertStatus::unknown();
    assert_eq!(told(unknown), Some(OcspError::NotGood));
    let der = response(&authority, good(&authority, &own));
    assert_eq!(judged(&authority, &other, &der), Err(OcspError::Stranger));
    // The same serial number under another issuer.
    assert_eq!(judged(&stranger, &own, &der), Err(OcspError::Stranger));
    let forged = Told {
        signer: (stranger.issuer.key(), None),
        ..good(&authority, &own)
    };
    let der = response(&authority, forged);
    assert_eq!(judged(&authority, &own, &der), Err(OcspError::Unsigned));
    let alone = Response::read(&der).unwrap().judge(&[own.der()], NOW);
    assert_eq!(alone, Err(OcspError::NoIssuer));
}

#[test]
fn the_issuer_may_appoint_who_signs() {
    let authority = Authority::new();
    let own = authority.sign("api.test");
    let key = KeyPair::generate().unwrap();
    let delegate = |issuer: &Authority, usage: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = CertificateParams::new(vec!["ocsp.test".to_owned()]).unwrap();
        params.extended_key_usages = usage;
        parsed(&params.signed_by(&key, &issuer.issuer).unwrap().pem())
    };
    let told = |appointed| {
        let told = Told {
            signer: (&key, Some(appointed)),
            ..good(&authority, &own)
        };
        judged(&authority, &own, &response(&authority, told)).err()
    };
    let signing = vec![ExtendedKeyUsagePurpose::OcspSigning];
    assert_eq!(told(delegate(&authority, signing.clone())), None);
    let serving = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(told(delegate(&authority, serving)), Some(OcspError::Unsigned));
    let foreign = delegate(&Authority::new(), signing);
    assert_eq!(told(foreign), Some(OcspError::Unsigned));
}

#[test]
fn every_cut_and_every_changed_byte_is_refused() {
    let authority = Authority::new();
    let own = authority.sign("api.test");
    let der = response(&authority, good(&authority, &own));
    for length in 0..der.len() {
        assert!(judged(&authority, &own, &der[..length]).is_err(), "{length}");
    }
    let whole = judged(&authority, &own, &der);
    assert!(whole.is_ok());
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 1;
        assert!(judged(&authority, &own, &changed).is_err(), "{at}");
    }
}

#[test]
fn the_staple_is_shown_in_the_handshake_while_it_holds() {
    on_each_driver(|| async {
        let authority = Authority::new();
        let own = authority.sign("api.test");
        for (until, expected) in [(u64::MAX, &b"a response"[..]), (1, b"")] {
            let mut certificates = Certificates::default();
            let staple = Staple {
                der: b"a response".to_vec(),
                until,
            };
            certificates
                .add("*", own.chain.as_bytes(), own.key.as_bytes(), |_| Some(staple))
                .unwrap();
            let tls = ServerTls::new(certificates, ticketer(), OldestTls::default(), None).unwrap();
            let (conn, socket) = pair().await;
            let verifier = Arc::new(Stapled::default());
            let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(authority.roots())
                .with_no_client_auth();
            let seen = Arc::clone(&verifier);
            config.dangerous().set_certificate_verifier(verifier);
            let client = thread::spawn(move || {
                let mut client = blocking_client(&Arc::new(config), "api.test", socket);
                client.conn.complete_io(&mut client.sock).unwrap();
            });
            drop(
                Stream::handshake(conn, tls.accept().unwrap(), LONG)
                    .await
                    .unwrap(),
            );
            client.join().unwrap();
            assert_eq!(*seen.response.lock().unwrap(), expected, "{until}");
        }
    });
}

/// A client that remembers what was stapled.
#[derive(Debug, Default)]
#[expect(clippy::disallowed_types, reason = "a test's own client, on its own thread")]
struct Stapled {
    response: std::sync::Mutex<Vec<u8>>,
}

impl rustls::client::danger::ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.response.lock().unwrap() = ocsp.to_vec();
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
