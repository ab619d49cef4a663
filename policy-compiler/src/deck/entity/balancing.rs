//! Upstreams: targets, how one is chosen, and when one is taken out.

use super::{CertificateIndex, Meta, Protocol, UpstreamIndex};

/// A named set of targets and how to choose among them.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Id, place, tags.
    pub meta: Meta,
    /// A host name, unique.
    pub name: Box<str>,
    /// How a target is chosen.
    pub algorithm: Algorithm,
    /// What consistent hashing reads first.
    pub hash_on: HashOn,
    /// What it reads when the first is absent.
    pub hash_fallback: HashOn,
    /// Positions of the hash ring, 10..=65536.
    pub slots: u32,
    /// Host sent to the targets, instead of the target's own name.
    pub host_header: Option<Box<str>>,
    /// Presented to the targets.
    pub client_certificate: Option<CertificateIndex>,
    /// Name of the cookie for sticky sessions, with its path.
    pub sticky_sessions: Option<(Box<str>, Box<str>)>,
    /// When a target is taken out and put back.
    pub healthchecks: Healthchecks,
}

/// `algorithm` of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Weighted round robin.
    RoundRobin,
    /// By [`Upstream::hash_on`].
    ConsistentHashing,
    /// Fewest in-flight requests by weight.
    LeastConnections,
    /// Lowest observed latency.
    Latency,
    /// By cookie (3.11 Enterprise).
    StickySessions,
}

/// What a hash is taken over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashOn {
    /// Nothing.
    None,
    /// Consumer id, else credential id.
    Consumer,
    /// Client address.
    Ip,
    /// A request header.
    Header(Box<str>),
    /// A cookie, made if absent, with its path.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Its path attribute.
        path: Box<str>,
    },
    /// The request path.
    Path,
    /// A query argument.
    QueryArg(Box<str>),
    /// A capture of the route's regex.
    UriCapture(Box<str>),
}

/// Health rules of an upstream. An interval or counter of 0 switches its check or rule off.
#[derive(Clone, PartialEq, Debug)]
pub struct Healthchecks {
    /// Percent of weight that must be healthy, 0..=100.
    pub threshold: f64,
    /// Probes.
    pub active: ActiveHealthcheck,
    /// Watching live traffic.
    pub passive: PassiveHealthcheck,
}

/// Probing rules.
#[derive(Clone, PartialEq, Debug)]
pub struct ActiveHealthcheck {
    /// http, https, tcp, grpc or grpcs.
    pub protocol: Protocol,
    /// Seconds to wait for an answer.
    pub timeout_s: f64,
    /// Targets probed at once.
    pub concurrency: u32,
    /// Path of the probe.
    pub http_path: Box<str>,
    /// Verifies the target's certificate.
    pub https_verify_certificate: bool,
    /// Server name of the probe.
    pub https_sni: Option<Box<str>>,
    /// Headers of the probe.
    pub headers: Vec<(Box<str>, Vec<Box<str>>)>,
    /// Seconds between probes of a healthy target.
    pub healthy_interval_s: f64,
    /// Seconds between probes of an unhealthy target.
    pub unhealthy_interval_s: f64,
    /// What the answers count for.
    pub rules: HealthRules,
}

/// Rules for watching live traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct PassiveHealthcheck {
    /// http, https, tcp, grpc or grpcs.
    pub protocol: Protocol,
    /// What the answers count for.
    pub rules: HealthRules,
}

/// How many of what change a target's state; each 0..=255.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthRules {
    /// Statuses that count as success.
    pub healthy_statuses: Vec<u16>,
    /// Successes that make a target healthy.
    pub successes: u8,
    /// Statuses that count as failure.
    pub unhealthy_statuses: Vec<u16>,
    /// HTTP failures that make it unhealthy.
    pub http_failures: u8,
    /// Connection failures that do.
    pub tcp_failures: u8,
    /// Time-outs that do.
    pub timeouts: u8,
}

/// One member of an upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub upstream: UpstreamIndex,
    /// A name or an address (IPv6 without brackets).
    pub host: Box<str>,
    /// 8000 if the file gave none.
    pub port: u16,
    /// 0..=65535; 0 takes no traffic.
    pub weight: u16,
    /// Used only when the others are unhealthy (3.12 Enterprise).
    pub failover: bool,
}
