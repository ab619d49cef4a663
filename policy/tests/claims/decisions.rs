//! What the machine decides: authentication, acl, addresses, quotas, sizes, precedence, phases. The comments that
//! would repeat Kong's behaviour are left to the names of the tests.

use policy::digest::CREDENTIAL_MAX;
use policy::field::BodyLength;
use policy::isa::{Entry, Op};
use policy::table::{Id, Refusal, Table};
use policy::vm::{self, State, Verdict};

use crate::sample::assembly::Assembly;
use crate::sample::request::Request;
use crate::sample::{self, ALICE, BOB, CAROL, NOBODY, Plugins, Sample, Scene};

struct Judge {
    sample: Sample,
    plugins: Plugins,
}

impl Judge {
    fn new() -> Self {
        let scene = sample::estate();
        let plugins = scene.plugins;
        Self {
            sample: scene.finish(),
            plugins,
        }
    }

    /// A route that runs one gate, then forwards; as `caller`, if one is given.
    fn gate(op: Op, table: Table, row: impl Fn(&Plugins) -> u32, caller: Option<u32>) -> Self {
        let mut scene = Scene::new();
        let mut program = Assembly::new();
        if let Some(caller) = caller {
            program = program.op(Op::Anonymous, 0, caller);
        }
        let program = program
            .constant(0, table, row(&scene.plugins))
            .op(op, 0, 0)
            .op(Op::Forward, 0, 0)
            .finish();
        scene.program("gate", program);
        let plugins = scene.plugins;
        Self {
            sample: scene.finish(),
            plugins,
        }
    }

    fn state(&self, route: &str, request: &mut Request) -> (Verdict, State) {
        let mut state = State::default();
        let route = self.sample.routes[route];
        let verdict = vm::run(&self.sample.policy, route, Entry::Request, &mut state, request);
        (verdict, state)
    }

    fn verdict(&self, route: &str, mut request: Request) -> Verdict {
        self.state(route, &mut request).0
    }

    fn caller(&self, route: &str, mut request: Request) -> Option<u32> {
        let (verdict, state) = self.state(route, &mut request);
        assert_eq!(verdict, Verdict::Forward);
        state.consumer.map(Id::number)
    }
}

fn get() -> Request {
    Request::new("GET", "", "/")
}

fn basic(value: &str) -> Request {
    get().with_header("authorization", value)
}

#[test]
fn a_key_is_looked_for_in_the_header_then_in_the_query() {
    let judge = Judge::new();
    let refuse = |refusal: Id<Refusal>| Verdict::Refuse(refusal);
    let key = |value: &str| get().with_header("apikey", value);
    let p = judge.plugins;
    assert_eq!(judge.verdict("keys", get()), refuse(p.no_key));
    assert_eq!(judge.verdict("keys", key("")), refuse(p.no_key));
    let both = key("").argument("apikey", "key-alice");
    assert_eq!(
        judge.verdict("keys", both),
        refuse(p.no_key),
        "an empty value stops the search"
    );
    assert_eq!(judge.verdict("keys", key("key-mallory")), refuse(p.unauthorized));
    assert_eq!(judge.verdict("keys", key("key-alice ")), refuse(p.unauthorized));
    assert_eq!(judge.verdict("keys", key("KEY-ALICE")), refuse(p.unauthorized));
    let twice = key("key-alice").with_header("apikey", "key-alice");
    assert_eq!(judge.verdict("keys", twice), refuse(p.duplicate));
    let twice = get().argument("apikey", "key-alice").argument("apikey", "x");
    assert_eq!(judge.verdict("keys", twice), refuse(p.duplicate));
    assert_eq!(judge.caller("keys", key("key-alice")), Some(ALICE));
    assert_eq!(
        judge.caller("keys", get().argument("apikey", "key-bob")),
        Some(BOB)
    );
    let both = key("key-alice").argument("apikey", "key-mallory");
    assert_eq!(judge.caller("keys", both), Some(ALICE), "the header comes first");
}

#[test]
fn a_key_of_any_length_is_answered() {
    let judge = Judge::new();
    for len in [1, 63, 64, 65, CREDENTIAL_MAX, CREDENTIAL_MAX + 1, 8192] {
        let request = get().with_header("apikey", "k".repeat(len));
        assert_eq!(
            judge.verdict("keys", request),
            Verdict::Refuse(judge.plugins.unauthorized)
        );
    }
}

