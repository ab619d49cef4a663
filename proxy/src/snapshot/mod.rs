//! A policy made ready for the workers: secrets resolved, TLS set up, endpoints named.
//!
//! Enters: a verified artifact. Leaves: an immutable [`Snapshot`] that all workers share, and for each worker an
//! [`Epoch`] with what is its own. An exchange pins one epoch and is judged by it alone.

mod epoch;
mod listener;
mod peers;
mod reports;
pub mod secret;
mod upstream;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::table::{self, Compat, HttpVersion, Id, Priority, ProxyProtocol, Rows, Scheme, Verify};
use policy::{Fault, Policy, unix};
use rustls::server::ProducesTickets;

use crate::limits;
use crate::memory::prefer_huge_pages;
use crate::node::Node;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::counter::Counters;
use crate::telemetry::prometheus::UpstreamCounts;
use crate::tls::{ClientConfigs, ClientTls, Demands, OcspError, Protocol, ServerTls, TlsSetupError};
use crate::upstream::resolve::Names;
use crate::worker::{Address, UnixPath};
pub use epoch::Epoch;
pub use peers::{Missed, Peer, Selection};
pub use reports::Reports;
use secret::{Secret, SecretError};
pub use upstream::{Bound, Target, Upstream};

/// Why a policy cannot be put to work.
#[derive(Debug)]
pub enum SnapshotError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The artifact is refused.
    Refused(PathBuf, Fault),
    /// Secrets are missing.
    Secrets(SecretError),
    /// A certificate, key or authority cannot be used: the entity's name.
    Tls(String, TlsSetupError),
    /// A file of the node, with authorities or an OCSP response, cannot be read.
    NodeFile(PathBuf, std::io::Error),
    /// A file is to be stapled, and is no OCSP response.
    Ocsp(PathBuf, OcspError),
    /// A regex whose captures are used cannot be compiled.
    Captures(String),
    /// More log files than are ever opened: the one for which there is no room.
    LogFiles(String),
    /// More Unix sockets than are ever connected to: the one for which there is no room.
    UnixPaths(String),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Refused(path, fault) => write!(f, "{} is refused: {fault}", path.display()),
            Self::Secrets(error) => write!(f, "{error}"),
            Self::Tls(name, error) => write!(f, "{name}: {error}"),
            Self::NodeFile(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Ocsp(path, error) => write!(f, "cannot staple {}: {error}", path.display()),
            Self::Captures(pattern) => write!(f, "the captures of `{pattern}` cannot be had"),
            Self::UnixPaths(path) => write!(
                f,
                "no room for the Unix socket {path}: {} were named since start\nhelp: restart the gateway",
                limits::UNIX_PATHS
            ),
            Self::LogFiles(path) => write!(
                f,
                "no room for the log file {path}: {} were named since start\nhelp: restart the gateway",
                limits::LOG_FILES
            ),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Where a service's requests go, and how.
pub struct Endpoint {
    /// Where, when there is no upstream.
    pub server: Server,
    /// `Host` header when there is no upstream: without the scheme's default port.
    pub authority: Box<str>,
    /// Path put before the request's; `/` for none.
    pub path: Box<str>,
    /// Further tries.
    pub retries: u32,
    /// For opening a connection.
    pub connect: Duration,
    /// Between two writes.
    pub write: Duration,
    /// Between two reads.
    pub read: Duration,
    /// TLS, when the service speaks it.
    pub tls: Option<ClientTls>,
    /// TLS for a request that only HTTP/1.1 carries, where more is offered otherwise.
    pub tls_http1: Option<ClientTls>,
    /// What is spoken.
    pub http: HttpVersion,
    /// Whether its servers are told for whom a connection is opened.
    pub proxy_protocol: ProxyProtocol,
    /// How long a request waits for an answer before it goes to another target, too, if it ever does.
    pub hedge_after: Option<Duration>,
    /// The balanced upstream, when the host names one.
    pub upstream: Option<Id<table::Upstream>>,
}

impl Endpoint {
    /// TLS, and what is spoken, for a request that asks for another protocol or does not: only HTTP/1.1 can change.
    pub fn spoken(&self, upgrades: bool) -> (Option<&ClientTls>, HttpVersion) {
        match &self.tls_http1 {
            Some(tls) if upgrades => (Some(tls), HttpVersion::Http1),
            _ => (self.tls.as_ref(), self.http),
        }
    }
}

/// A server by name or address. What is needed for each request is made once.
#[derive(Clone, Debug)]
pub struct Server {
    /// Host name or address, an IPv6 one without brackets: also what TLS knows it by. That of a Unix socket is
    /// [`unix::HOST`].
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// The address, when the host is one, or a Unix socket.
    pub literal: Option<Address>,
}

impl Server {
    /// A host as URLs write it or a Unix socket, and a port.
    ///
    /// # Errors
    /// [`SnapshotError::UnixPaths`]
    pub fn new(host: &str, port: u16) -> Result<Self, SnapshotError> {
        if let Some(path) = unix::path(host) {
            let path = UnixPath::new(path).ok_or_else(|| SnapshotError::UnixPaths(path.to_owned()))?;
            return Ok(Self {
                host: unix::HOST.into(),
                port,
                literal: Some(Address::Unix(path)),
            });
        }
        let host = unbracketed(host);
        let literal = host.parse().ok();
        Ok(Self {
            host: host.into(),
            port,
            literal: literal.map(|address: IpAddr| SocketAddr::new(address, port).into()),
        })
    }

    /// Where it is, as far as this worker was told: `None` before.
    pub fn addresses(&self, names: &Names) -> Option<Vec<Address>> {
        match self.literal {
            Some(address) => Some(vec![address]),
            None => {
                let known = names.known(&self.host)?;
                let each = known.addresses.iter().map(|it| it.socket(self.port).into());
                Some(each.collect())
            }
        }
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// A policy made ready. Immutable; shared by all workers.
pub struct Snapshot {
    /// Its number, from 1.
    pub epoch: u64,
    /// The verified artifact.
    pub policy: Policy,
    /// Hexadecimal digest of the artifact.
    pub digest: String,
    /// By service row.
    pub endpoints: Vec<Endpoint>,
    /// By upstream row.
    pub upstreams: Vec<Upstream>,
    /// By secret row.
    pub secrets: Vec<Secret>,
    /// By regex row: the regexes of routes, for their captures.
    pub captures: Vec<Option<regex::bytes::Regex>>,
    /// TLS of the listeners, when the policy has certificates.
    pub server_tls: Option<ServerTls>,
    /// What exchanges are counted and logged as.
    pub reports: Reports,
    /// By route row: which routes are served before others when there is too much to do.
    pub priorities: Vec<Priority>,
}

impl Snapshot {
    /// Reads, verifies and prepares an artifact. Targets that the snapshot `before` had too keep their health.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing has changed.
    pub fn load(
        path: &Path,
        epoch: u64,
        node: &Node,
        ticketer: &Arc<dyn ProducesTickets>,
        counters: &Counters,
        log: &AccessLog,
        before: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        let file = std::fs::read(path).map_err(|error| SnapshotError::Unreadable(path.to_owned(), error))?;
        let policy = Policy::load(&file, policy::artifact::Limits::default())
            .map_err(|fault| SnapshotError::Refused(path.to_owned(), fault))?;
        drop(file);
        policy.memory().into_iter().for_each(prefer_huge_pages);
        prefer_huge_pages(policy.callers());
        let secrets = secret::resolve(&policy, path).map_err(SnapshotError::Secrets)?;
        let mut tls = client_configs(node)?;
        let endpoints = endpoints(&policy, &secrets, node, &mut tls)?;
        let known = before.map(|before| upstream::Known::of(&before.upstreams));
        let upstreams = policy
            .rows(policy.all::<table::Upstream>())
            .zip(headers(&policy))
            .map(|(row, header)| {
                upstream::prepare(
                    &policy,
                    &row,
                    header,
                    &secrets,
                    known.as_ref(),
                    node.workers,
                    &mut tls,
                )
            })
            .collect::<Result<_, _>>()?;
        let server_tls = listener::server_tls(&policy, &secrets, ticketer, node)?;
        let captures = captures(&policy)?;
        let routes = policy.rows(policy.all::<table::Route>());
        let priorities = routes.map(|route| route.priority).collect();
        let reports = Reports::new(&policy, counters, log).map_err(SnapshotError::LogFiles)?;
        let digest = policy.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            epoch,
            policy,
            digest,
            endpoints,
            upstreams,
            secrets,
            captures,
            server_tls,
            reports,
            priorities,
        })
    }

    /// What upstreams with extensions count.
    pub fn upstream_counts(&self) -> Vec<UpstreamCounts<'_>> {
        self.upstreams.iter().filter_map(Upstream::counts).collect()
    }

    /// The value of a secret.
    pub fn secret(&self, id: Id<table::Secret>) -> &[u8] {
        self.secrets[id.index()].expose()
    }
}

