//! Tables that answer "which route?": hosts, path trees, regexes and the tests that remain.
//!
//! A *subroute* is a route, or one path group of it, with its own place in Kong's order; its row number is its
//! rank, lowest first. Every request takes the lowest ranked subroute that matches.

use super::{Automaton, Code, Id, Rows, Service, Text, choice, rows};

choice! {
    /// Which Kong release's defaults the file was compiled with.
    Compat {
        /// Kong 3.9, the last open release.
        V3_9 = "3.9",
        /// Kong 3.15.
        V3_15 = "3.15",
    }
    /// Status of the answer to a plaintext request for an https-only route (Kong `https_redirect_status_code`).
    HttpsRedirect {
        /// 426 with an upgrade header.
        S426 = "426",
        /// 301.
        S301 = "301",
        /// 302.
        S302 = "302",
        /// 307.
        S307 = "307",
        /// 308.
        S308 = "308",
    }
    /// How much a route matters when not everything can be served.
    Priority {
        /// Turned away first.
        Low = "low",
        /// Where nothing is said.
        Normal = "normal",
        /// Turned away last.
        High = "high",
        /// Never turned away: health checks, and what must get through.
        Critical = "critical",
    }
}

rows! {
    /// What holds for the whole artifact. Exactly one row.
    Meta {
        /// Which version's defaults were used.
        compat: Compat,
        /// Key of every keyed hash in the file: 32 bytes derived from the source.
        salt: [u8; 32],
        /// Workspace of the file (`_workspace`), or `default`.
        workspace: Text,
        /// Hosts in slot order of `host_seeds`.
        hosts: Rows<Host>,
        /// Perfect hash over [`Host::key`].
        host_seeds: Rows<Seed>,
        /// Whether any host is written `*.x`.
        suffix_hosts: bool,
        /// Whether any host is written `x.*`.
        prefix_hosts: bool,
        /// Whether any host carries a port.
        port_hosts: bool,
        /// Subroutes without a host.
        any_host: Option<Id<Bucket>>,
        /// Worst case of finding the route, in cost units.
        route_cost: u32,
        /// key-auth credentials in slot order of `key_seeds`.
        keys: Rows<super::Credential>,
        /// Perfect hash over [`super::Credential::lookup`] of the keys.
        key_seeds: Rows<Seed>,
        /// basic-auth credentials in slot order of `basic_seeds`.
        basics: Rows<super::Credential>,
        /// Perfect hash over [`super::Credential::lookup`] of the user names.
        basic_seeds: Rows<Seed>,
        /// What runs when no route matched: global plugins' response phases.
        unmatched: Id<Route>,
        /// Certificates by server name.
        snis: Rows<super::Sni>,
    }
    /// Where something stands in the source.
    Source {
        /// Path as given on the command line.
        file: Text,
        /// Line from 1.
        line: u32,
        /// Column from 1.
        column: u32,
    }
    /// One host pattern.
    Host {
        /// `example.com`, `.example.com` for `*.example.com`, `example.` for `example.*`; with `:port` when the
        /// route names one. Lower case.
        key: Text,
        /// Subroutes for it.
        bucket: Id<Bucket>,
    }
    /// The subroutes of one host pattern, by how their path is tested.
    Bucket {
        /// Tree of path prefixes.
        prefixes: Option<Id<Node>>,
        /// Subroutes with regexes, in rank order.
        regexes: Rows<Candidate>,
        /// Subroutes without a path, in rank order.
        bare: Rows<Candidate>,
    }
    /// A node of a path tree. Children come after their parent, so the tree has no cycle.
    Node {
        /// Bytes on the edge that leads here; empty only at a root.
        label: Text,
        /// Children, ordered by the first byte of their labels, which are distinct.
        children: Rows<Node>,
        /// Subroutes whose prefix ends here, in rank order.
        candidates: Rows<Candidate>,
    }
    /// A subroute to be tested.
    Candidate {
        /// The subroute.
        subroute: Id<Subroute>,
    }
    /// One entry of Kong's order.
    Subroute {
        /// The route it belongs to.
        route: Id<Route>,
        /// Bits of [`crate::field::Method`]; 0 means any method.
        methods: u32,
        /// Methods without a bit of their own.
        other_methods: Rows<Name>,
        /// Headers that must all match.
        headers: Rows<HeaderTest>,
        /// Server names, one of which must match when the request came over TLS; `*.x` and `x.*` allowed.
        snis: Rows<Name>,
        /// The path test, when it is a regex.
        regex: Option<Id<Regex>>,
        /// Kong's 64-bit priority, for `explain`.
        priority: u64,
        /// Bytes of the path prefix, which all prefixes of this subroute share.
        prefix_len: u32,
    }
    /// `headers` of a route: one name and its alternatives.
    HeaderTest {
        /// Lower-case name.
        name: Text,
        /// Lower-case values, one of which must be equal.
        values: Rows<Name>,
        /// Regex alternatives over the lower-case value (`~*`).
        regex: Option<Id<Regex>>,
    }
    /// A bit set's word.
    Word {
        /// 32 members, lowest first.
        bits: u32,
    }
    /// A text in a list.
    Name {
        /// The text.
        text: Text,
    }
    /// One bucket of a perfect hash; see [`crate::index`].
    Seed {
        /// Displacement.
        seed: u32,
    }
    /// A regex, compiled to an anchored DFA.
    Regex {
        /// `regex-automata` dense DFA, little endian, anchored, leftmost-first.
        dfa: Automaton,
        /// Patterns in their order, as operators wrote them without the leading `~`.
        patterns: Rows<Name>,
    }
    /// A route: how requests to it are judged and forwarded.
    Route {
        /// Entry for the request head.
        on_request: Code,
        /// Entry for the whole request body.
        on_body: Code,
        /// Entry for the response head.
        on_response: Code,
        /// Entry for each piece of the response body.
        on_chunk: Code,
        /// Entry for the end of the exchange.
        on_end: Code,
        /// Worst case of all entries, in cost units; the verifier proves it.
        cost: u32,
        /// UUID, given or derived.
        id: Text,
        /// Name, may be empty.
        name: Text,
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Where requests go; absent for routes that only run plugins.
        service: Option<Id<Service>>,
        /// Bits: 1 http, 2 https, 4 grpc, 8 grpcs, 16 ws, 32 wss; or 64 tcp, 128 tls; or 256 tls_passthrough.
        protocols: u32,
        /// How plaintext requests are answered when only secure protocols are listed.
        https_redirect: HttpsRedirect,
        /// Whether the matched path is cut before the upstream sees it.
        strip_path: bool,
        /// Whether the client's Host goes to the upstream.
        preserve_host: bool,
        /// How much it matters when not everything can be served.
        priority: Priority,
        /// JSON of the entity as Kong logs it.
        json: Text,
    }
}

impl Meta {
    /// An artifact without hosts, routes and credentials: what is there is set over it.
    pub const EMPTY: Self = Self {
        compat: Compat::V3_9,
        salt: [0; 32],
        workspace: Text::EMPTY,
        hosts: Rows::NONE,
        host_seeds: Rows::NONE,
        suffix_hosts: false,
        prefix_hosts: false,
        port_hosts: false,
        any_host: None,
        route_cost: 0,
        keys: Rows::NONE,
        key_seeds: Rows::NONE,
        basics: Rows::NONE,
        basic_seeds: Rows::NONE,
        unmatched: Id::new(0),
        snis: Rows::NONE,
    };
}

impl Route {
    /// A route to nowhere that runs nothing. Its cost is the builder's to state.
    pub const EMPTY: Self = Self {
        id: Text::EMPTY,
        name: Text::EMPTY,
        source: None,
        service: None,
        // http and https.
        protocols: 3,
        https_redirect: HttpsRedirect::S426,
        strip_path: false,
        preserve_host: false,
        priority: Priority::Normal,
        json: Text::EMPTY,
        on_request: Code(None),
        on_body: Code(None),
        on_response: Code(None),
        on_chunk: Code(None),
        on_end: Code(None),
        cost: 0,
    };
}
