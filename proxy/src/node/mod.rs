//! What one machine sets for itself: listeners, workers, admin socket, limits.
//!
//! Every setting is a flag, a `TOLLGATE_*` variable and a key of the node file; the first that is given wins, in
//! this order. Nothing here is about policy, which is the same on every node.

mod listen;
mod memory;
mod network;
mod stream_listen;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use policy::path::{EmptySegments, EncodedSeparators, NotAChoice, Parameters, PathRules};
use serde::Deserialize;

pub use listen::{Listen, ListenError, Listens, UnixListen};
pub use memory::{Bytes, BytesError};
pub use network::{Network, NetworkError, address_bits, address_of};
pub use stream_listen::{StreamListen, StreamListenError};

use crate::confine::Confine;
use crate::limits;
use crate::settable::{self, Setting};
use crate::tls::{ClientAuth, OldestTls};
use crate::upstream::resolve::{DnsOrder, DnsServer, DnsSettings};

/// How the workers wait for the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverChoice {
    /// io_uring where the kernel grants it, else epoll.
    #[default]
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// epoll.
    Epoll,
}

/// Settings as they are given; see [`Node`] for what they come to.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Plaintext listener: an address, or a Unix socket as unix:/run/http.sock, which may have ,mode=0666 ,user=NAME and
    /// ,group=NAME behind it; may be given several times [default: 0.0.0.0:8000]
    #[arg(long, value_name = "ADDR", env = "TOLLGATE_LISTEN")]
    pub listen: Vec<Listens>,
    /// TLS listener; may be given several times [default: 0.0.0.0:8443 if the policy has certificates]
    #[arg(long, value_name = "ADDR", env = "TOLLGATE_LISTEN_TLS")]
    pub listen_tls: Vec<Listens>,
    /// Oldest version of TLS that clients may speak [default: 1.2]
    #[arg(long, value_enum, value_name = "VERSION", env = "TOLLGATE_TLS_MIN")]
    pub tls_min: Option<OldestTls>,
    /// Listener for connections that routes for tcp, tls and tls_passthrough take: an address, with `ssl` for those that
    /// begin with TLS, such as 0.0.0.0:6379 or 0.0.0.0:5443,ssl; may be given several times (with `;` between them in the
    /// variable) [default: none]
    #[arg(
        long,
        value_name = "ADDR[,ssl]",
        env = "TOLLGATE_STREAM_LISTEN",
        value_delimiter = ';'
    )]
    pub stream_listen: Vec<StreamListen>,
    /// PEM file of authorities whose certificates clients show on TLS listeners; read with each policy
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients may or must show such a certificate [default: require, if there is a --client-ca]
    #[arg(long, value_enum, env = "TOLLGATE_CLIENT_AUTH")]
    pub client_auth: Option<ClientAuth>,
    /// OCSP response (DER) to staple to the certificate that it is about; read with each policy, so that SIGHUP brings
    /// a newer one into use; may be given several times
    #[arg(long, value_name = "FILE", env = "TOLLGATE_OCSP", value_delimiter = ',')]
    pub ocsp: Vec<PathBuf>,
    /// Listener that serves only GET /metrics, for Prometheus; the admin socket serves it too [default: none]
    #[arg(long, value_name = "ADDR", env = "TOLLGATE_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// Worker threads, each pinned to a core [default: one for each core]
    #[arg(long, value_name = "N", env = "TOLLGATE_WORKERS")]
    pub workers: Option<usize>,
    /// Unix socket for `tollgate status`, reload, drain and metrics [default: /run/tollgate.sock, or one in the
    /// user's runtime directory]
    #[arg(long, value_name = "PATH", env = "TOLLGATE_ADMIN")]
    pub admin: Option<PathBuf>,
    /// How workers wait for the kernel [default: auto]
    #[arg(long, value_enum, env = "TOLLGATE_DRIVER")]
    pub driver: Option<DriverChoice>,
    /// Peer whose X-Forwarded-* headers are believed: an address or a network, or `unix:` for those on Unix sockets; may be
    /// given several times
    #[arg(
        long = "trusted-ip",
        value_name = "CIDR",
        env = "TOLLGATE_TRUSTED_IPS",
        value_delimiter = ','
    )]
    pub trusted_ips: Vec<Network>,
    /// Trusted peers are load balancers that begin each connection with a PROXY header (version 1 or 2), which names
    /// the client; who does not send one is refused. Other peers are read as they are
    #[arg(long, env = "TOLLGATE_PROXY_PROTOCOL", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub proxy_protocol: Option<bool>,
    /// What to do about %2F and %5C in a path: backends read them in two ways [default: reject]
    #[arg(long, env = "TOLLGATE_ENCODED_SLASHES", value_parser = choice::<EncodedSeparators>(EncodedSeparators::NAMES))]
    #[serde(deserialize_with = "named")]
    pub encoded_slashes: Option<EncodedSeparators>,
    /// What to do about `;` parameters in a path: backends read them in two ways [default: reject]
    #[arg(long, env = "TOLLGATE_PATH_PARAMETERS", value_parser = choice::<Parameters>(Parameters::NAMES))]
    #[serde(deserialize_with = "named")]
    pub path_parameters: Option<Parameters>,
    /// What to do about // in a path [default: merge]
    #[arg(long, env = "TOLLGATE_EMPTY_SEGMENTS", value_parser = choice::<EmptySegments>(EmptySegments::NAMES))]
    #[serde(deserialize_with = "named")]
    pub empty_segments: Option<EmptySegments>,
    /// Seconds that running requests get to finish after SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_GRACE")]
    pub grace: Option<u64>,
    /// PEM file of authorities to trust for upstreams instead of the system's
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Whether certificates of upstreams are verified where the policy leaves it open [default: as the policy's
    /// Kong version: off for 3.9, on for 3.15]
    #[arg(long, value_name = "BOOL", env = "TOLLGATE_UPSTREAM_TLS_VERIFY")]
    pub upstream_tls_verify: Option<bool>,
    /// Distinct rate-limit counters that are kept, 17 bytes each [default: 983040]
    #[arg(long, value_name = "N", env = "TOLLGATE_QUOTA_ENTRIES")]
    pub quota_entries: Option<usize>,
    /// User, by name or number, that the gateway becomes once its listeners are bound; it gives up all capabilities
    #[arg(long, value_name = "USER", env = "TOLLGATE_USER")]
    pub user: Option<String>,
    /// Group, by name or number, instead of the user's own [default: the user's]
    #[arg(long, value_name = "GROUP", env = "TOLLGATE_GROUP")]
    pub group: Option<String>,
    /// Whether the gateway gives up access to files and system calls that it does not need, by Landlock and seccomp
    /// [default: auto]
    #[arg(long, value_enum, env = "TOLLGATE_CONFINE")]
    pub confine: Option<Confine>,
    /// Folder that a confined gateway may write logs to; may be given several times [default: those of the logs that
    /// the policy names at start]
    #[arg(
        long = "log-dir",
        value_name = "DIR",
        env = "TOLLGATE_LOG_DIRS",
        value_delimiter = ','
    )]
    pub log_dirs: Vec<PathBuf>,
    /// Connections that a worker holds at most [default: 20000]
    #[arg(long, value_name = "N", env = "TOLLGATE_CONNECTIONS")]
    pub connections: Option<usize>,
    /// Another value for a limit that may be set, such as head_bytes=32KiB; may be given several times. `tollgate limits` lists
    /// them; in the node file they are a table of their own, `[limits]`
    #[arg(
        long = "limit",
        value_name = "NAME=VALUE",
        env = "TOLLGATE_LIMITS",
        value_delimiter = ','
    )]
    #[serde(rename = "limits", deserialize_with = "settable::from_table")]
    pub limits: Vec<Setting>,
    /// Milliseconds by which a worker may be late all the time before it turns requests away, those of low priority first;
    /// 0 for never [default: 500]
    #[arg(long, value_name = "MS", env = "TOLLGATE_SHED_AFTER")]
    pub shed_after: Option<u32>,
    /// Memory that the process may use, such as 512MiB, before it turns requests away and stops accepting; 0 for any
    /// amount [default: nine tenths of what its control group allows]
    #[arg(long, value_name = "BYTES", env = "TOLLGATE_MEMORY_MOST")]
    pub memory_most: Option<Bytes>,
    /// Further tries for a hundred requests that a worker makes when upstreams fail, whatever each service's `retries`
    /// allow; a hundred are always in reserve [default: 100]
    #[arg(long, value_name = "PERCENT", env = "TOLLGATE_RETRY_BUDGET")]
    pub retry_budget: Option<u32>,
    /// DNS server to ask: an address, with a port unless it is 53; may be given several times [default: those of
    /// resolv.conf, asked in order]
    #[arg(
        long,
        value_name = "ADDR",
        env = "TOLLGATE_DNS_RESOLVER",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_all")]
    pub dns_resolver: Vec<DnsServer>,
    /// File whose names are known without asking [default: /etc/hosts]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_DNS_HOSTSFILE")]
    pub dns_hostsfile: Option<PathBuf>,
    /// File that says which servers are asked, the search list and its options [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_DNS_RESOLV_CONF")]
    pub dns_resolv_conf: Option<PathBuf>,
    /// Record types that are asked for until one has records; LAST is the one that a name had before, and names such as
    /// _http._tcp.shop.test are only ever asked for as SRV [default: LAST,SRV,A,AAAA,CNAME]
    #[arg(long, value_name = "TYPES", env = "TOLLGATE_DNS_ORDER")]
    #[serde(deserialize_with = "parsed")]
    pub dns_order: Option<DnsOrder>,
    /// Seconds that an answer is used, whatever its records say [default: as they say]
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_DNS_VALID_TTL", value_parser = clap::value_parser!(u32).range(1..))]
    pub dns_valid_ttl: Option<u32>,
    /// Seconds that an answer serves after its time while no server answers [default: 3600]
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_DNS_STALE_TTL")]
    pub dns_stale_ttl: Option<u32>,
}

