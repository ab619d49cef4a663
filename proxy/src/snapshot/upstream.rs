//! Upstreams made ready: their targets, how one is chosen, and what their health is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use policy::Policy;
use policy::table::{self, Algorithm, ProbeKind, ProxyProtocol};

use super::secret::Secret;
use super::{Server, SnapshotError, authority, identity, unbracketed};
use crate::downstream::proxy_protocol::write::write_own;
use crate::http::authority::Authority;
use crate::limits;
use crate::telemetry::prometheus::UpstreamCounts;
use crate::tls::{ClientConfigs, ClientTls, Demands, TlsSetupError};
use crate::upstream::health::probe::{Probe, Probed};
use crate::upstream::health::{Checks, Ejections, Outliers, Rules, TargetHealth};
use crate::upstream::queue::Queue;
use crate::worker::clock;

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
    /// How slowly the weight of a target that is new or back grows; zero for at once.
    pub slow_start: Duration,
    /// How many requests an address of a target serves at a time, if that is bounded.
    pub bound: Option<Bound>,
    /// When addresses are left out for failing, if they are.
    pub outliers: Option<Outliers>,
    /// How often that was: the same in every epoch that has the same upstream.
    pub ejections: Arc<Ejections>,
}

/// How many requests an address of a target serves at a time, and who may wait.
pub struct Bound {
    /// That many.
    pub most: u32,
    /// Requests that wait while every address serves as many.
    pub queue_most: u32,
    /// How long one waits at most.
    pub patience: Duration,
    /// Those that wait: the same in every epoch that has the same upstream.
    pub queue: Arc<Queue>,
}

impl Bound {
    /// When a request that was refused may come again: after the time that others wait at most.
    pub fn retry_after_s(&self) -> u64 {
        self.patience.as_millis().div_ceil(1000).clamp(1, 600) as u64
    }
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
    /// How its addresses are: the same in every epoch that has the same target.
    pub health: Arc<TargetHealth>,
}

impl Upstream {
    /// For the metrics page; `None` when nothing of it is asked for.
    pub fn counts(&self) -> Option<UpstreamCounts<'_>> {
        let bound = self.bound.as_ref();
        let ejected = || {
            let now_ns = clock::refreshed_uptime_ns();
            let all = self.targets.iter().flat_map(|target| target.health.all());
            all.filter(|(_, health)| health.is_ejected(now_ns)).count() as u64
        };
        (bound.is_some() || self.outliers.is_some()).then(|| UpstreamCounts {
            upstream: &self.name,
            waiting: bound.map(|bound| (u64::from(bound.queue.waiting()), bound.queue.refused())),
            ejected: self
                .outliers
                .as_ref()
                .map(|_| (ejected(), self.ejections.total())),
        })
    }
}

/// What a reload leaves as it is.
#[derive(Default)]
pub(super) struct Known<'k> {
    /// By the upstream's id and the target's name.
    health: HashMap<(&'k str, &'k str), &'k Arc<TargetHealth>>,
    /// By the upstream's id.
    queues: HashMap<&'k str, &'k Arc<Queue>>,
    ejections: HashMap<&'k str, &'k Arc<Ejections>>,
}

impl<'k> Known<'k> {
    /// What an epoch knows.
    pub(super) fn of(upstreams: &'k [Upstream]) -> Self {
        let mut known = Self::default();
        for upstream in upstreams {
            for target in &upstream.targets {
                known
                    .health
                    .insert((&*upstream.id, &*target.name), &target.health);
            }
            known.ejections.insert(&*upstream.id, &upstream.ejections);
            if let Some(bound) = &upstream.bound {
                known.queues.insert(&*upstream.id, &bound.queue);
            }
        }
        known
    }
}

/// For so many workers; `known` is what the epoch before knows, if there is one.
pub(super) fn prepare(
    policy: &Policy,
    row: &table::Upstream,
    header: ProxyProtocol,
    secrets: &[Secret],
    known: Option<&Known<'_>>,
    workers: usize,
    tls: &mut ClientConfigs,
) -> Result<Upstream, SnapshotError> {
    let id = policy.text(row.id);
    let targets = policy
        .rows(row.targets)
        .map(|target| {
            let (host, port) = (policy.text(target.host), u16::try_from(target.port).unwrap_or(0));
            let name = policy.text(target.name);
            let is_first = known.is_none();
            let known = known.and_then(|known| known.health.get(&(id, name)));
            let target = Target {
                name: name.into(),
                server: Server::new(host, port)?,
                authority: [authority(host, port, 80), authority(host, port, 443)],
                weight: target.weight,
                health: known.map_or_else(
                    || Arc::new(TargetHealth::new(!is_first)),
                    |health| Arc::clone(health),
                ),
            };
            if let Some(address) = target.server.literal {
                target.health.of(address);
            }
            Ok(target)
        })
        .collect::<Result<_, SnapshotError>>()?;
    let host_header = policy.text(row.host_header);
    let name = Authority::parse(host_header.as_bytes())
        .and_then(|authority| str::from_utf8(authority.host).ok())
        .map_or(host_header, unbracketed);
    let mut upstream = Upstream {
        id: id.into(),
        name: policy.text(row.name).into(),
        algorithm: row.algorithm,
        host_header: (!host_header.is_empty()).then(|| (host_header.into(), name.into())),
        targets,
        checks: None,
        slow_start: Duration::from_millis(u64::from(row.slow_start)),
        outliers: (row.eject_after > 0).then(|| Outliers {
            after: row.eject_after,
            base: Duration::from_millis(u64::from(row.eject_for)),
            most_percent: row.eject_most,
        }),
        ejections: known
            .and_then(|known| known.ejections.get(id))
            .map_or_else(Arc::default, |ejections| Arc::clone(ejections)),
        bound: (row.max_requests > 0).then(|| Bound {
            most: row.max_requests,
            queue_most: row.queue,
            patience: Duration::from_millis(u64::from(row.queue_timeout)),
            queue: known
                .and_then(|known| known.queues.get(id))
                .map_or_else(|| Arc::new(Queue::new(workers)), |queue| Arc::clone(queue)),
        }),
    };
    let mut announcement = Vec::new();
    write_own(header, &mut announcement);
    upstream.checks = checks(policy, row, &upstream, &announcement, |verify| {
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
    announcement: &[u8],
    tls: impl FnOnce(bool) -> Result<ClientTls, TlsSetupError>,
) -> Result<Option<Checks>, SnapshotError> {
    if row.passive.is_none() && row.active.is_none() {
        return Ok(None);
    }
    let all = upstream.targets.iter();
    let targets: Vec<Arc<TargetHealth>> = all.map(|target| Arc::clone(&target.health)).collect();
    let active = match row.active {
        None => None,
        Some(id) => {
            let probe = probe(policy, &policy.get(id), upstream, announcement, &targets, tls)?;
            Some(Arc::new(probe))
        }
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
    announcement: &[u8],
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
            announcement: announcement.into(),
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
