//! How the targets of the current epoch are, for status and metrics.

use crate::snapshot::{Server, Snapshot, Target, Upstream};
use crate::telemetry::prometheus::{HealthState, TargetHealth};
use crate::upstream::resolve::Listed;
use crate::worker::{Address, clock};

/// A target with its addresses, as it is at this moment.
pub(super) struct Described<'s> {
    upstream: &'s Upstream,
    target: &'s Target,
    /// Each with its text and its state.
    addresses: Vec<(String, HealthState)>,
    /// By address: what extensions know of it.
    extended: Vec<Extended>,
}

/// Seconds of an ejection that are left, and requests that run where they are bounded.
struct Extended {
    ejected_s: Option<u64>,
    running: Option<u32>,
}

impl<'s> Described<'s> {
    fn new(upstream: &'s Upstream, number: usize, known: &[Listed]) -> Self {
        let target = &upstream.targets[number];
        let health = upstream.checks.as_ref().map(|checks| &checks.targets[number]);
        let state = |address| match health {
            None => HealthState::ChecksOff,
            Some(health) if health.of(address).is_healthy() => HealthState::Healthy,
            Some(_) => HealthState::Unhealthy,
        };
        let now_ns = clock::refreshed_uptime_ns();
        let extended = |address| {
            let health = target.health.of(address);
            let left = health.ejected_for(now_ns).as_secs();
            Extended {
                ejected_s: upstream.outliers.as_ref().map(|_| left),
                running: upstream.bound.as_ref().map(|_| health.running()),
            }
        };
        let addresses: Vec<Address> = addresses(&target.server, known).collect();
        Self {
            upstream,
            target,
            extended: addresses.iter().map(|it| extended(*it)).collect(),
            addresses: addresses.iter().map(|it| (it.to_string(), state(*it))).collect(),
        }
    }

    /// A target is as healthy as the best of its addresses.
    fn state(&self) -> HealthState {
        let has = |state| self.addresses.iter().any(|(_, own)| *own == state);
        let states = [
            HealthState::ChecksOff,
            HealthState::Healthy,
            HealthState::Unhealthy,
        ];
        states
            .into_iter()
            .find(|state| has(*state))
            .unwrap_or(HealthState::DnsError)
    }

    pub(super) fn gauges(&self) -> impl Iterator<Item = TargetHealth<'_>> {
        let gauge = |address, state| TargetHealth {
            upstream: &self.upstream.name,
            target: &self.target.name,
            address,
            state,
        };
        let none = self
            .addresses
            .is_empty()
            .then(|| gauge("", HealthState::DnsError));
        let each = self.addresses.iter();
        each.map(move |(address, state)| gauge(address, *state))
            .chain(none)
    }
}

/// Where a server is, as the resolver knows.
pub(super) fn addresses<'k>(server: &'k Server, known: &'k [Listed]) -> impl Iterator<Item = Address> + 'k {
    let listed = known
        .iter()
        .filter(|listed| server.literal.is_none() && *listed.name == *server.host);
    let named = listed
        .flat_map(|listed| &listed.addresses)
        .map(|it| Address::Ip(it.socket(server.port)));
    server.literal.into_iter().chain(named)
}

pub(super) fn described<'s>(snapshot: &'s Snapshot, known: &[Listed]) -> Vec<Described<'s>> {
    let all = snapshot.upstreams.iter().flat_map(|upstream| {
        let targets = 0..upstream.targets.len();
        targets.map(move |number| Described::new(upstream, number, known))
    });
    all.collect()
}

/// The health of every target, in the words of Kong's Admin API.
pub(super) fn upstreams(snapshot: &Snapshot, known: &[Listed]) -> Vec<serde_json::Value> {
    let word = |state| match state {
        HealthState::ChecksOff => "HEALTHCHECKS_OFF",
        HealthState::Healthy => "HEALTHY",
        HealthState::Unhealthy => "UNHEALTHY",
        HealthState::DnsError => "DNS_ERROR",
    };
    let all = snapshot.upstreams.iter().map(|upstream| {
        let targets: Vec<Described<'_>> = (0..upstream.targets.len())
            .map(|number| Described::new(upstream, number, known))
            .collect();
        let shown: Vec<serde_json::Value> = targets
            .iter()
            .map(|it| {
                let each = it.addresses.iter().zip(&it.extended);
                let addresses = each.map(|((address, state), extended)| {
                    serde_json::json!({
                        "address": address,
                        "health": word(*state),
                        "ejected_s": extended.ejected_s,
                        "running": extended.running,
                    })
                });
                serde_json::json!({
                    "target": it.target.name,
                    "weight": it.target.weight,
                    "health": word(it.state()),
                    "addresses": addresses.collect::<Vec<_>>(),
                })
            })
            .collect();
        let each = targets.iter().flat_map(|it| {
            let states = it.addresses.iter();
            states.map(|(_, state)| (it.target.weight, *state == HealthState::Healthy))
        });
        let whole = match &upstream.checks {
            None => HealthState::ChecksOff,
            Some(checks) if checks.suffice(each) => HealthState::Healthy,
            Some(_) => HealthState::Unhealthy,
        };
        let waiting = upstream.bound.as_ref().map(|bound| bound.queue.waiting());
        serde_json::json!({
            "name": upstream.name, "health": word(whole), "waiting": waiting, "targets": shown,
        })
    });
    all.collect()
}

/// Whether a plugin asks for the health of targets on the metrics page.
pub(super) fn shows_targets(snapshot: &Snapshot) -> bool {
    let policy = &snapshot.policy;
    let mut metrics = policy.rows(policy.all::<policy::table::Metrics>());
    metrics.any(|row| row.upstream_health)
}