/// A flag that takes one of `names`.
fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = NotAChoice> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// A key of the node file that takes one of its words.
fn named<'de, D: serde::Deserializer<'de>, T: FromStr<Err = NotAChoice>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word = String::deserialize(deserializer)?;
    word.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A key of the node file whose text is read as the flag's is.
fn parsed<'de, D: serde::Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The same for a list.
fn parsed_all<'de, D: serde::Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// Why settings cannot be used.
#[derive(Debug)]
pub enum SettingsError {
    /// The node file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The node file is not what it should be.
    Invalid(PathBuf, toml::de::Error),
    /// Clients are to be asked for certificates, but of no authority.
    ClientAuthWithoutAuthorities,
    /// PROXY headers are expected, but from no peer.
    ProxyProtocolFromNobody,
    /// A group without a user.
    GroupWithoutUser,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Invalid(path, error) => write!(f, "{}: {error}", path.display()),
            Self::ClientAuthWithoutAuthorities => write!(
                f,
                "`client-auth` asks clients for certificates, and there is no authority that they could be of\n\
                 help: name a PEM file with `--client-ca` or `client_ca`"
            ),
            Self::ProxyProtocolFromNobody => write!(
                f,
                "`proxy-protocol` expects PROXY headers from trusted peers, and there are none\nhelp: name the load \
                 balancers with `--trusted-ip` or `trusted_ips`"
            ),
            Self::GroupWithoutUser => {
                f.write_str("`group` is set, but not `user`: nobody would take that group on")
            }
        }
    }
}

