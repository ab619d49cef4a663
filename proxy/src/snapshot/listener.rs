//! What TLS listeners offer under a snapshot: the policy's certificates, the node's OCSP responses, and what clients are
//! asked for.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use policy::Policy;
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;

use super::SnapshotError;
use super::secret::Secret;
use crate::node::Node;
use crate::tls::{Asking, Certificates, OcspError, Response, ServerTls, Staple};

/// `None` when the policy has no certificates.
pub(super) fn server_tls(
    policy: &Policy,
    secrets: &[Secret],
    ticketer: &Arc<dyn ProducesTickets>,
    node: &Node,
) -> Result<Option<ServerTls>, SnapshotError> {
    let staples = Staples::read(node)?;
    let mut certificates = Certificates::default();
    for sni in policy.rows(policy.meta().snis) {
        let certificate = policy.get(sni.certificate);
        let key = secrets[certificate.key.index()].expose();
        let (name, chain) = (policy.text(sni.name), policy.bytes(certificate.chain));
        certificates
            .add(name, chain, key, |chain| staples.of(chain))
            .map_err(|error| {
                SnapshotError::Tls(format!("certificate {}", policy.text(certificate.id)), error)
            })?;
    }
    if certificates.is_empty() {
        return Ok(None);
    }
    staples.tell();
    let asking = match &node.client_ca {
        Some((path, how)) => Some(
            Asking::new(&read(path)?, *how)
                .map_err(|error| SnapshotError::Tls(path.display().to_string(), error))?,
        ),
        None => None,
    };
    ServerTls::new(certificates, Arc::clone(ticketer), node.tls_min, asking.as_ref())
        .map(Some)
        .map_err(|error| SnapshotError::Tls("listener".to_owned(), error))
}

fn read(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    std::fs::read(path).map_err(|error| SnapshotError::NodeFile(path.to_owned(), error))
}

/// The node's OCSP responses. One that must not be shown is left out with a warning: an old response must not keep a
/// gateway from starting, or a policy from being put to work. A file that is no response is an error.
struct Staples<'n> {
    responses: Vec<(&'n Path, Response, Cell<Verdict>)>,
    now: u64,
}

/// What became of a response.
#[derive(Clone, Copy)]
enum Verdict {
    Shown,
    LeftOut(OcspError),
}

impl<'n> Staples<'n> {
    fn read(node: &'n Node) -> Result<Self, SnapshotError> {
        let responses = node.ocsp.iter().map(|path| {
            let response =
                Response::read(&read(path)?).map_err(|error| SnapshotError::Ocsp(path.clone(), error))?;
            let verdict = Cell::new(Verdict::LeftOut(OcspError::Stranger));
            Ok((path.as_path(), response, verdict))
        });
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            responses: responses.collect::<Result<_, _>>()?,
            now: since.map_or(0, |since| since.as_secs()),
        })
    }

    /// The response for a chain that is valid longest.
    fn of(&self, chain: &[CertificateDer<'_>]) -> Option<Staple> {
        let judged = self.responses.iter().filter_map(|(_, response, verdict)| {
            match response.judge(chain, self.now) {
                Ok(staple) => {
                    verdict.set(Verdict::Shown);
                    return Some(staple);
                }
                Err(OcspError::Stranger) => {}
                Err(error) => {
                    if !matches!(verdict.get(), Verdict::Shown) {
                        verdict.set(Verdict::LeftOut(error));
                    }
                }
            }
            None
        });
        judged.max_by_key(|staple| staple.until)
    }

    fn tell(&self) {
        for (path, _, verdict) in &self.responses {
            if let Verdict::LeftOut(error) = verdict.get() {
                eprintln!("tollgate: warning: {} is not stapled: {error}", path.display());
            }
        }
    }
}
