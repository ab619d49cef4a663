//! What one decision costs: route, key, acl and quota, at ten routes and at ten thousand with a hundred thousand keys.
//!
//! Calls come in random order from many, so that tables are met as cold as a gateway meets them. Two general engines
//! judge the same estate in the same run; what they leave out is said at each of them.

mod estate;
mod peers;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::artifact::Limits;
use policy::isa::Entry;
use policy::vm::{self, State, Verdict};
use policy::{Policy, route};
use proxy::quota::Table;

use estate::{Asked, Call, Size, Traffic};

const SIZES: [Size; 2] = [
    Size {
        routes: 10,
        keys: 100,
    },
    Size {
        routes: 10_000,
        keys: 100_000,
    },
];

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for size in SIZES {
        let file = estate::artifact(size);
        let policy = Policy::load(&file, Limits::default()).expect("the builder proved it");
        policy
            .memory()
            .into_iter()
            .for_each(proxy::memory::prefer_huge_pages);
        proxy::memory::prefer_huge_pages(policy.callers());
        let counters = Table::new(proxy::limits::QUOTA_COUNTERS);
        counters.expect(policy.callers().len());
        for traffic in [Traffic::Busy, Traffic::Uniform] {
            let calls = estate::calls(size, traffic);
            let label = |what: &str| BenchmarkId::new(format!("{what}, {traffic}"), size);
            group.bench_function(label("route"), |bencher| {
                let mut next = calls.iter().cycle();
                bencher.iter(|| route::find(&policy, &ask(&policy, &counters, next.next())));
            });
            group.bench_function(label("route, key, acl, quota"), |bencher| {
                let (mut next, mut state) = (calls.iter().cycle(), State::default());
                bencher.iter(|| judge(&mut state, ask(&policy, &counters, next.next())));
            });
        }
    }
    // What no table's size changes.
    let calls = estate::calls(SIZES[0], Traffic::Uniform);
    group.bench_function("digest of a key", |bencher| {
        let salted = estate::salted();
        let mut next = calls.iter().cycle();
        bencher.iter(|| estate::digest(&salted, next.next().expect("it cycles")));
    });
    group.finish();
}

fn ask<'a>(policy: &'a Policy, counters: &'a Table, call: Option<&'a Call>) -> Asked<'a> {
    Asked {
        call: call.expect("it cycles"),
        policy,
        counters,
    }
}

fn judge(state: &mut State, mut asked: Asked<'_>) -> Verdict {
    let policy = asked.policy;
    let found = route::find(policy, &asked).expect("every call has a route");
    let verdict = vm::run(policy, found.route, Entry::Request, state, &mut asked);
    assert_eq!(verdict, Verdict::Forward);
    verdict
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for size in SIZES {
        let file = estate::artifact(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher
                .iter(|| Policy::load(black_box(&file), Limits::default()).map(|policy| policy.code_len()));
        });
    }
    group.finish();
}

fn peer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peer");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for size in SIZES {
        let calls = estate::calls(size, Traffic::Uniform);
        let cedar = peers::Cedar::new(size);
        group.bench_function(BenchmarkId::new("cedar: acl", size), |bencher| {
            let mut next = calls.iter().cycle();
            bencher.iter(|| assert!(cedar.allows(next.next().expect("it cycles"))));
        });
        let mut regorus = peers::Regorus::new(size);
        group.bench_function(BenchmarkId::new("regorus: route, key, acl", size), |bencher| {
            let mut next = calls.iter().cycle();
            bencher.iter(|| assert!(regorus.allows(next.next().expect("it cycles"))));
        });
    }
    group.finish();
}

criterion_group!(benches, decision, load, peer);
criterion_main!(benches);
