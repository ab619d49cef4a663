//! Tables of what operators name: services, upstreams, certificates, consumers, credentials.

use super::{HealthRules, Id, Probe, Rows, Source, Text, Word, choice, rows};

choice! {
    /// How the gateway speaks to a service.
    Scheme {
        /// Plaintext HTTP.
        Http = "http",
        /// HTTP over TLS.
        Https = "https",
        /// HTTP/2 from the first byte on, in plaintext.
        Grpc = "grpc",
        /// HTTP/2 over TLS.
        Grpcs = "grpcs",
        /// Bytes, for routes of connections.
        Tcp = "tcp",
        /// Bytes over TLS, for routes of connections.
        Tls = "tls",
    }
    /// Whether the certificate of an upstream is verified.
    Verify {
        /// As the gateway-wide setting of the Kong version says.
        Default = "default",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
    /// The version of HTTP that is spoken to a service; what it says of one of bytes means nothing.
    HttpVersion {
        /// HTTP/1.1.
        Http1 = "1.1",
        /// HTTP/2: agreed on through TLS, from the first byte on without it.
        Http2 = "2",
        /// What the server prefers of both, through TLS.
        Negotiated = "auto",
    }
    /// Whether servers are told for whom a connection is opened (HAProxy's PROXY protocol).
    ProxyProtocol {
        /// They are not.
        Off = "off",
        /// By a line of text.
        V1 = "v1",
        /// By a binary header.
        V2 = "v2",
    }
    /// How a target is chosen.
    Algorithm {
        /// Weighted round-robin.
        RoundRobin = "round-robin",
        /// The fewest running exchanges for the weight.
        LeastConnections = "least-connections",
        /// The lowest latency for the weight, of two drawn at random.
        Latency = "latency",
        /// By what a request is hashed on.
        ConsistentHashing = "consistent-hashing",
        /// By a cookie that names the target.
        StickySessions = "sticky-sessions",
    }
    /// What a request is hashed on.
    HashOn {
        /// Nothing.
        None = "none",
        /// The consumer, else the credential.
        Consumer = "consumer",
        /// The client's address.
        Ip = "ip",
        /// A header.
        Header = "header",
        /// A cookie, which is made where it is missing.
        Cookie = "cookie",
        /// The canonical path.
        Path = "path",
        /// An argument of the query.
        QueryArg = "query_arg",
        /// A named group of the route's regex.
        UriCapture = "uri_capture",
    }
    /// Where a secret comes from.
    SecretKind {
        /// A text with `{vault://…}` references that the gateway resolves when it loads the artifact.
        Vault = "vault",
        /// A value of the sealed file beside the artifact.
        Sealed = "sealed",
    }
    /// How a password is proved.
    Proof {
        /// Knowing the looked-up value is the proof (API keys).
        Lookup = "lookup",
        /// Salted SHA-256 of user name, a zero byte and password.
        Keyed = "keyed",
        /// The same over user name, a zero byte and Kong's hash of the password; see [`crate::digest::kong_hash`].
        Hashed = "hashed",
    }
}

rows! {
    /// Where requests go.
    Service {
        /// UUID, given or derived.
        id: Text,
        /// Name, may be empty.
        name: Text,
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Plaintext or TLS.
        scheme: Scheme,
        /// Host name or address; ignored when `upstream` is set.
        host: Text,
        /// Port; ignored when `upstream` is set.
        port: u32,
        /// Path put before the request's, may be empty.
        path: Text,
        /// Further tries after a failed one.
        retries: u32,
        /// Milliseconds.
        connect_timeout: u32,
        /// Milliseconds between two writes.
        write_timeout: u32,
        /// Milliseconds between two reads.
        read_timeout: u32,
        /// The upstream whose name the host is.
        upstream: Option<Id<Upstream>>,
        /// Whether the server's certificate is verified.
        verify: Verify,
        /// Certificates that may stand between the server's and an authority's; `u32::MAX` for any number.
        verify_depth: u32,
        /// Authorities to verify against instead of the system's.
        authorities: Rows<Authority>,
        /// Certificate shown to the server.
        client_certificate: Option<Id<Certificate>>,
        /// Whether connections begin with a PROXY header.
        proxy_protocol: ProxyProtocol,
        /// What is spoken on them.
        http: HttpVersion,
        /// Milliseconds after which a request without an answer goes to another target, too; 0 for never.
        hedge_after: u32,
        /// JSON of the entity as Kong logs it.
        json: Text,
    }
    /// A named set of targets.
    Upstream {
        /// UUID, given or derived.
        id: Text,
        /// Name.
        name: Text,
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// How a target is chosen.
        algorithm: Algorithm,
        /// What consistent hashing reads first.
        hash_on: HashOn,
        /// Name of that header, cookie, argument or group, or of the cookie of sticky sessions; may be empty.
        hash_name: Text,
        /// What it reads when the first is absent.
        hash_fallback: HashOn,
        /// Name of that.
        hash_fallback_name: Text,
        /// `Path` of the cookie.
        cookie_path: Text,
        /// Host header to use instead of the target's, may be empty.
        host_header: Text,
        /// Certificate shown to the targets, when the service has none of its own.
        client_certificate: Option<Id<Certificate>>,
        /// Percent of the weight: the upstream is used while more than this is healthy, 0..=100.
        threshold: f64,
        /// What live traffic counts for.
        passive: Option<Id<HealthRules>>,
        /// How targets are probed.
        active: Option<Id<Probe>>,
        /// Milliseconds in which the weight of a target that is new or back grows to all of it; 0 for at once.
        slow_start: u32,
        /// Requests that an address of a target serves at a time; 0 for any number.
        max_requests: u32,
        /// Requests that wait while every target serves as many; 0..=10000, 0 without such a bound.
        queue: u32,
        /// Milliseconds that one waits at most; not 0 where any may wait.
        queue_timeout: u32,
        /// Failures in a row that eject an address; 0..=65535, 0 for none.
        eject_after: u32,
        /// Milliseconds of the first ejection; not 0 where there are any.
        eject_for: u32,
        /// Percent of the addresses that are out by ejection at once, 0..=100.
        eject_most: u32,
        /// The targets.
        targets: Rows<Target>,
    }
    /// A server of an upstream.
    Target {
        /// Host name or address.
        host: Text,
        /// Port.
        port: u32,
        /// Share of the requests, 0..=65535.
        weight: u32,
        /// `host:port` as written.
        name: Text,
    }
    /// A certificate chain with its key.
    Certificate {
        /// UUID, given or derived.
        id: Text,
        /// PEM.
        chain: Text,
        /// PEM of the key.
        key: Id<Secret>,
    }
    /// A server name and its certificate.
    Sni {
        /// Lower-case name; `*.x` and `x.*` allowed, `*` is the default.
        name: Text,
        /// The certificate.
        certificate: Id<Certificate>,
    }
    /// A trusted certificate authority.
    Authority {
        /// PEM.
        certificate: Text,
    }
    /// A value that never stands in the artifact.
    Secret {
        /// Where it comes from.
        kind: SecretKind,
        /// The text with references (vault), or the name in the sealed file.
        text: Text,
    }
    /// An authenticated caller.
    Consumer {
        /// Groups of the consumer's `acls`: a bit set over the artifact's ACL groups.
        acl: Rows<Word>,
        /// Consumer groups in the order of their names.
        groups: Rows<Membership>,
        /// UUID, given or derived.
        id: Text,
        /// User name, may be empty.
        username: Text,
        /// Custom id, may be empty.
        custom_id: Text,
        /// Names of those groups joined by `, `.
        acl_header: Text,
        /// JSON of the entity as Kong logs it.
        json: Text,
    }
    /// A consumer group. Row order is name order.
    Group {
        /// UUID, given or derived.
        id: Text,
        /// Name.
        name: Text,
    }
    /// A consumer's membership.
    Membership {
        /// The group.
        group: Id<Group>,
    }
    /// What a consumer proves its identity with.
    Credential {
        /// Salted SHA-256 of the key or user name.
        lookup: [u8; 32],
        /// Who it belongs to.
        consumer: Id<Consumer>,
        /// What must be proved beyond the look-up.
        proof: Proof,
        /// Digest of the proof; zero for [`Proof::Lookup`].
        digest: [u8; 32],
        /// UUID, given or derived.
        id: Text,
        /// `X-Credential-Identifier`: the id for keys, the user name for basic-auth.
        identifier: Text,
    }
}
