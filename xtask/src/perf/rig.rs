//! What all scenarios stand on: a directory, the origins, and the certificate that every gateway shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tests::{Authority, Certificate};

use super::origin::{GRPC_MESSAGE, Origins};

/// The only name in the certificate.
pub(crate) const HOST: &str = "localhost";

/// The rig of one run.
pub(crate) struct Rig {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// What answers.
    pub(crate) origins: Origins,
    /// Of ECDSA with P-256, as its authority's.
    pub(crate) certificate: Certificate,
    /// A client that speaks TLS 1.3 alone, trusts the authority alone and resumes nothing.
    pub(crate) client: Arc<ClientConfig>,
    dir: TempDir,
}

impl Rig {
    /// Starts the origins.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        let dir = tempfile::tempdir().context("a directory for the peers' files")?;
        let authority = Authority::new()?;
        let certificate = authority.issue(&[HOST])?;
        let both = format!("{}{}", certificate.certificate, certificate.key);
        std::fs::write(dir.path().join("server.pem"), both)?;
        std::fs::write(dir.path().join("grpc-message"), GRPC_MESSAGE)?;
        Ok(Self {
            root: root.to_path_buf(),
            origins: Origins::start(root, dir.path())?,
            certificate,
            client: trusting(&authority)?,
            dir,
        })
    }

    /// A file of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A client that speaks TLS 1.3 alone, trusts this authority alone and resumes nothing.
///
/// # Errors
/// Never, for an authority of the rig's.
pub(crate) fn trusting(authority: &Authority) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
