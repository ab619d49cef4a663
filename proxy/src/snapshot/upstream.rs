//! Upstreams made ready: their targets, how one is chosen, and what their health is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use policy::Policy;
use policy::table::{self, Algorithm, ProbeKind};

use super::secret::Secret;
use super::{Server, SnapshotError, authority, identity, unbracketed};
use crate::http::authority::Authority;
use crate::limits;
use crate::tls::{ClientConfigs, ClientTls, Demands, TlsSetupError};
use crate::upstream::health::probe::{Probe, Probed};
use crate::upstream::health::{Checks, Rules, TargetHealth};

/// A balanced upstream.
pub struct Upstream {
    /// UUID, given or derived: the same in every epoch that has the same upstream.
    pub id: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// How a target is chosen.
    pub algorithm: Algorithm,
    /// `host_header`, and the name in it for TLS.
    pub host_header: Option<(Box<str>, Arc<str>)>,
    /// Its targets.
    pub targets: Vec<Target>,
    /// Health checks, if there are any.
    pub checks: Option<Checks>,
}

/// A target of an upstream.
pub struct Target {
    /// `host:port`, unique within the upstream.
    pub name: Box<str>,
    /// Where.
    pub server: Server,
    /// `Host` header, without the port if it is 80 or 443 as the scheme has it by default.
    pub authority: [Box<str>; 2],
    /// Share of the requests.
    pub weight: u32,
}

/// The health of targets by the upstream's id and the target's name: what a reload leaves as it is.
pub(super) type KnownHealth<'k> = HashMap<(&'k str, &'k str), &'k Arc<TargetHealth>>;

/// What an epoch knows of its targets.
pub(super) fn health_of(upstreams: &[Upstream]) -> KnownHealth<'_> {
    let mut known = KnownHealth::new();
    for upstream in upstreams {
        for (checks, target) in upstream
            .checks
            .iter()
            .flat_map(|checks| checks.targets.iter().zip(&upstream.targets))
        {
            known.insert((&*upstream.id, &*target.name), checks);
        }
    }
    known
}

pub(super) fn prepare(
    policy: &Policy,
    row: &table::Upstream,
    secrets: &[Secret],
    known: &KnownHealth<'_>,
    tls: &mut ClientConfigs,
) -> Result<Upstream, SnapshotError> {
    let targets = policy
        .rows(row.targets)
        .map(|target| {
            let (host, port) = (policy.text(target.host), u16::try_from(target.port).unwrap_or(0));
            Target {
                name: policy.text(target.name).into(),
                server: Server::new(host, port),
                authority: [authority(host, port, 80), authority(host, port, 443)],
                weight: target.weight,
            }
        })
        .collect();
    let host_header = policy.text(row.host_header);
    let name = Authority::parse(host_header.as_bytes())
        .and_then(|authority| str::from_utf8(authority.host).ok())
        .map_or(host_header, unbracketed);
    let mut upstream = Upstream {
        id: policy.text(row.id).into(),
        name: policy.text(row.name).into(),
        algorithm: row.algorithm,
        host_header: (!host_header.is_empty()).then(|| (host_header.into(), name.into())),
        targets,
        checks: None,
    };
    upstream.checks = checks(policy, row, &upstream, known, |verify| {
        let client = row.client_certificate.map(|id| identity(policy, secrets, id));
        tls.get(&Demands {
            verify,
            client,
            ..Demands::STRICT
        })
    })?;
    Ok(upstream)
}

fn checks(
    policy: &Policy,
    row: &table::Upstream,
    upstream: &Upstream,
    known: &KnownHealth<'_>,
    tls: impl FnOnce(bool) -> Result<ClientTls, TlsSetupError>,
) -> Result<Option<Checks>, SnapshotError> {
    if row.passive.is_none() && row.active.is_none() {
        return Ok(None);
    }
    let targets: Vec<Arc<TargetHealth>> = upstream
        .targets
        .iter()
        .map(|target| {
            let known = known.get(&(&*upstream.id, &*target.name));
            let health: Arc<TargetHealth> = known.map_or_else(Arc::default, |health| Arc::clone(health));
            if let Some(address) = target.server.literal {
                health.of(address);
            }
            health
        })
        .collect();
    let active = match row.active {
        None => None,
        Some(id) => Some(Arc::new(probe(policy, &policy.get(id), upstream, &targets, tls)?)),
    };
    Ok(Some(Checks {
        threshold: row.threshold,
        passive: row.passive.map(|id| Rules::new(policy, &policy.get(id))),
        active,
        targets,
    }))
}

fn probe(
    policy: &Policy,
    row: &table::Probe,
    upstream: &Upstream,
    health: &[Arc<TargetHealth>],
    tls: impl FnOnce(bool) -> Result<ClientTls, TlsSetupError>,
) -> Result<Probe, SnapshotError> {
    let milliseconds = |value: u32| Duration::from_millis(u64::from(value));
    let tls = match row.kind {
        ProbeKind::Http | ProbeKind::Tcp => None,
        ProbeKind::Https => Some(tls(row.verify).map_err(|error| {
            SnapshotError::Tls(format!("health checks of upstream {}", upstream.name), error)
        })?),
    };
    // Without weight a target takes no traffic, and Kong does not know it.
    let probed = upstream
        .targets
        .iter()
        .zip(health)
        .filter(|(target, _)| target.weight > 0);
    let targets = probed
        .map(|(target, health)| Probed {
            server: target.server.clone(),
            tls: tls
                .clone()
                .map(|tls| (tls, server_name(policy, row, upstream, target))),
            request: (row.kind != ProbeKind::Tcp).then(|| request(policy, row, upstream, target)),
            health: Arc::clone(health),
        })
        .collect();
    Ok(Probe {
        upstream: upstream.id.clone(),
        timeout: milliseconds(row.timeout),
        concurrency: usize::try_from(row.concurrency)
            .map_or(limits::PROBES, |count| count.min(limits::PROBES)),
        healthy_interval: milliseconds(row.healthy_interval),
        unhealthy_interval: milliseconds(row.unhealthy_interval),
        rules: Rules::new(policy, &policy.get(row.rules)),
        targets,
    })
}

/// What TLS asks for: `https_sni`, else what requests to this target ask for.
fn server_name(policy: &Policy, row: &table::Probe, upstream: &Upstream, target: &Target) -> Arc<str> {
    match (policy.text(row.server_name), &upstream.host_header) {
        ("", Some((_, name))) => Arc::clone(name),
        ("", None) => Arc::clone(&target.server.host),
        (name, _) => name.into(),
    }
}

/// The request of a probe. It carries the Host header that requests to this target carry.
fn request(policy: &Policy, row: &table::Probe, upstream: &Upstream, target: &Target) -> Box<[u8]> {
    let secure = usize::from(row.kind == ProbeKind::Https);
    let host = upstream
        .host_header
        .as_ref()
        .map_or(&target.authority[secure], |(header, _)| header);
    let mut request = format!("GET {} HTTP/1.1\r\nConnection: close\r\n", policy.text(row.path));
    let mut named_host = false;
    for line in policy.rows(row.headers) {
        let (name, value) = (policy.text(line.name), policy.text(line.value));
        named_host |= name.eq_ignore_ascii_case("host");
        for piece in [name, ": ", value, "\r\n"] {
            request.push_str(piece);
        }
    }
    if !named_host {
        for piece in ["Host: ", host, "\r\n"] {
            request.push_str(piece);
        }
    }
    request.push_str("\r\n");
    request.into_bytes().into()
}
