//! Requests for artifacts that nobody meant to write.

use policy::field::BodyLength;
use policy::isa::Entry;
use policy::table::Table;
use policy::vm::{self, State, Verdict};
use policy::{Policy, route, stream};

use super::request::Request;

/// Requests that reach every route of the estate and every table behind it.
pub(crate) fn probes() -> Vec<Request> {
    let mut probes = Vec::new();
    for host in ["api.test", "x.api.test", "api.org", "port.test", ""] {
        for (path, key) in [
            ("/v1/x", "key-bob"),
            ("/users/12", "?"),
            ("/users/me", "key-alice"),
            ("/keys", "key-alice"),
            ("/anonymous", "key-bob"),
            ("/body", "key-carol"),
            ("/basic", "key-carol"),
        ] {
            probes.push(
                Request::new("PURGE", host, path)
                    .port(8443)
                    .tls("a.tls.test")
                    .with_header("x-version", "b12")
                    .with_header("apikey", key)
                    .with_header("authorization", "Basic YWxpY2U6b3BlbiBzZXNhbWU=")
                    .argument("X-Trigger", "")
                    .member("apikey", key)
                    .body(BodyLength::Unknown),
            );
        }
    }
    probes.push(
        Request::new("OPTIONS", "api.test", "/v1")
            .with_header("x-version", "1")
            .with_header("origin", "https://a.test")
            .with_header("access-control-request-method", "GET"),
    );
    probes
}

/// Connections that reach every route for them.
pub(crate) fn connect(policy: &Policy) {
    for name in [None, Some(&b"a.test"[..]), Some(b"x.b.test"), Some(b"")] {
        for (address, port) in [(Some(5), 443), (Some(15), 4000), (Some(u128::MAX), 0), (None, 0)] {
            let end = stream::End { address, port };
            let connection = stream::Connection {
                source: end,
                destination: end,
                server_name: name,
            };
            if let Some(found) = stream::find(policy, &connection) {
                assert!(found.number() < policy.count(Table::StreamRoute));
            }
        }
    }
}

/// Judges a request from end to end; what is returned does not matter, only that it is.
pub(crate) fn judge(policy: &Policy, mut request: Request) -> Option<Verdict> {
    let found = route::find(policy, &request);
    let route = found.map_or(policy.meta().unmatched, |found| found.route);
    let mut state = State::default();
    let mut last = None;
    for entry in Entry::ALL {
        let mut verdict = vm::run(policy, route, entry, &mut state, &mut request);
        let mut waits = 0;
        while matches!(verdict, Verdict::Wait(_)) {
            waits += 1;
            assert!(waits < 100_000, "a program that never ends");
            request.body_read = true;
            verdict = vm::resume(policy, &mut state, &mut request);
        }
        assert!(state.effects().iter().count() <= vm::EFFECTS_MAX);
        last = Some(verdict);
    }
    last
}
