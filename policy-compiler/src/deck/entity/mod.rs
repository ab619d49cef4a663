//! What a decK file says, typed, completed and resolved: plain data for the compiler's back end.
//!
//! Every reference is an index into a table of the [`Model`], every default is filled in, every rule of `kong.md`'s
//! entities holds. Each entity knows where it was written ([`Meta::span`]) so that later rooms can point there.
//! Texts of the form `{vault://backend/key}` are kept as written: resolving them is the gateway's work, at load.
//! Words and bounds are Kong's (Admin API entities, 3.9 and 3.15).

mod balancing;
mod caller;
#[cfg(test)]
pub(crate) mod sample;
mod traffic;
mod version;

use uuid::Uuid;

pub use balancing::{
    ActiveHealthcheck, Algorithm, HashOn, HealthRules, Healthchecks, PassiveHealthcheck, Target, Upstream,
};
pub use caller::{
    AclGroup, BasicAuthCredential, Consumer, ConsumerGroup, CredentialKind, KeyAuthCredential,
    OtherCredential, Password,
};
pub use traffic::{AddressMatch, HeaderMatch, PathHandling, Route, RoutePath, Service};
pub use version::{Sensitivity, SensitivityKind};

use crate::extension::Extensions;
use crate::schema::{KongCompat, PluginKind};
use crate::source::{Node, Secret, Span};

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
    /// Places that one Kong version reads otherwise than the other, or refuses, in the order they were found.
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
    /// Those of its labels that Tollgate reads.
    pub extensions: Extensions,
}

/// The protocols Kong knows. Tollgate's routes carry HTTP, gRPC and WebSockets; the rest is reported as not enforced.
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

impl Protocol {
    /// All names, in the order of the variants.
    pub const NAMES: [&'static str; 10] = [
        "http",
        "https",
        "grpc",
        "grpcs",
        "tcp",
        "tls",
        "tls_passthrough",
        "udp",
        "ws",
        "wss",
    ];

    /// Whether it carries connections rather than requests: Kong's stream subsystem.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::TlsPassthrough | Self::Udp)
    }

    /// The protocol called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "http" => Self::Http,
            "https" => Self::Https,
            "grpc" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "tls_passthrough" => Self::TlsPassthrough,
            "udp" => Self::Udp,
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            _ => return None,
        })
    }

    /// Whether the gateway carries it.
    pub const fn is_carried(self) -> bool {
        matches!(
            self,
            Self::Http | Self::Https | Self::Grpc | Self::Grpcs | Self::Ws | Self::Wss
        )
    }

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
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
    /// False only under `--allow-unsupported`, for a plugin that Tollgate does not have: leave it out, it was reported.
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
    /// What the names of the variables of an `env` vault begin with.
    pub variables: Box<str>,
}