#[test]
fn a_password_is_proved_for_its_own_user() {
    let judge = Judge::new();
    let unauthorized = Verdict::Refuse(judge.plugins.unauthorized);
    // alice:open sesame, empty:(nothing), alice:b:b, bob:open sesame, alice, :open sesame, alice:
    assert_eq!(
        judge.caller("basic", basic("Basic YWxpY2U6b3BlbiBzZXNhbWU=")),
        Some(ALICE)
    );
    assert_eq!(
        judge.caller("basic", basic("bAsIc   YWxpY2U6b3BlbiBzZXNhbWU= ")),
        Some(ALICE)
    );
    assert_eq!(judge.caller("basic", basic("Basic ZW1wdHk6")), Some(CAROL));
    for token in [
        "YWxpY2U6Yjpi",
        "Ym9iOm9wZW4gc2VzYW1l",
        "YWxpY2U=",
        "Om9wZW4gc2VzYW1l",
        "YWxpY2U6",
        "",
        "!!!!",
        "YWxpY2U6b3BlbiBzZXNhbWU",
    ] {
        assert_eq!(
            judge.verdict("basic", basic(&format!("Basic {token}"))),
            unauthorized,
            "{token}"
        );
    }
    for value in [
        "",
        "Basic",
        "Basic ",
        "Bearer YWxpY2U6b3BlbiBzZXNhbWU=",
        "BasicYWxpY2U6b3BlbiBzZXNhbWU=",
    ] {
        assert_eq!(judge.verdict("basic", basic(value)), unauthorized, "{value}");
    }
    let long = format!("Basic {}", "QUFB".repeat(2000));
    assert_eq!(judge.verdict("basic", basic(&long)), unauthorized);
}

#[test]
fn a_password_is_proved_by_kongs_hash_of_it() {
    let judge = Judge::new();
    let unauthorized = Verdict::Refuse(judge.plugins.unauthorized);
    // hashed:open sesame, hashed:open sesam, hashed:(the hash), hashed:
    assert_eq!(
        judge.caller("basic", basic("Basic aGFzaGVkOm9wZW4gc2VzYW1l")),
        Some(ALICE)
    );
    for token in [
        "aGFzaGVkOm9wZW4gc2VzYW0=",
        "aGFzaGVkOjhiZjgyMDk2YzJkZmExYWM5YWRmOTZiYzkxMDk4MDJiZDI2ZjRiY2U=",
        "aGFzaGVkOg==",
    ] {
        assert_eq!(
            judge.verdict("basic", basic(&format!("Basic {token}"))),
            unauthorized,
            "{token}"
        );
    }
}

#[test]
fn a_password_may_hold_colons_and_the_proxy_header_comes_first() {
    let judge = Judge::new();
    let bob = "Basic Ym9iOmI6Yg==";
    let request = get().with_header("proxy-authorization", bob);
    // bob is silver, which the route's acl denies: he was found.
    assert_eq!(
        judge.verdict("basic", request),
        Verdict::Refuse(judge.plugins.forbidden)
    );
    let request = basic("Basic YWxpY2U6b3BlbiBzZXNhbWU=").with_header("proxy-authorization", "Basic eDp5");
    assert_eq!(
        judge.caller("basic", request),
        Some(ALICE),
        "an unknown user there asks the other header"
    );
}

#[test]
fn an_acl_admits_denies_and_tells_nobody_apart() {
    let acl = |allow: bool, caller| {
        let row = move |p: &Plugins| if allow { p.allow } else { p.deny }.number();
        let judge = Judge::gate(Op::Acl, Table::Acl, row, caller);
        match judge.verdict("gate", get()) {
            Verdict::Forward => 200,
            Verdict::Refuse(refusal) => judge.sample.policy.get(refusal).status,
            other => panic!("{other:?}"),
        }
    };
    for (allow, caller, status) in [
        (true, None, 401),
        (false, None, 401),
        (true, Some(ALICE), 200),
        (true, Some(BOB), 200), // black, in the second word
        (true, Some(CAROL), 401),
        (true, Some(NOBODY), 401),
        (false, Some(ALICE), 200),
        (false, Some(BOB), 403),
        (false, Some(CAROL), 200),
        (false, Some(NOBODY), 200),
    ] {
        assert_eq!(acl(allow, caller), status, "allow {allow}, caller {caller:?}");
    }
}

#[test]
fn an_identified_consumer_without_groups_is_forbidden() {
    let judge = Judge::new();
    let carol = get().with_header("apikey", "key-carol");
    assert_eq!(
        judge.verdict("keys", carol),
        Verdict::Refuse(judge.plugins.forbidden)
    );
}