impl std::error::Error for SettingsError {}

/// The settings of this node, complete.
#[derive(Clone, Debug)]
pub struct Node {
    /// Plaintext listeners.
    pub listen: Vec<Listen>,
    /// TLS listeners; `None` takes [`DEFAULT_TLS`] when the policy has certificates.
    pub listen_tls: Option<Vec<Listen>>,
    /// Oldest version of TLS that clients may speak.
    pub tls_min: OldestTls,
    /// Listeners for connections.
    pub stream_listen: Vec<StreamListen>,
    /// What clients are asked for on TLS listeners: authorities, and whether they must be known to them.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// OCSP responses to staple.
    pub ocsp: Vec<PathBuf>,
    /// Listener for metrics alone.
    pub metrics_listen: Option<SocketAddr>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The admin socket.
    pub admin: PathBuf,
    /// How workers wait.
    pub driver: DriverChoice,
    /// Peers whose forwarding headers are believed.
    pub trusted: Vec<Network>,
    /// Whether those peers begin connections with a PROXY header.
    pub proxy_protocol: bool,
    /// Which paths are served, and how they are read.
    pub paths: PathRules,
    /// Seconds to drain.
    pub grace_s: u64,
    /// Authorities for upstreams.
    pub ca_file: Option<PathBuf>,
    /// Whether upstreams are verified where the policy leaves it open.
    pub upstream_tls_verify: Option<bool>,
    /// Counters that are kept.
    pub quota_entries: usize,
    /// Who the gateway becomes: a user, and a group if not the user's own.
    pub user: Option<(String, Option<String>)>,
    /// Whether it gives up what it does not need.
    pub confine: Confine,
    /// Folders that logs may be written to, beside those of the first policy.
    pub log_dirs: Vec<PathBuf>,
    /// Connections of one worker.
    pub connections: usize,
    /// Other values for limits, those of flags last.
    pub limits: Vec<Setting>,
    /// How late a worker may be all the time; zero for any time.
    pub shed_after: Duration,
    /// Bytes that the process may use.
    pub memory_most: Option<u64>,
    /// Further tries for a hundred requests.
    pub retry_budget: u32,
    /// How names are resolved.
    pub dns: DnsSettings,
    /// What this run is known by.
    pub id: String,
    /// What this machine is known by.
    pub hostname: String,
}

