//! What an absent field means, by version. Plugin fields are not here: their defaults stand in the schema.

use super::entity::{HealthRules, Protocol};
use crate::schema::KongCompat;

pub(super) const SERVICE_PORT: i64 = 80;
pub(super) const RETRIES: i64 = 5;
pub(super) const TIMEOUT_MS: i64 = 60_000;
/// Kong's largest time-out, 2^31 − 2.
pub(super) const TIMEOUT_MS_MAX: i64 = 2_147_483_646;
pub(super) const HTTPS_REDIRECT_STATUS_CODE: u16 = 426;
pub(super) const SLOTS: i64 = 10_000;
pub(super) const TARGET_PORT: u16 = 8000;
pub(super) const TARGET_WEIGHT: i64 = 100;
pub(super) const HEALTH_TIMEOUT_S: f64 = 1.0;
pub(super) const HEALTH_CONCURRENCY: i64 = 10;

/// `protocols` of a route that names none: since 3.14 https alone.
pub(super) fn route_protocols(compat: KongCompat) -> Vec<Protocol> {
    match compat {
        KongCompat::V3_9 => vec![Protocol::Http, Protocol::Https],
        KongCompat::V3_15 => vec![Protocol::Https],
    }
}

/// `tls_verify` of a TLS service that does not say: since 3.14 the gateway-wide setting is on.
pub(super) fn tls_verify(compat: KongCompat) -> bool {
    compat == KongCompat::V3_15
}

/// Statuses and counters of active probes.
pub(super) fn active_rules() -> HealthRules {
    HealthRules {
        healthy_statuses: vec![200, 302],
        unhealthy_statuses: vec![429, 404, 500, 501, 502, 503, 504, 505],
        ..off()
    }
}

/// Statuses and counters of live traffic.
pub(super) fn passive_rules() -> HealthRules {
    HealthRules {
        healthy_statuses: (200..=208).chain([226]).chain(300..=308).collect(),
        unhealthy_statuses: vec![429, 500, 503],
        ..off()
    }
}

fn off() -> HealthRules {
    HealthRules {
        healthy_statuses: Vec::new(),
        successes: 0,
        unhealthy_statuses: Vec::new(),
        http_failures: 0,
        tcp_failures: 0,
        timeouts: 0,
    }
}
