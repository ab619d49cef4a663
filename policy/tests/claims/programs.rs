//! The machine and the reference interpreter agree on random programs, and no path costs more than was proved.

use policy::isa::{Entry, Op};
use policy::vm::{self, State, Verdict};
use policy::{Policy, table};
use proptest::prelude::*;

use crate::reference::{self, Outcome};
use crate::sample::random::{Entropy, program, request};
use crate::sample::request::Request;
use crate::sample::{Entries, Scene};

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

fn entropy(len: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn machine_and_reference_agree(
        programs in proptest::collection::vec(entropy(220), 6),
        requests in proptest::collection::vec(entropy(48), 24),
    ) {
        for bytes in &programs {
            let mut scene = Scene::new();
            let code = program(&mut Entropy::new(bytes), &scene.builder, 28);
            scene.program("random", code);
            // What the verifier does not admit is not run.
            let Ok((file, routes)) = scene.try_finish() else { continue };
            let Ok(policy) = Policy::load(&file, policy::artifact::Limits::default()) else { continue };
            for bytes in &requests {
                compare(&policy, routes["random"], &request(&mut Entropy::new(bytes)));
            }
        }
    }
}

#[test]
fn most_random_programs_verify_and_reach_every_operation() {
    let (mut verified, mut seen) = (0, std::collections::BTreeSet::new());
    for seed in 0u64..400 {
        let bytes = stream(seed, 220);
        let mut scene = Scene::new();
        let code = program(&mut Entropy::new(&bytes), &scene.builder, 28);
        scene.program("random", code.clone());
        if scene.try_finish().is_ok() {
            verified += 1;
            seen.extend(code.iter().map(|instr| instr.op as u8));
        }
    }
    assert!(verified > 200, "{verified} of 400");
    assert_eq!(
        seen.len(),
        Op::ALL.len(),
        "an oracle that never meets an operation says nothing of it"
    );
}

/// Programs of the estate's own routes, on many requests.
#[test]
fn the_estate_runs_as_the_reference_says() {
    let sample = crate::sample::estate().finish();
    let mut verdicts = std::collections::BTreeSet::new();
    for seed in 0..3000 {
        let request = request(&mut Entropy::new(&stream(seed, 48)));
        for name in ["api", "keys", "basic", "anonymous", "body"] {
            let outcome = compare(&sample.policy, sample.routes[name], &request);
            verdicts.insert(format!("{name} {:?}", outcome.verdict));
        }
    }
    assert!(verdicts.len() > 20, "{verdicts:?}");
}

#[test]
fn the_longest_path_is_what_is_proved() {
    use crate::sample::assembly::Assembly;
    let costs = |program: Vec<policy::isa::Instr>| {
        let mut scene = Scene::new();
        let entries = Entries {
            request: program.clone(),
            end: vec![policy::isa::Instr {
                op: Op::Forward,
                a: 0,
                to: 0,
                imm: 0,
            }],
            ..Entries::default()
        };
        let id = scene.route("r", crate::sample::router::Wanted::default(), &entries);
        scene.finish().policy.get(id).cost
    };
    let forward = Op::Forward.cost();
    let branch = Assembly::new()
        .test(Op::Header, 0, 0, "long")
        .op(Op::Forward, 0, 0)
        .place("long")
        .test(Op::Query, 0, 0, "end")
        .place("end")
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(
        costs(branch),
        Op::Header.cost() + Op::Query.cost() + forward + forward
    );
}

/// Bytes that look random.
pub(crate) fn stream(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}
