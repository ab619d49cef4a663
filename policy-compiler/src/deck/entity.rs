//! What a decK file says, typed, completed and resolved: plain data for the compiler's back end.
//!
//! Every reference is an index into a table of the [`Model`], every default is filled in, every rule of `kong.md`'s
//! entities holds. Each entity knows where it was written ([`Meta::span`]) so that later rooms can point there.
//! Texts of the form `{vault://backend/key}` are kept as written: resolving them is the gateway's work, at load.
//! Words and bounds are Kong's (Admin API entities, 3.9 and 3.15).

use uuid::Uuid;

use crate::schema::{KongCompat, PluginKind};
use crate::source::{Node, Secret, Span, Spanned};

/// The whole policy as written, ready to be lowered.
#[derive(Debug, Default)]
pub struct Model {
    /// Whose defaults were filled in.
    pub compat: KongCompat,
    /// `_workspace`, if the file names one.
    pub workspace: Option<Box<str>>,
    /// Where requests go.
    pub services: Vec<Service>,
    /// What matches requests, in the order of the file.
    pub routes: Vec<Route>,
    /// Who calls.
    pub consumers: Vec<Consumer>,
    /// Named sets of consumers.
    pub consumer_groups: Vec<ConsumerGroup>,
    /// `keyauth_credentials` of all consumers.
    pub keyauth_credentials: Vec<KeyAuthCredential>,
    /// `basicauth_credentials` of all consumers.
    pub basicauth_credentials: Vec<BasicAuthCredential>,
    /// `acls`: group memberships that the acl plugin reads.
    pub acls: Vec<AclGroup>,
    /// Credentials of kinds that nothing enforces; each was reported.
    pub other_credentials: Vec<OtherCredential>,
    /// Every plugin instance, enabled or not, in the order of the file.
    pub plugins: Vec<Plugin>,
    /// Named sets of targets.
    pub upstreams: Vec<Upstream>,
    /// Where an upstream's traffic goes.
    pub targets: Vec<Target>,
    /// Server and client certificates.
    pub certificates: Vec<Certificate>,
    /// Server names and the certificate each selects.
    pub snis: Vec<Sni>,
    /// Trusted authorities for upstream TLS.
    pub ca_certificates: Vec<CaCertificate>,
    /// Where `{vault://…}` references lead.
    pub vaults: Vec<Vault>,
    /// Places that mean something else under the other [`KongCompat`], in the order they were found.
    pub sensitivities: Vec<Sensitivity>,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $index:ident => $table:ident : $entity:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $index(pub u32);

        impl std::ops::Index<$index> for Model {
            type Output = $entity;
            fn index(&self, index: $index) -> &$entity {
                &self.$table[index.0 as usize]
            }
        }
    )*};
}

tables! {
    /// A row of [`Model::services`].
    ServiceIndex => services: Service,
    /// A row of [`Model::routes`].
    RouteIndex => routes: Route,
    /// A row of [`Model::consumers`].
    ConsumerIndex => consumers: Consumer,
    /// A row of [`Model::consumer_groups`].
    ConsumerGroupIndex => consumer_groups: ConsumerGroup,
    /// A row of [`Model::plugins`].
    PluginIndex => plugins: Plugin,
    /// A row of [`Model::upstreams`].
    UpstreamIndex => upstreams: Upstream,
    /// A row of [`Model::certificates`].
    CertificateIndex => certificates: Certificate,
    /// A row of [`Model::ca_certificates`].
    CaCertificateIndex => ca_certificates: CaCertificate,
}

/// What every entity has.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The id in the file, or the derived one: see `super::identity`.
    pub id: Uuid,
    /// Where its name (or first key) was written.
    pub span: Span,
    /// Labels, in the order of the file.
    pub tags: Vec<Box<str>>,
}

/// The protocols Kong knows. Tollgate's routes carry HTTP and gRPC; the rest is reported as not enforced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// `http`
    Http,
    /// `https`
    Https,
    /// `grpc` (HTTP/2 in clear text)
    Grpc,
    /// `grpcs`
    Grpcs,
    /// `tcp`
    Tcp,
    /// `tls`
    Tls,
    /// `tls_passthrough`
    TlsPassthrough,
    /// `udp`
    Udp,
    /// `ws` (Enterprise)
    Ws,
    /// `wss` (Enterprise)
    Wss,
}

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
    /// Reads the request whole before proxying.
    pub request_buffering: bool,
    /// Reads the response whole before answering.
    pub response_buffering: bool,
    /// False only under `--allow-unsupported` (tcp, udp, tls or expression routes): leave it out of the router.
    pub enforced: bool,
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

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique; at least one of the two names is there.
    pub username: Option<Box<str>>,
    /// Unique.
    pub custom_id: Option<Box<str>>,
    /// Membership from either side of the file, each group once, in ascending order of index.
    pub groups: Vec<ConsumerGroupIndex>,
}

