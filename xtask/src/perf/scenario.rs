//! The scenarios: what the load generator asks for, and which peers can answer it.

use super::peer::Kind;

/// One thing to measure.
pub(crate) struct Scenario {
    /// Name in results.
    pub(crate) name: &'static str,
    /// One line for readers of the results.
    pub(crate) what: &'static str,
    /// Client connections.
    pub(crate) connections: usize,
    /// The wrk script under `perf/peers`.
    pub(crate) script: &'static str,
    /// Environment of the script.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// The policy that tollgate enforces; the peers only proxy.
    pub(crate) policy: Policy,
    /// Who takes turns.
    pub(crate) peers: &'static [Kind],
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

const ALL: &[Kind] = &[Kind::Nginx, Kind::Haproxy, Kind::Tollgate];

/// Every scenario, in the order of the results.
pub(crate) fn all() -> Vec<Scenario> {
    let rest = Policy::Rest {
        routes: 10,
        consumers: 10,
    };
    vec![
        Scenario {
            name: "bare",
            what: "proxying alone, 64 connections",
            connections: 64,
            script: "get.lua",
            env: &[],
            policy: Policy::None,
            peers: ALL,
        },
        Scenario {
            name: "policy",
            what: "tollgate with key-auth, acl, rate-limiting and prometheus; the peers proxy alone",
            connections: 64,
            script: "get.lua",
            env: &[("PATHS", "10")],
            policy: rest,
            peers: ALL,
        },
        Scenario {
            name: "policy-1024",
            what: "the same with 1,024 connections",
            connections: 1024,
            script: "get.lua",
            env: &[("PATHS", "10")],
            policy: rest,
            peers: ALL,
        },
        Scenario {
            name: "routes-10k",
            what: "the same with 10,000 routes and 100,000 consumers",
            connections: 64,
            script: "get.lua",
            env: &[("PATHS", "10000")],
            policy: Policy::Rest {
                routes: 10_000,
                consumers: 100_000,
            },
            peers: ALL,
        },
        Scenario {
            name: "llm-json",
            what: "chat completions; tollgate with key-auth, ai-proxy and a token budget",
            connections: 64,
            script: "chat.lua",
            env: &[],
            policy: Policy::Llm,
            peers: ALL,
        },
        Scenario {
            name: "llm-sse-50",
            what: "streamed chat completions of 50 chunks; tollgate meters them against a budget",
            connections: 64,
            script: "chat.lua",
            env: &[("STREAM", "1")],
            policy: Policy::Llm,
            peers: ALL,
        },
    ]
}