/// Where TLS is served when nothing is said and the policy has certificates.
pub const DEFAULT_TLS: Listen = anywhere(8443);
const DEFAULT_PLAIN: Listen = anywhere(8000);

const fn anywhere(port: u16) -> Listen {
    Listen::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
}

impl Node {
    /// Completes flags and variables by the node file and the defaults.
    ///
    /// # Errors
    /// [`SettingsError`] when the node file cannot be used.
    pub fn complete(flags: Settings, file: Option<&Path>) -> Result<Self, SettingsError> {
        let file = match file {
            Some(path) => read(path)?,
            None => Settings::default(),
        };
        let dns = dns(&flags, &file);
        let listen_tls = all(first(flags.listen_tls, file.listen_tls));
        let mut listen = all(first(flags.listen, file.listen));
        if listen.is_empty() && listen_tls.is_empty() {
            listen.push(DEFAULT_PLAIN);
        }
        let trusted = first(flags.trusted_ips, file.trusted_ips);
        let proxy_protocol = flags.proxy_protocol.or(file.proxy_protocol).unwrap_or(false);
        if proxy_protocol && trusted.is_empty() {
            return Err(SettingsError::ProxyProtocolFromNobody);
        }
        let user = match (flags.user.or(file.user), flags.group.or(file.group)) {
            (Some(user), group) => Some((user, group)),
            (None, None) => None,
            (None, Some(_)) => return Err(SettingsError::GroupWithoutUser),
        };
        Ok(Self {
            listen,
            listen_tls: (!listen_tls.is_empty()).then_some(listen_tls),
            tls_min: flags.tls_min.or(file.tls_min).unwrap_or_default(),
            stream_listen: first(flags.stream_listen, file.stream_listen),
            client_ca: client_ca(
                flags.client_ca.or(file.client_ca),
                flags.client_auth.or(file.client_auth),
            )?,
            ocsp: first(flags.ocsp, file.ocsp),
            metrics_listen: flags.metrics_listen.or(file.metrics_listen),
            workers: flags.workers.or(file.workers).unwrap_or_else(cores).max(1),
            admin: flags.admin.or(file.admin).unwrap_or_else(default_admin),
            driver: flags.driver.or(file.driver).unwrap_or_default(),
            trusted,
            proxy_protocol,
            paths: PathRules {
                encoded_separators: flags.encoded_slashes.or(file.encoded_slashes).unwrap_or_default(),
                parameters: flags.path_parameters.or(file.path_parameters).unwrap_or_default(),
                empty_segments: flags.empty_segments.or(file.empty_segments).unwrap_or_default(),
            },
            grace_s: flags.grace.or(file.grace).unwrap_or(30),
            ca_file: flags.ca_file.or(file.ca_file),
            upstream_tls_verify: flags.upstream_tls_verify.or(file.upstream_tls_verify),
            quota_entries: flags
                .quota_entries
                .or(file.quota_entries)
                .unwrap_or(limits::QUOTA_COUNTERS),
            user,
            confine: flags.confine.or(file.confine).unwrap_or_default(),
            log_dirs: first(flags.log_dirs, file.log_dirs),
            connections: flags.connections.or(file.connections).unwrap_or(20_000),
            limits: [file.limits, flags.limits].concat(),
            shed_after: Duration::from_millis(
                flags
                    .shed_after
                    .or(file.shed_after)
                    .unwrap_or(limits::SHED_AFTER_MS)
                    .into(),
            ),
            memory_most: memory::most(flags.memory_most.or(file.memory_most)),
            retry_budget: flags.retry_budget.or(file.retry_budget).unwrap_or(100),
            dns,
            id: kernel("random/uuid"),
            hostname: kernel("hostname"),
        })
    }

