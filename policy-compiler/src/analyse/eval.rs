//! One request against an artifact, with the search and the VM of the gateway.

use policy::Policy;
use policy::field::Exchange as _;
use policy::isa::Entry;
use policy::route::{self, Match};
use policy::table::{Budget, Consumer, Id, Quota};
use policy::vm::{self, Effect, State, Verdict};

use super::Request;

/// What an artifact makes of a request.
pub struct Judgement {
    /// The route, if any matched.
    pub matched: Option<Match>,
    /// How the request's own entries ended. [`Verdict::Forward`] when no route matched: the gateway answers 404.
    pub verdict: Verdict,
    /// Whether the body had to be read for that.
    pub body_read: bool,
    /// The caller.
    pub consumer: Option<Id<Consumer>>,
    /// Whether the caller is an anonymous consumer.
    pub anonymous: bool,
    /// What the exchange would apply, in order.
    pub applied: Vec<Applied>,
    /// Quotas that were asked.
    pub quotas: Vec<Id<Quota>>,
    /// Budgets that were asked.
    pub budgets: Vec<Id<Budget>>,
}

/// One effect and the phase that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The phase.
    pub entry: Entry,
    /// The effect.
    pub effect: Effect,
}

/// Judges a request, with a plain answer of the upstream in mind.
pub fn judge(policy: &Policy, request: &Request) -> Judgement {
    let mut exchange = request.exchange();
    let mut state = State::default();
    let matched = route::find(policy, &exchange);
    let route = matched.map_or(policy.meta().unmatched, |found| found.route);
    let mut applied = Vec::new();
    let mut body_read = false;
    let mut verdict = Verdict::Forward;
    if matched.is_some() {
        for entry in [Entry::Request, Entry::Body] {
            if verdict != Verdict::Forward {
                break;
            }
            verdict = vm::run(policy, route, entry, &mut state, &mut exchange);
            while let Verdict::Wait(vm::Question::Body) = verdict {
                body_read = true;
                verdict = vm::resume(policy, &mut state, &mut exchange);
            }
            // The body's entry has no code where no budget asks for it.
            body_read |= entry == Entry::Body && policy.get(route).on_body.0.is_some();
            collect(entry, &state, &mut applied);
        }
        if verdict != Verdict::Forward {
            // Nothing is sent, so nothing of the request is edited.
            applied.clear();
        }
    }
    for entry in [Entry::Response, Entry::End] {
        vm::run(policy, route, entry, &mut state, &mut exchange);
        collect(entry, &state, &mut applied);
    }
    debug_assert!(exchange.path().starts_with(b"/"), "canonical paths are rooted");
    Judgement {
        matched,
        verdict,
        body_read,
        consumer: state.consumer,
        anonymous: state.anonymous,
        applied,
        quotas: exchange.quotas,
        budgets: exchange.budgets,
    }
}

fn collect(entry: Entry, state: &State, out: &mut Vec<Applied>) {
    out.extend(state.effects().iter().map(|effect| Applied { entry, effect }));
}
