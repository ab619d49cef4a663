//! No damage gets through: not by chance, and not behind recomputed digests.

use policy::artifact::Limits;
use policy::isa::Entry;
use policy::vm::{self, State, Verdict};
use policy::{Policy, route};

use crate::sample;
use crate::sample::request::Request;
use crate::sample::tamper;

#[test]
fn every_flipped_bit_is_refused() {
    let mut file = sample::tiny();
    assert!(Policy::load(&file, Limits::default()).is_ok());
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(Policy::load(&file, Limits::default()).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_flipped_bit_of_every_few_bytes_of_the_estate_is_refused() {
    let mut file = sample::estate().finish().file;
    for bit in (0..file.len() * 8).step_by(149) {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(Policy::load(&file, Limits::default()).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_is_refused() {
    let file = sample::estate().finish().file;
    for len in 0..file.len() {
        assert!(
            Policy::load(&file[..len], Limits::default()).is_err(),
            "{len} bytes"
        );
    }
}

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
                    .body(policy::field::BodyLength::Unknown),
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

/// Flips bits of every section, makes the digests right again, and runs whatever is admitted.
#[test]
fn what_is_admitted_behind_its_digests_runs_without_a_panic() {
    const STRIDE: usize = 37;
    let original = sample::estate().finish().file;
    let probes = probes();
    let (mut tried, mut admitted) = (0, 0);
    for section in tamper::sections(&original) {
        // Long sections are automata and texts: fewer of their bits, all kinds of them.
        let stride = if section.len > 4096 { STRIDE * 7 } else { STRIDE };
        for bit in (0..section.len * 8).step_by(stride) {
            let mut file = original.clone();
            file[section.offset + bit / 8] ^= 1 << (bit % 8);
            tamper::seal(&mut file, &section);
            tried += 1;
            let Ok(policy) = Policy::load(&file, Limits::default()) else {
                continue;
            };
            admitted += 1;
            for probe in &probes {
                judge(&policy, probe.clone());
            }
        }
    }
    assert!(tried > 1000, "{tried} flips");
    assert!(
        admitted > 100,
        "{admitted} of {tried} flips change what a file says, not whether it is sound"
    );
}