/// By upstream row: what the connections of the services that lead to it begin with.
fn headers(policy: &Policy) -> Vec<ProxyProtocol> {
    let mut headers = vec![ProxyProtocol::Off; policy.count(table::Table::Upstream) as usize];
    for service in policy.rows(policy.all::<table::Service>()) {
        if let Some(upstream) = service.upstream {
            headers[upstream.index()] = service.proxy_protocol;
        }
    }
    headers
}

/// What upstreams must prove by default: the node's authorities, or the system's.
fn client_configs(node: &Node) -> Result<ClientConfigs, SnapshotError> {
    let node_authorities = match &node.ca_file {
        Some(path) => {
            Some(std::fs::read(path).map_err(|error| SnapshotError::NodeFile(path.clone(), error))?)
        }
        None => None,
    };
    ClientConfigs::new(node_authorities.as_deref())
        .map_err(|error| SnapshotError::Tls("the node's authorities".to_owned(), error))
}

fn endpoints(
    policy: &Policy,
    secrets: &[Secret],
    node: &Node,
    tls: &mut ClientConfigs,
) -> Result<Vec<Endpoint>, SnapshotError> {
    let named = |name: &str| {
        let name = name.to_owned();
        move |error| SnapshotError::Tls(name, error)
    };
    let default = node
        .upstream_tls_verify
        .unwrap_or(policy.meta().compat == Compat::V3_15);
    policy
        .rows(policy.all::<table::Service>())
        .map(|row| {
            let verify = match row.verify {
                Verify::On => true,
                Verify::Off => false,
                Verify::Default => default,
            };
            // Kong shows the upstream's certificate where the service has none of its own.
            let of_upstream = || policy.get(row.upstream?).client_certificate;
            let client = row.client_certificate.or_else(of_upstream);
            let client = client.map(|id| identity(policy, secrets, id));
            let demands = Demands {
                verify,
                depth: (row.verify_depth != u32::MAX).then_some(row.verify_depth),
                authorities: &authorities(policy, row.authorities),
                client,
                protocols: match row.scheme {
                    Scheme::Tcp | Scheme::Tls => &[],
                    _ => protocols(row.http),
                },
            };
            let mut made = |demands: &Demands<'_>| {
                let made = tls.get(demands).map(Some);
                made.map_err(named(policy.text(row.name)))
            };
            let secure = matches!(row.scheme, Scheme::Https | Scheme::Grpcs | Scheme::Tls);
            let negotiated = row.http == HttpVersion::Negotiated;
            Ok(Endpoint {
                tls: if secure { made(&demands)? } else { None },
                tls_http1: if negotiated {
                    made(&Demands {
                        protocols: protocols(HttpVersion::Http1),
                        ..demands
                    })?
                } else {
                    None
                },
                ..endpoint(policy, &row, secure)?
            })
        })
        .collect()
}

