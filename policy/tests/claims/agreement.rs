//! One request on the machine and on the reference interpreter.

use policy::isa::Entry;
use policy::vm::{self, State, Verdict};
use policy::{Policy, table};

use crate::reference::{self, Outcome};
use crate::sample::request::Request;

/// Runs a route's request entry on the machine, answering every question at once.
pub(crate) fn machine(policy: &Policy, route: table::Id<table::Route>, request: &mut Request) -> Outcome {
    let mut state = State::default();
    let mut waits = 0;
    let mut verdict = vm::run(policy, route, Entry::Request, &mut state, request);
    while let Verdict::Wait(_) = verdict {
        waits += 1;
        request.body_read = true;
        verdict = vm::resume(policy, &mut state, request);
    }
    Outcome {
        verdict: Some(verdict),
        effects: state
            .effects()
            .iter()
            .map(|effect| (effect.table, effect.row))
            .collect(),
        consumer: state.consumer.map(table::Id::number),
        credential: state.credential.map(table::Id::number),
        anonymous: state.anonymous,
        denied_by: state.denied_by.map(table::Id::number),
        waits,
        asked: request.asked.clone(),
        cost: 0,
    }
}

/// Both on the same request; how much of the proven cost was used.
pub(crate) fn compare(policy: &Policy, route: table::Id<table::Route>, request: &Request) -> Outcome {
    let row = policy.get(route);
    let start = row.on_request.0.expect("the route has a program");
    let wanted = reference::run(policy, start, Outcome::default(), &mut request.clone());
    assert!(
        wanted.cost <= row.cost,
        "{} spent, {} proved",
        wanted.cost,
        row.cost
    );
    let cost = wanted.cost;
    let found = machine(policy, route, &mut request.clone());
    assert_eq!(Outcome { cost: 0, ..wanted }, found, "{request:?}");
    Outcome { cost, ..found }
}