#[test]
fn an_anonymous_consumer_with_other_groups_is_forbidden() {
    // alice, anonymously: gold and alpha, where beta or gamma is asked for.
    let judge = Judge::gate(Op::Acl, Table::Acl, |p| p.allow_groups.number(), Some(ALICE));
    assert_eq!(
        judge.verdict("gate", get()),
        Verdict::Refuse(judge.plugins.forbidden)
    );
}

#[test]
fn a_consumer_group_counts_where_the_acl_lists_it() {
    let judge = Judge::new();
    let key = |key: &str| get().with_header("apikey", key);
    let p = judge.plugins;
    assert_eq!(
        judge.caller("anonymous", key("key-bob")),
        Some(BOB),
        "bob is in beta"
    );
    assert_eq!(
        judge.verdict("anonymous", key("key-alice")),
        Verdict::Refuse(p.forbidden)
    );
    assert_eq!(
        judge.verdict("anonymous", key("key-mallory")),
        Verdict::Refuse(p.unauthorized)
    );
}

#[test]
fn membership_counts_however_many_groups_a_consumer_is_in() {
    use policy::table::{Group, Membership};
    let mut scene = Scene::new();
    let first = scene.builder.count::<Group>();
    for number in 0..100 {
        let name = scene.builder.text(&format!("zz{number:03}"));
        scene.builder.row(&Group { id: name, name });
    }
    let membership = |group| Membership {
        group: Id::new(group),
    };
    let all: Vec<Membership> = (first..first + 100).map(membership).collect();
    let alice: policy::table::Consumer = policy::table::Consumer {
        groups: scene.builder.list(&all),
        ..scene.consumer(ALICE)
    };
    scene.builder.set(Id::new(ALICE), &alice);
    let last = scene.builder.list(&[membership(first + 99)]);
    let mut acl = scene.acl(false);
    acl.consumer_groups = last;
    let acl = scene.builder.row(&acl);
    let program = Assembly::new()
        .op(Op::Anonymous, 0, ALICE)
        .constant(0, Table::Acl, acl.number())
        .op(Op::Acl, 0, 0)
        .op(Op::Forward, 0, 0)
        .finish();
    scene.program("gate", program);
    let plugins = scene.plugins;
    let judge = Judge {
        sample: scene.finish(),
        plugins,
    };
    let verdict = judge.verdict("gate", get());
    assert_eq!(
        verdict,
        Verdict::Refuse(plugins.forbidden),
        "a deny list must not overlook a group"
    );
}

#[test]
fn anonymous_takes_the_place_of_who_was_found_before() {
    let mut scene = Scene::new();
    let apikey = scene.builder.names(["apikey"]).first;
    let program = Assembly::new()
        .test(Op::Header, 1, apikey, "out")
        .test(Op::Key, 2, 1, "out")
        .op(Op::Identify, 2, 0)
        .op(Op::Anonymous, 0, NOBODY)
        .test(Op::Authenticated, 0, 0, "out")
        .op(Op::Refuse, 0, scene.plugins.forbidden.number())
        .place("out")
        .op(Op::Forward, 0, 0)
        .finish();
    scene.program("gate", program);
    let plugins = scene.plugins;
    let judge = Judge {
        sample: scene.finish(),
        plugins,
    };
    let (verdict, state) = judge.state("gate", &mut get().with_header("apikey", "key-alice"));
    assert_eq!(verdict, Verdict::Forward, "no credential is left");
    assert_eq!((state.consumer, state.credential), (Some(Id::new(NOBODY)), None));
    assert!(state.anonymous);
}

#[test]
fn addresses_are_denied_before_they_are_allowed() {
    let passes = |strict: bool, address: &str| {
        let row = move |p: &Plugins| if strict { p.strict_ip } else { p.lenient_ip }.number();
        let judge = Judge::gate(Op::Ip, Table::IpRule, row, None);
        judge.verdict("gate", get().from(address)) == Verdict::Forward
    };
    for (address, lenient, strict) in [
        ("9.255.255.255", true, false),
        ("10.0.0.0", false, false),
        ("10.255.255.255", false, false),
        ("11.0.0.0", true, false),
        ("192.168.1.6", true, false),
        ("192.168.1.7", false, false),
        ("192.168.1.8", true, false),
        ("192.0.2.0", true, true),
        ("192.0.3.0", true, false),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true, false),
        ("2001:db8::", false, false),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("2001:db9::", true, false),
        ("::ffff:10.1.2.3", false, false),
    ] {
        assert_eq!(passes(false, address), lenient, "{address}");
        assert_eq!(passes(true, address), strict, "{address}, restricted");
    }
}