/// Chain and key of a certificate that is shown to servers, as PEM.
fn identity<'p>(
    policy: &'p Policy,
    secrets: &'p [Secret],
    id: Id<table::Certificate>,
) -> (&'p [u8], &'p [u8]) {
    let certificate = policy.get(id);
    let key = secrets[certificate.key.index()].expose();
    (policy.bytes(certificate.chain), key)
}

fn authorities(policy: &Policy, rows: Rows<table::Authority>) -> Vec<u8> {
    let mut pem = Vec::new();
    for row in policy.rows(rows) {
        pem.extend_from_slice(policy.bytes(row.certificate));
        pem.push(b'\n');
    }
    pem
}

/// What a server of HTTP is offered.
const fn protocols(http: HttpVersion) -> &'static [Protocol] {
    match http {
        HttpVersion::Http1 => &[Protocol::Http1],
        HttpVersion::Http2 => &[Protocol::Http2],
        HttpVersion::Negotiated => &[Protocol::Http2, Protocol::Http1],
    }
}

/// All of an endpoint but its TLS.
fn endpoint(policy: &Policy, row: &table::Service, secure: bool) -> Result<Endpoint, SnapshotError> {
    let port = u16::try_from(row.port).unwrap_or(0);
    let path = policy.text(row.path);
    let milliseconds = |value: u32| Duration::from_millis(u64::from(value));
    Ok(Endpoint {
        server: Server::new(policy.text(row.host), port)?,
        authority: authority(policy.text(row.host), port, if secure { 443 } else { 80 }),
        path: if path.is_empty() { "/" } else { path }.into(),
        retries: row.retries,
        connect: milliseconds(row.connect_timeout),
        write: milliseconds(row.write_timeout),
        read: milliseconds(row.read_timeout),
        tls: None,
        tls_http1: None,
        http: row.http,
        proxy_protocol: row.proxy_protocol,
        hedge_after: (row.hedge_after > 0).then(|| milliseconds(row.hedge_after)),
        upstream: row.upstream,
    })
}

