//! Upstreams made ready: their targets, and how one is chosen.

use std::sync::Arc;

use policy::Policy;
use policy::table::{self, Algorithm};

use super::{Server, authority, unbracketed};
use crate::http::authority::Authority;

/// A balanced upstream.
pub struct Upstream {
    /// UUID, given or derived: the same in every epoch that has the same upstream.
    pub id: Box<str>,
    /// How a target is chosen.
    pub algorithm: Algorithm,
    /// `host_header`, and the name in it for TLS.
    pub host_header: Option<(Box<str>, Arc<str>)>,
    /// Its targets.
    pub targets: Vec<Target>,
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

pub(super) fn prepare(policy: &Policy, row: &table::Upstream) -> Upstream {
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
    Upstream {
        id: policy.text(row.id).into(),
        algorithm: row.algorithm,
        host_header: (!host_header.is_empty()).then(|| (host_header.into(), name.into())),
        targets,
    }
}