/// A named set of consumers; who is in it stands in [`Consumer::groups`].
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// Id, place, tags.
    pub meta: Meta,
    /// Unique.
    pub name: Box<str>,
}

/// A key of the key-auth plugin.
#[derive(Clone, Debug)]
pub struct KeyAuthCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Unique, not empty.
    pub key: Secret,
    /// Unix seconds: `created_at + ttl`. None never expires.
    pub expires_at: Option<u64>,
}

/// A user of the basic-auth plugin.
#[derive(Clone, Debug)]
pub struct BasicAuthCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Unique, not empty.
    pub username: Box<str>,
    /// As the file holds it.
    pub password: Password,
}

/// How a file holds a basic-auth password.
#[derive(Clone, Debug)]
pub enum Password {
    /// The password itself.
    Plain(Secret),
    /// `_info.skip_hash_for_basic_auth`: already Kong's hash, hex SHA-1 of password + consumer id.
    Hashed(Secret),
}

/// A membership that the acl plugin reads.
#[derive(Clone, Debug)]
pub struct AclGroup {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// The group's name; groups exist only by being named.
    pub group: Box<str>,
}

/// A credential that no enforced plugin reads.
#[derive(Clone, Debug)]
pub struct OtherCredential {
    /// Id, place, tags.
    pub meta: Meta,
    /// Whose it is.
    pub consumer: ConsumerIndex,
    /// Which list it stood in.
    pub kind: CredentialKind,
}

/// Credential lists that are checked and then reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialKind {
    /// `hmacauth_credentials`
    HmacAuth,
    /// `jwt_secrets`
    Jwt,
    /// `mtls_auth_credentials`
    MtlsAuth,
    /// `oauth2_credentials`
    Oauth2,
}

/// A configured unit, attached globally or to a scope.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Id, place (of the name), tags.
    pub meta: Meta,
    /// The name written in the file; for a clone its own name.
    pub name: Box<str>,
    /// What runs.
    pub kind: PluginKind,
    /// Higher runs first. Kong 3.15's table, or the clone's own.
    pub priority: i32,
    /// A label without effect on selection.
    pub instance_name: Option<Box<str>>,
    /// False makes the instance invisible.
    pub enabled: bool,
    /// Where it applies; all named entities must match.
    pub scope: Scope,
    /// The requests it runs for.
    pub protocols: Vec<Protocol>,
    /// Checked against the schema, aliases replaced, defaults filled in, secrets hidden. Always a mapping.
    pub config: Node,
    /// False only under `--allow-unsupported`: leave it out, it was reported.
    pub enforced: bool,
}

/// What a plugin is attached to. All None: global.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Scope {
    /// Only requests to this service.
    pub service: Option<ServiceIndex>,
    /// Only requests on this route.
    pub route: Option<RouteIndex>,
    /// Only this consumer.
    pub consumer: Option<ConsumerIndex>,
    /// Only consumers of this group.
    pub consumer_group: Option<ConsumerGroupIndex>,
}

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

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Id, place, tags.
    pub meta: Meta,
    /// PEM, leaf first.
    pub cert: Box<str>,
    /// PEM.
    pub key: Secret,
    /// A second pair of another key type (DB-less files).
    pub alt: Option<(Box<str>, Secret)>,
}

/// A server name that selects a certificate.
#[derive(Clone, Debug)]
pub struct Sni {
    /// Id, place, tags.
    pub meta: Meta,
    /// Lower-case, `*` allowed as the leftmost or rightmost label.
    pub name: Box<str>,
    /// What it selects.
    pub certificate: CertificateIndex,
}

/// A trusted authority.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    /// Id, place, tags.
    pub meta: Meta,
    /// PEM.
    pub cert: Box<str>,
}

/// A place that `{vault://prefix/…}` names.
#[derive(Clone, Debug)]
pub struct Vault {
    /// Id, place, tags.
    pub meta: Meta,
    /// The backend: `env`, `hcv`, `aws`, …
    pub name: Box<str>,
    /// The word after `vault://`.
    pub prefix: Box<str>,
    /// Backend settings, unchecked.
    pub config: Option<Node>,
}

/// A place whose meaning depends on `--kong-compat`.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    /// What would change.
    pub kind: SensitivityKind,
    /// The entity that relies on the default.
    pub span: Span,
}

/// What the other version would change. Equal kinds are counted together by `check`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SensitivityKind {
    /// A route without `protocols`: http and https in 3.9, https only in 3.15.
    RouteProtocols,
    /// A TLS service without `tls_verify`: unverified in 3.9, verified in 3.15.
    ServiceTlsVerify,
    /// A plugin field left out whose default differs.
    PluginDefault {
        /// The plugin.
        plugin: Box<str>,
        /// Dotted path in its config.
        field: Box<str>,
        /// JSON text of the default in 3.9; `none` if it had none.
        default_3_9: Box<str>,
        /// The same in 3.15.
        default_3_15: Box<str>,
    },
}
