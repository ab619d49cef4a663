//! The scenarios: what clients ask for and how, what answers, and which goal the project has for it.

use super::peer::Kind;

/// One thing to measure.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Name in results.
    pub(crate) name: &'static str,
    /// One line for readers of the results.
    pub(crate) what: &'static str,
    /// Client connections.
    pub(crate) connections: usize,
    /// Whether clients come over TLS 1.3.
    pub(crate) tls: bool,
    /// Path that is asked for, unless a script makes its own.
    pub(crate) path: &'static str,
    /// What puts the load on.
    pub(crate) load: Load,
    /// What answers behind the gateways.
    pub(crate) upstream: Upstream,
    /// The policy that tollgate enforces; the peers only proxy.
    pub(crate) policy: Policy,
    /// Who takes turns.
    pub(crate) peers: &'static [Kind],
    /// What tollgate's CPU is held to.
    pub(crate) goal: Option<Goal>,
    /// Whether bodies are also held up by a slow reader, to see what the gateways keep of them.
    pub(crate) held_up: bool,
}

/// What puts the load on.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// wrk: HTTP/1.1 on kept connections.
    Wrk {
        /// Script below `perf/peers`.
        script: &'static str,
        /// Environment of the script.
        env: &'static [(&'static str, &'static str)],
    },
    /// h2load: HTTP/2, with this many streams at a time on each connection.
    H2load { streams: usize, call: Call },
    /// A thread of this program for each connection, one exchange after the other.
    Drive(Exchange),
}

/// What a stream of h2load asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// A GET.
    Get,
    /// A unary gRPC call.
    Grpc,
}

/// What a thread of this program counts as one request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// A connection with a full TLS handshake and one GET on it.
    Handshake,
    /// A WebSocket message of 1 KiB and its echo.
    Echo,
    /// A GET whose answer has this many bytes.
    Download(u64),
    /// A POST of this many bytes.
    Upload(u64),
}

/// What answers behind the gateways.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// nginx: 1 KiB, or a recorded LLM answer.
    Web,
    /// The scripted model: 50 events.
    Stream,
    /// nginx over HTTP/2: a gRPC message and trailers.
    Grpc,
    /// A WebSocket echo.
    Echo,
    /// Bodies of any size, both ways.
    Bodies,
}

/// What tollgate does beyond proxying.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing.
    None,
    /// key-auth, acl, rate-limiting and prometheus on `routes` routes with `consumers` consumers.
    Rest { routes: usize, consumers: usize },
    /// ai-proxy with key-auth and a token budget.
    Llm,
}

/// The most CPU per request that tollgate may take, as a part of somebody else's.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    /// The part.
    pub(crate) at_most: f64,
    /// Of whose.
    pub(crate) of: Than,
}

/// Whom a goal compares with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Than {
    /// Whoever of the peers takes less.
    BetterPeer,
    /// nginx.
    Nginx,
}

/// The most that a connection whose body is held up may take of tollgate's memory, in KiB.
pub(crate) const HELD_KIB: f64 = 256.0;

const MIB: u64 = 1 << 20;
const THREE_QUARTERS: Option<Goal> = Some(Goal {
    at_most: 0.75,
    of: Than::BetterPeer,
});

/// The plainest scenario, which the others change.
pub(crate) const BARE: Scenario = Scenario {
    name: "bare",
    what: "proxying alone, 64 connections",
    connections: 64,
    tls: false,
    path: "/",
    load: Load::Wrk {
        script: "get.lua",
        env: &[],
    },
    upstream: Upstream::Web,
    policy: Policy::None,
    peers: &[Kind::Nginx, Kind::Haproxy, Kind::Tollgate],
    goal: None,
    held_up: false,
};

/// Every scenario, in the order of the results.
pub(crate) fn all() -> Vec<Scenario> {
    let groups: [&[Scenario]; 3] = [&policies(), &edge(), &bodies()];
    groups.concat()
}