/// What `Host` says of a server. A Unix socket has no port.
fn authority(host: &str, port: u16, default: u16) -> Box<str> {
    if unix::path(host).is_some() {
        unix::HOST.into()
    } else if port == default {
        host.into()
    } else {
        format!("{host}:{port}").into()
    }
}

/// Captures need a regex engine that the artifact does not carry. It is built once, for the regexes of routes, when
/// an edit, an echo or a hash uses captures at all.
fn captures(policy: &Policy) -> Result<Vec<Option<regex::bytes::Regex>>, SnapshotError> {
    let uses_captures = policy.rows(policy.all::<table::Part>()).any(|part| {
        matches!(
            part.kind,
            table::PartKind::Capture | table::PartKind::CaptureIndex
        )
    }) || policy.rows(policy.all::<table::Response>()).any(|row| row.echo)
        || policy
            .rows(policy.all::<table::Upstream>())
            .any(|row| [row.hash_on, row.hash_fallback].contains(&table::HashOn::UriCapture));
    let build = |row: table::Regex| {
        let alternatives: Vec<&str> = policy
            .rows(row.patterns)
            .map(|name| policy.text(name.text))
            .collect();
        let pattern = alternatives.join("|");
        regex::bytes::RegexBuilder::new(&format!("^(?:{pattern})"))
            .build()
            .map(Some)
            .map_err(|_error| SnapshotError::Captures(pattern))
    };
    let rows = policy.rows(policy.all::<table::Regex>());
    rows.map(|row| if uses_captures { build(row) } else { Ok(None) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_without_asking_and_lose_their_brackets() {
        for (host, bare, literal) in [
            ("192.0.2.1", "192.0.2.1", Some("192.0.2.1:80")),
            ("::1", "::1", Some("[::1]:80")),
            ("[2001:db8::1]", "2001:db8::1", Some("[2001:db8::1]:80")),
            ("api.test", "api.test", None),
        ] {
            let server = Server::new(host, 80).unwrap();
            let address = literal.map(|text| text.parse::<SocketAddr>().unwrap());
            assert_eq!(&*server.host, bare);
            assert_eq!(server.literal, address.map(Address::Ip));
        }
    }

    #[test]
    fn a_unix_socket_is_an_address_whose_host_is_localhost() {
        let server = Server::new("unix:/run/app.sock", 80).unwrap();
        assert_eq!(&*server.host, "localhost");
        assert_eq!(server.literal.unwrap().to_string(), "unix:/run/app.sock");
        for port in [0, 80, 8000] {
            assert_eq!(&*authority("unix:/run/app.sock", port, 80), "localhost");
        }
    }
}