    /// The Unix sockets among the listeners.
    pub fn unix_listeners(&self) -> impl Iterator<Item = &UnixListen> {
        let streams = self.stream_listen.iter().map(|stream| &stream.at);
        let all = self
            .listen
            .iter()
            .chain(self.listen_tls.iter().flatten())
            .chain(streams);
        all.filter_map(|listen| match listen {
            Listen::Ip(_) => None,
            Listen::Unix(listen) => Some(listen),
        })
    }

    /// Whether a peer's forwarding headers are believed. `None` is a peer on a Unix socket.
    pub fn trusts(&self, address: Option<u128>) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// How names are resolved.
fn dns(flags: &Settings, file: &Settings) -> DnsSettings {
    let servers = if flags.dns_resolver.is_empty() {
        &file.dns_resolver
    } else {
        &flags.dns_resolver
    };
    let path = |flag: &Option<PathBuf>, file: &Option<PathBuf>, default: &str| {
        let said = flag.as_ref().or(file.as_ref());
        said.map_or_else(|| default.into(), Clone::clone)
    };
    let valid_ttl = flags.dns_valid_ttl.or(file.dns_valid_ttl);
    let stale_ttl = flags.dns_stale_ttl.or(file.dns_stale_ttl);
    let order = flags.dns_order.as_ref().or(file.dns_order.as_ref());
    DnsSettings {
        servers: servers.iter().map(|DnsServer(address)| *address).collect(),
        hosts_file: path(&flags.dns_hostsfile, &file.dns_hostsfile, "/etc/hosts"),
        resolv_conf: path(&flags.dns_resolv_conf, &file.dns_resolv_conf, "/etc/resolv.conf"),
        order: order.cloned().unwrap_or_default(),
        valid_ttl: valid_ttl.map(|seconds| Duration::from_secs(seconds.max(1).into())),
        stale_ttl: Duration::from_secs(stale_ttl.unwrap_or(limits::DNS_STALE_S).into()),
    }
}

/// What clients are asked for: whoever names authorities means that clients must be known to them.
fn client_ca(
    authorities: Option<PathBuf>,
    how: Option<ClientAuth>,
) -> Result<Option<(PathBuf, ClientAuth)>, SettingsError> {
    match (authorities, how) {
        (Some(file), how) => Ok(Some((file, how.unwrap_or_default()))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(SettingsError::ClientAuthWithoutAuthorities),
    }
}

fn read(path: &Path) -> Result<Settings, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| SettingsError::Unreadable(path.to_owned(), error))?;
    toml::from_str(&text).map_err(|error| SettingsError::Invalid(path.to_owned(), error))
}

/// A text that the kernel knows; empty where it is not told.
fn kernel(name: &str) -> String {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
    text.trim_end().to_owned()
}

fn first<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

fn all(listens: Vec<Listens>) -> Vec<Listen> {
    listens.into_iter().flat_map(|Listens(each)| each).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `/run/tollgate.sock` for root, else a socket in the user's runtime directory, else in the working directory.
pub fn default_admin() -> PathBuf {
    let writable = std::fs::metadata("/run").is_ok_and(|_| is_root());
    if writable {
        return PathBuf::from("/run/tollgate.sock");
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) => PathBuf::from(directory).join("tollgate.sock"),
        None => PathBuf::from("tollgate.sock"),
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