/// What a policy costs.
fn policies() -> [Scenario; 6] {
    let policy = Scenario {
        name: "policy",
        what: "tollgate with key-auth, acl, rate-limiting and prometheus; the peers proxy alone",
        load: Load::Wrk {
            script: "get.lua",
            env: &[("PATHS", "10")],
        },
        policy: Policy::Rest {
            routes: 10,
            consumers: 10,
        },
        ..BARE
    };
    let llm = Scenario {
        name: "llm-json",
        what: "chat completions; tollgate with key-auth, ai-proxy and a token budget",
        path: "/v1/chat/completions",
        load: Load::Wrk {
            script: "chat.lua",
            env: &[],
        },
        policy: Policy::Llm,
        ..BARE
    };
    [
        BARE,
        policy,
        Scenario {
            name: "policy-1024",
            what: "the same with 1,024 connections",
            connections: 1024,
            ..policy
        },
        Scenario {
            name: "routes-10k",
            what: "the same with 10,000 routes and 100,000 consumers",
            load: Load::Wrk {
                script: "get.lua",
                env: &[("PATHS", "10000")],
            },
            policy: Policy::Rest {
                routes: 10_000,
                consumers: 100_000,
            },
            ..policy
        },
        llm,
        Scenario {
            name: "llm-sse-50",
            what: "streamed chat completions of 50 chunks; tollgate meters them against a budget",
            load: Load::Wrk {
                script: "chat.lua",
                env: &[("STREAM", "1")],
            },
            upstream: Upstream::Stream,
            ..llm
        },
    ]
}

/// What the ways cost that clients come by.
fn edge() -> [Scenario; 5] {
    let tls = Scenario {
        name: "tls",
        what: "HTTP/1.1 over TLS 1.3, 64 kept connections",
        tls: true,
        goal: THREE_QUARTERS,
        ..BARE
    };
    [
        tls,
        Scenario {
            name: "handshake",
            what: "a connection with a full TLS 1.3 handshake (X25519, ECDSA P-256, nothing resumed) and one GET; each server \
                   sends the session tickets that it sends by default",
            connections: 16,
            load: Load::Drive(Exchange::Handshake),
            goal: Some(Goal {
                at_most: 1.0,
                of: Than::Nginx,
            }),
            ..tls
        },
        Scenario {
            name: "h2",
            what: "HTTP/2 over TLS 1.3, 16 connections with 20 streams each; HTTP/1.1 to the origin",
            connections: 16,
            load: Load::H2load {
                streams: 20,
                call: Call::Get,
            },
            ..tls
        },
        Scenario {
            name: "grpc",
            what: "unary gRPC calls over TLS 1.3, 16 connections with 20 streams each; HTTP/2 to the origin",
            connections: 16,
            path: "/perf.Echo/Say",
            load: Load::H2load {
                streams: 20,
                call: Call::Grpc,
            },
            upstream: Upstream::Grpc,
            ..tls
        },
        Scenario {
            name: "websocket",
            what: "WebSocket messages of 1 KiB and their echoes, 64 connections",
            load: Load::Drive(Exchange::Echo),
            upstream: Upstream::Echo,
            goal: THREE_QUARTERS,
            ..BARE
        },
    ]
}

/// What bytes cost.
fn bodies() -> [Scenario; 4] {
    let small = Scenario {
        name: "down-1m",
        what: "answers of 1 MiB, 16 connections; all gateways may buffer 256 KiB for each",
        connections: 16,
        load: Load::Drive(Exchange::Download(MIB)),
        upstream: Upstream::Bodies,
        goal: THREE_QUARTERS,
        ..BARE
    };
    let large = Scenario {
        name: "down-64m",
        what: "answers of 64 MiB, 4 connections; all gateways may buffer 256 KiB for each",
        connections: 4,
        load: Load::Drive(Exchange::Download(64 * MIB)),
        held_up: true,
        ..small
    };
    [
        small,
        Scenario {
            name: "up-1m",
            what: "requests of 1 MiB, 16 connections; all gateways may buffer 256 KiB for each",
            load: Load::Drive(Exchange::Upload(MIB)),
            ..small
        },
        large,
        Scenario {
            name: "up-64m",
            what: "requests of 64 MiB, 4 connections; all gateways may buffer 256 KiB for each",
            load: Load::Drive(Exchange::Upload(64 * MIB)),
            ..large
        },
    ]
}