#[test]
fn a_peer_without_an_address_is_refused() {
    let judge = Judge::gate(Op::Ip, Table::IpRule, |p| p.lenient_ip.number(), None);
    let mut request = get();
    request.address = None;
    assert!(matches!(judge.verdict("gate", request), Verdict::Refuse(_)));
}

#[test]
fn a_spent_quota_refuses_and_is_named() {
    let judge = Judge::new();
    let [alice, ..] = judge.plugins.quotas;
    let mut request = get().with_header("apikey", "key-alice");
    request.left.insert(alice.number(), 1);
    let (verdict, state) = judge.state("keys", &mut request);
    assert_eq!((verdict, state.denied_by), (Verdict::Forward, None));
    let (verdict, state) = judge.state("keys", &mut request);
    assert_eq!(verdict, Verdict::Refuse(judge.plugins.limited));
    assert_eq!(state.denied_by, Some(alice));
    assert_eq!(request.asked, [("take", alice.number()); 2]);
}

#[test]
fn the_most_specific_instance_is_taken() {
    let taken = |caller: Option<u32>, grouped: bool| {
        let mut scene = Scene::new();
        let select = if grouped {
            scene.plugins.quota_by_group
        } else {
            scene.plugins.quota_by_scope
        };
        let mut program = Assembly::new();
        if let Some(caller) = caller {
            program = program.op(Op::Anonymous, 0, caller);
        }
        let program = program
            .test(Op::Select, 0, select.number(), "free")
            .op(Op::Take, 0, 0)
            .place("free")
            .op(Op::Forward, 0, 0)
            .finish();
        scene.program("gate", program);
        let quotas = scene.plugins.quotas;
        let plugins = scene.plugins;
        let judge = Judge {
            sample: scene.finish(),
            plugins,
        };
        let mut request = get();
        judge.state("gate", &mut request);
        let taken: Vec<usize> = request
            .asked
            .iter()
            .filter_map(|(_, quota)| quotas.iter().position(|known| known.number() == *quota))
            .collect();
        taken
    };
    assert_eq!(taken(Some(ALICE), false), [0], "her own before her group's");
    assert_eq!(taken(Some(BOB), false), [1], "alpha before beta");
    assert_eq!(taken(Some(CAROL), false), [3], "everybody's");
    assert_eq!(taken(None, false), [3]);
    assert_eq!(taken(Some(CAROL), true), [0; 0]);
    assert_eq!(taken(None, true), [0; 0]);
}

#[test]
fn a_body_is_measured_by_what_the_head_says() {
    let status = |strict: bool, request: Request| {
        let row = move |p: &Plugins| if strict { p.strict_size } else { p.size }.number();
        let judge = Judge::gate(Op::Size, Table::Size, row, None);
        let mut request = request;
        let (verdict, state) = judge.state("gate", &mut request);
        let watched = state.effects().iter().any(|effect| effect.table == Table::Size);
        match verdict {
            Verdict::Forward => (200, watched),
            Verdict::Refuse(refusal) => (judge.sample.policy.get(refusal).status, watched),
            other => panic!("{other:?}"),
        }
    };
    let sized = |length| get().body(length);
    let mut expecting = sized(BodyLength::Known(1025));
    expecting.expects_continue = true;
    for (request, lenient, strict) in [
        (sized(BodyLength::None), (200, false), (411, false)),
        (sized(BodyLength::Known(0)), (200, false), (200, false)),
        (sized(BodyLength::Known(1024)), (200, false), (200, false)),
        (sized(BodyLength::Known(1025)), (413, false), (413, false)),
        (expecting, (417, false), (417, false)),
        (sized(BodyLength::Unknown), (200, true), (200, true)),
    ] {
        assert_eq!(status(false, request.clone()), lenient, "{:?}", request.length);
        assert_eq!(
            status(true, request.clone()),
            strict,
            "{:?}, length required",
            request.length
        );
    }
}

#[test]
fn a_trigger_is_a_header_in_any_case_or_an_argument_in_its_own() {
    let judge = Judge::gate(Op::Respond, Table::Response, |p| p.triggered.number(), None);
    let answered = Verdict::Respond(judge.plugins.triggered);
    assert_eq!(judge.verdict("gate", get()), Verdict::Forward);
    assert_eq!(
        judge.verdict("gate", get().with_header("x-TRIGGER", "")),
        answered
    );
    assert_eq!(judge.verdict("gate", get().argument("X-Trigger", "")), answered);
    assert_eq!(
        judge.verdict("gate", get().argument("x-trigger", "")),
        Verdict::Forward
    );
    let judge = Judge::gate(Op::Respond, Table::Response, |p| p.always.number(), None);
    assert_eq!(
        judge.verdict("gate", get()),
        Verdict::Respond(judge.plugins.always)
    );
}

