//! Where requests go and what matches them: services and routes.

use super::{CaCertificateIndex, CertificateIndex, Meta, Protocol, ServiceIndex, UpstreamIndex};
use crate::source::Spanned;

/// Where requests go. Kong "service".
#[derive(Clone, Debug)]
pub struct Service {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique name, if it has one.
    pub name: Option<Box<str>>,
    /// How the upstream side speaks.
    pub protocol: Protocol,
    /// A host name, an address, or the name of an upstream.
    pub host: Box<str>,
    /// The upstream of that name, if the file defines one: its targets then replace host and port.
    pub upstream: Option<UpstreamIndex>,
    /// 0..=65535.
    pub port: u16,
    /// Prefix of the upstream path; starts with `/`.
    pub path: Option<Box<str>>,
    /// Further attempts after the first, 0..=32767.
    pub retries: u16,
    /// Milliseconds, 1..=2^31−2.
    pub connect_timeout_ms: u32,
    /// Milliseconds between two writes.
    pub write_timeout_ms: u32,
    /// Milliseconds between two reads.
    pub read_timeout_ms: u32,
    /// False takes its routes out of the router.
    pub enabled: bool,
    /// Presented to the upstream.
    pub client_certificate: Option<CertificateIndex>,
    /// Whether the upstream's certificate is verified, after the default of the version (3.9 no, 3.15 yes).
    pub tls_verify: bool,
    /// Longest accepted chain, 0..=64.
    pub tls_verify_depth: Option<u8>,
    /// Trusted in place of the system's authorities, if given.
    pub ca_certificates: Option<Vec<CaCertificateIndex>>,
    /// False only under `--allow-unsupported`, for a service that is not HTTP: leave it out.
    pub enforced: bool,
}

/// What matches requests. Kong "route" with classic fields; see `kong.md` for how they become a priority.
#[derive(Clone, Debug)]
pub struct Route {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique name, if it has one.
    pub name: Option<Box<str>>,
    /// Where it leads. None: the route only runs plugins (503 if none of them answers).
    pub service: Option<ServiceIndex>,
    /// Not empty; one family (http/https, grpc/grpcs, …).
    pub protocols: Vec<Protocol>,
    /// Upper-case methods; empty matches any.
    pub methods: Vec<Box<str>>,
    /// Lower-case hosts, one `*` at the leftmost or rightmost label, optional `:port`; empty matches any.
    pub hosts: Vec<Spanned<Box<str>>>,
    /// Empty matches any.
    pub paths: Vec<Spanned<RoutePath>>,
    /// All must match; in the order of the file.
    pub headers: Vec<HeaderMatch>,
    /// Server names, `*` allowed at one end; empty matches any.
    pub snis: Vec<Spanned<Box<str>>>,
    /// Where a connection may come from; empty matches any. Only on routes for connections.
    pub sources: Vec<AddressMatch>,
    /// Where it may have gone to.
    pub destinations: Vec<AddressMatch>,
    /// Breaks ties between regex paths; higher first.
    pub regex_priority: i64,
    /// Takes the matched path off before the upstream path is built.
    pub strip_path: bool,
    /// How the upstream path is joined. The router flavor Tollgate follows ignores `V1`, as Kong's does.
    pub path_handling: PathHandling,
    /// Sends the client's Host upstream.
    pub preserve_host: bool,
    /// Answer to plain HTTP on an https-only route: 426, 301, 302, 307 or 308.
    pub https_redirect_status_code: u16,
    /// What the file says, for the log: bodies are always streamed.
    pub request_buffering: bool,
    /// The same of responses.
    pub response_buffering: bool,
    /// False only under `--allow-unsupported` (udp, grpc or expression routes): leave it out of the router.
    pub enforced: bool,
}

impl Route {
    /// Whether it takes connections rather than requests.
    pub fn is_stream(&self) -> bool {
        self.protocols.iter().any(|protocol| protocol.is_stream())
    }
}

/// One entry of `sources` or `destinations`: an address, a port, or both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressMatch {
    /// An address, or a network in CIDR notation.
    pub address: Option<Box<str>>,
    /// The port.
    pub port: Option<u16>,
}

/// One entry of `paths`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RoutePath {
    /// Starts with `/`, normalised.
    Prefix(Box<str>),
    /// The expression without its leading `~`; matched from the start of the path.
    Regex(Box<str>),
}

/// One entry of `headers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderMatch {
    /// Lower-case name, never `host`.
    pub name: Box<str>,
    /// Any of them; compared without case. A single value that starts with `~*` is a regex.
    pub values: Vec<Spanned<Box<str>>>,
}

/// `path_handling` of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathHandling {
    /// The default.
    V0,
    /// Only the `traditional` router honours it.
    V1,
}
