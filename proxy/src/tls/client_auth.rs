//! Asking clients for certificates, and binding session tickets to what was asked.

use std::sync::Arc;

use clap::ValueEnum;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use serde::Deserialize;

use super::client::{TlsSetupError, digest, roots};

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They may. One that is shown must verify all the same.
    Request,
    /// They must.
    #[default]
    Require,
}

/// What clients are asked for.
#[derive(Clone, Debug)]
pub struct Asking {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Digest of all that it was made of.
    digest: [u8; policy::digest::LEN],
}

impl Asking {
    /// Asks for certificates of these authorities (PEM).
    ///
    /// # Errors
    /// [`TlsSetupError::Authority`] when the text holds no certificate, or something else.
    pub fn new(authorities: &[u8], how: ClientAuth) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider);
        let builder = match how {
            ClientAuth::Request => builder.allow_unauthenticated(),
            ClientAuth::Require => builder,
        };
        Ok(Self {
            verifier: builder.build().map_err(|_error| TlsSetupError::Authority)?,
            digest: digest(&[authorities, &[u8::from(how == ClientAuth::Require)]]),
        })
    }

    /// What tickets of sessions under this asking are bound to; all zero when nobody is asked.
    fn binding(asking: Option<&Self>) -> [u8; policy::digest::LEN] {
        asking.map_or([0; policy::digest::LEN], |asking| asking.digest)
    }
}

/// Tickets that are good only where clients are asked for the same. A resumed session brings its certificate along
/// unverified: without this, who was trusted before a reload would be trusted after it.
#[derive(Debug)]
pub(super) struct BoundTickets {
    inner: Arc<dyn ProducesTickets>,
    binding: [u8; policy::digest::LEN],
}

impl BoundTickets {
    pub(super) fn new(inner: Arc<dyn ProducesTickets>, asking: Option<&Asking>) -> Self {
        Self {
            inner,
            binding: Asking::binding(asking),
        }
    }
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[&self.binding, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.inner.decrypt(cipher)?;
        plain.strip_prefix(&self.binding).map(<[u8]>::to_vec)
    }
}