#[test]
fn a_preflight_is_answered_before_anybody_is_asked_for_a_key() {
    let preflight = || {
        Request::new("OPTIONS", "", "/")
            .with_header("origin", "https://a.test")
            .with_header("access-control-request-method", "GET")
    };
    let judge = Judge::new();
    assert_eq!(
        judge.verdict("api", preflight()),
        Verdict::Preflight(judge.plugins.cors)
    );
    let plain = Request::new("OPTIONS", "", "/").with_header("origin", "https://a.test");
    assert!(
        matches!(judge.verdict("api", plain), Verdict::Refuse(_)),
        "not a preflight"
    );
    let judge = Judge::gate(Op::Preflight, Table::Cors, |p| p.passing_cors.number(), None);
    assert_eq!(
        judge.verdict("gate", preflight()),
        Verdict::Forward,
        "`preflight_continue`"
    );
}

#[test]
fn a_program_that_needs_the_body_waits_for_it() {
    let judge = Judge::new();
    let mut request = get().member("apikey", "key-bob").body(BodyLength::Unknown);
    let (verdict, mut state) = judge.state("body", &mut request);
    assert_eq!(verdict, Verdict::Wait(vm::Question::Body));
    assert_eq!(state.consumer, None);
    request.body_read = true;
    let verdict = vm::resume(&judge.sample.policy, &mut state, &mut request);
    assert_eq!((verdict, state.consumer), (Verdict::Forward, Some(Id::new(BOB))));
    let effects: Vec<Table> = state.effects().iter().map(|effect| effect.table).collect();
    assert_eq!(
        effects,
        [Table::Size, Table::Model],
        "what was collected before the wait is kept"
    );
    assert_eq!(request.asked, [("reserve", judge.plugins.budget.number())]);
}

#[test]
fn a_spent_budget_refuses() {
    let judge = Judge::new();
    let mut request = get();
    request.spent.insert(judge.plugins.budget.number());
    let mut state = State::default();
    let route = judge.sample.routes["api"];
    let verdict = vm::run(&judge.sample.policy, route, Entry::Body, &mut state, &mut request);
    assert_eq!(verdict, Verdict::Refuse(judge.plugins.limited));
}

#[test]
#[should_panic(expected = "only a suspended program is resumed")]
fn a_program_that_ended_is_not_resumed() {
    let judge = Judge::new();
    let mut request = get();
    let (_, mut state) = judge.state("keys", &mut request);
    vm::resume(&judge.sample.policy, &mut state, &mut request);
}

#[test]
fn later_entries_choose_what_is_applied() {
    let judge = Judge::new();
    let policy = &judge.sample.policy;
    let route = judge.sample.routes["api"];
    let mut request = get()
        .with_header("apikey", "key-alice")
        .with_header("x-version", "B77")
        .body(BodyLength::Known(3));
    let mut state = State::default();
    let mut applied = |entry| {
        let verdict = vm::run(policy, route, entry, &mut state, &mut request);
        assert_eq!(verdict, Verdict::Forward);
        let tables: Vec<Table> = state.effects().iter().map(|effect| effect.table).collect();
        tables
    };
    let request = [Table::Correlation, Table::Cors];
    assert_eq!(
        applied(Entry::Request),
        request,
        "B77 is not b77: values are matched as they stand"
    );
    assert_eq!(applied(Entry::Body), []);
    assert_eq!(
        applied(Entry::Response),
        [Table::Cors, Table::Quota],
        "the caller is still known"
    );
    assert_eq!(applied(Entry::Chunk), []);
    assert_eq!(applied(Entry::End), [Table::Log, Table::Metrics]);
}

#[test]
fn a_refused_request_still_runs_its_response_entries() {
    let judge = Judge::new();
    let mut request = get();
    let (verdict, mut state) = judge.state("api", &mut request);
    assert!(matches!(verdict, Verdict::Refuse(_)));
    let route = judge.sample.routes["api"];
    vm::run(
        &judge.sample.policy,
        route,
        Entry::Response,
        &mut state,
        &mut request,
    );
    let effect = state.effects().iter().next().expect("cors acts on refusals too");
    assert_eq!(effect.id(), Some(judge.plugins.cors));
    assert_eq!(effect.id::<policy::table::Log>(), None);
}
