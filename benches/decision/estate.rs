//! An estate of any size, and calls to it. Ten paths for a host; a consumer is in one of 64 acl groups, and a route
//! admits the group of its own number.

use std::fmt;

use policy::Policy;
use policy::artifact::Builder;
use policy::digest::{self, Domain, Salted};
use policy::field::{BodyLength, Exchange, Found, Method, Span, Taken};
use policy::index;
use policy::isa::{Instr, Op};
use policy::table::{
    Acl, BodyShape, Budget, Code, Consumer, Credential, Id, LimitBy, MessageTail, Meta, Period, PeriodUnit,
    Proof, Quota, Refusal, Route, Rows, Seed, Table, Text, Word,
};
use policy::vm::State;
use proxy::quota::rate::RateLimit;
use proxy::quota::window;

use router::{Path, Wanted};

#[expect(dead_code, reason = "shared with the claims of the policy crate")]
#[path = "../../policy/tests/claims/sample/router.rs"]
mod router;

const SALT: [u8; 32] = [3; 32];
const GROUPS: u32 = 64;
const PATHS: [&str; 10] = [
    "/",
    "/v1/users",
    "/v1/users/search",
    "/v1/orders",
    "/v1/orders/open",
    "/v1/items",
    "/v2",
    "/v2/users",
    "/v2/orders",
    "/health",
];

/// How large an estate is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) routes: u32,
    pub(crate) keys: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} routes, {} keys", self.routes, self.keys)
    }
}

/// Acl group of a consumer, and of a route.
pub(crate) const fn group(number: u32) -> u32 {
    number % GROUPS
}

/// Host of a route.
pub(crate) fn host(route: u32) -> String {
    format!("tenant-{:04}.api.example.com", route / 10)
}

/// Path prefix of a route.
pub(crate) fn prefix(route: u32) -> &'static str {
    PATHS[route as usize % PATHS.len()]
}

/// Key of a consumer.
pub(crate) fn key(consumer: u32) -> String {
    format!("sk-{consumer:08}-4f9a7b1c2d3e5f60")
}

struct Refusals {
    unauthorized: Id<Refusal>,
    forbidden: Id<Refusal>,
    limited: Id<Refusal>,
}

/// The file.
pub(crate) fn artifact(size: Size) -> Vec<u8> {
    let mut builder = Builder::new();
    let refusals = Refusals {
        unauthorized: refusal(&mut builder, 401, "Unauthorized"),
        forbidden: refusal(&mut builder, 403, "You cannot consume this service"),
        limited: refusal(&mut builder, 429, "API rate limit exceeded"),
    };
    let (keys, key_seeds) = credentials(&mut builder, size);
    let ranked = routes(&mut builder, size, &refusals);
    let hosts = router::write(&mut builder, &SALT, &ranked);
    let workspace = builder.text("default");
    builder.row(&Meta {
        salt: SALT,
        workspace,
        hosts: hosts.hosts,
        host_seeds: hosts.seeds,
        keys,
        key_seeds,
        ..Meta::EMPTY
    });
    builder.finish([0; 32], 1).expect("the estate is sound")
}

fn refusal(builder: &mut Builder, status: u32, message: &str) -> Id<Refusal> {
    let row = Refusal {
        plugin: Text::EMPTY,
        source: None,
        status,
        shape: BodyShape::Error,
        message: builder.text(message),
        tail: MessageTail::None,
        headers: Rows::NONE,
    };
    builder.row(&row)
}

/// The set of one group.
fn groups(builder: &mut Builder, member: u32) -> Rows<Word> {
    let mut words = [Word { bits: 0 }; GROUPS as usize / 32];
    words[member as usize / 32].bits |= 1 << (member % 32);
    builder.list(&words)
}

fn credentials(builder: &mut Builder, size: Size) -> (Rows<Credential>, Rows<Seed>) {
    let rows: Vec<Credential> = (0..size.keys)
        .map(|number| {
            let id = builder.unique_text(&format!("00000000-0000-4000-8000-{number:012}"));
            let consumer = Consumer {
                id,
                username: builder.unique_text(&format!("consumer-{number:08}")),
                custom_id: Text::EMPTY,
                acl: groups(builder, group(number)),
                acl_header: builder.text(&format!("group-{}", group(number))),
                groups: Rows::NONE,
                json: Text::EMPTY,
            };
            Credential {
                lookup: digest::keyed(&SALT, Domain::Key, &[key(number).as_bytes()]),
                proof: Proof::Lookup,
                digest: [0; 32],
                consumer: builder.row(&consumer),
                id,
                identifier: id,
            }
        })
        .collect();
    let hashes: Vec<u64> = rows.iter().map(|row| digest::index_hash(&row.lookup)).collect();
    let index = index::build(&hashes).expect("the keys differ");
    let ordered: Vec<Credential> = index.order.iter().map(|&number| rows[number as usize]).collect();
    let seeds: Vec<Seed> = index.seeds.iter().map(|&seed| Seed { seed }).collect();
    (builder.unique_list(&ordered), builder.unique_list(&seeds))
}

fn routes(builder: &mut Builder, size: Size, refusals: &Refusals) -> Vec<(Wanted, Id<Route>)> {
    let apikey = builder.names(["apikey"]).first;
    let mut ranked: Vec<(Wanted, Id<Route>)> = (0..size.routes)
        .map(|number| {
            let wanted = Wanted {
                hosts: vec![host(number)],
                path: Path::Prefixes(vec![prefix(number).to_owned()]),
                ..Wanted::default()
            };
            (wanted, route(builder, number, apikey, refusals))
        })
        .collect();
    // Kong's order: longer prefixes first.
    ranked.sort_by_key(|(wanted, id)| match &wanted.path {
        Path::Prefixes(prefixes) => (usize::MAX - prefixes[0].len(), id.number()),
        _ => (usize::MAX, id.number()),
    });
    ranked
}

fn route(builder: &mut Builder, number: u32, apikey: u32, refusals: &Refusals) -> Id<Route> {
    let acl = Acl {
        source: None,
        allow: true,
        groups: groups(builder, group(number)),
        consumer_groups: Rows::NONE,
        unauthorized: refusals.unauthorized,
        forbidden: refusals.forbidden,
        hide_groups_header: false,
    };
    let acl = builder.row(&acl);
    let quota = quota(builder, number, refusals);
    let instr = |op, a, to, imm| Instr { op, a, to, imm };
    let program = [
        instr(Op::Header, 1, 3, apikey),
        instr(Op::Several, 1, 3, 0),
        instr(Op::Refuse, 0, 0, refusals.unauthorized.number()),
        instr(Op::Refuse, 0, 0, refusals.unauthorized.number()),
        instr(Op::Empty, 1, 2, 0),
        instr(Op::Refuse, 0, 0, refusals.unauthorized.number()),
        instr(Op::Key, 2, 9, 1),
        instr(Op::Identify, 2, 0, 0),
        instr(Op::Constant, 3, Table::Acl as u16, acl.number()),
        instr(Op::Acl, 3, 0, 0),
        instr(Op::Apply, 3, Table::Acl as u16, 0),
        instr(Op::Constant, 4, Table::Quota as u16, quota.number()),
        instr(Op::Take, 4, 0, 0),
        instr(Op::Apply, 4, Table::Quota as u16, 0),
        instr(Op::Forward, 0, 0, 0),
        instr(Op::Refuse, 0, 0, refusals.unauthorized.number()),
    ];
    let row = Route {
        id: builder.unique_text(&format!("10000000-0000-4000-8000-{number:012}")),
        name: builder.unique_text(&format!("route-{number:06}")),
        strip_path: true,
        on_request: Code(Some(builder.program(&program))),
        ..Route::EMPTY
    };
    builder.row(&row)
}

fn quota(builder: &mut Builder, number: u32, refusals: &Refusals) -> Id<Quota> {
    let period = Period {
        unit: PeriodUnit::Minute,
        limit: 1 << 40,
    };
    let quota = Quota {
        source: None,
        stable: u64::from(number),
        by: LimitBy::Consumer,
        header: Text::EMPTY,
        path: Text::EMPTY,
        periods: builder.list(&[period]),
        hide_headers: false,
        refusal: refusals.limited,
    };
    builder.row(&quota)
}

/// Which calls come.
#[derive(Clone, Copy)]
pub(crate) enum Traffic {
    /// Nine calls of ten by a hundredth of the consumers to a hundredth of the routes.
    Busy,
    /// Every route and every consumer as often as any other: the coldest tables can be.
    Uniform,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Uniform => "uniform",
        })
    }
}

/// A text inside a call, so that reading calls one after the other costs what reading from a socket's buffer does.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    bytes: [u8; 40],
    len: u8,
}

impl Short {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 40];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).expect("a short text");
        Self { bytes, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A call that its route admits.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) route: u32,
    pub(crate) consumer: u32,
    pub(crate) host: Short,
    pub(crate) path: Short,
    pub(crate) key: Short,
}

/// Calls in random order, each by a consumer of its route's group.
pub(crate) fn calls(size: Size, traffic: Traffic) -> Vec<Call> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |bound: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from((state >> 32) % u64::from(bound)).expect("below the bound")
    };
    (0..16_384)
        .map(|_| {
            let share = match traffic {
                Traffic::Busy if below(10) > 0 => 100,
                _ => 1,
            };
            let route = below((size.routes / share).max(1));
            let rounds = (size.keys - group(route)).div_ceil(GROUPS);
            let consumer = below((rounds / share).max(1)) * GROUPS + group(route);
            Call {
                route,
                consumer,
                host: Short::new(&host(route)),
                path: Short::new(&format!("{}/x", prefix(route).trim_end_matches('/'))),
                key: Short::new(&key(consumer)),
            }
        })
        .collect()
}

/// The salt, as a loaded policy keeps it.
pub(crate) fn salted() -> Salted {
    Salted::new(&SALT)
}

/// What looking a key up begins with.
pub(crate) fn digest(salted: &Salted, call: &Call) -> [u8; 32] {
    salted.digest(Domain::Key, &[call.key.bytes()])
}

/// A call before a policy and its counters.
pub(crate) struct Asked<'a> {
    pub(crate) call: &'a Call,
    pub(crate) policy: &'a Policy,
    pub(crate) counters: &'a proxy::quota::Table,
}

impl Exchange for Asked<'_> {
    fn method(&self) -> Method {
        Method::GET
    }
    fn method_name(&self) -> &[u8] {
        b"GET"
    }
    fn host(&self) -> &[u8] {
        self.call.host.bytes()
    }
    fn port(&self) -> u16 {
        80
    }
    fn path(&self) -> &[u8] {
        self.call.path.bytes()
    }
    fn secure(&self) -> bool {
        false
    }
    fn server_name(&self) -> &[u8] {
        b""
    }
    fn header(&self, name: &str) -> Found {
        if name != "apikey" {
            return Found::Absent;
        }
        Found::Once(Span {
            source: 0,
            offset: 0,
            len: u32::from(self.call.key.len),
        })
    }
    fn any_header(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
    fn query(&mut self, _: &str) -> Found {
        Found::Absent
    }
    fn has_argument(&self, _: &str) -> bool {
        false
    }
    fn body_argument(&mut self, _: &str) -> Found {
        Found::Absent
    }
    fn bytes(&self, _: Span) -> &[u8] {
        self.call.key.bytes()
    }
    fn client_address(&self) -> Option<u128> {
        None
    }
    fn body_length(&self) -> BodyLength {
        BodyLength::None
    }
    fn expects_continue(&self) -> bool {
        false
    }
    fn take(&mut self, quota: Id<Quota>, state: &State) -> Taken {
        const NOW_MS: u64 = 1_800_000_000_000;
        let (policy, counters) = (self.policy, self.counters);
        let quota = policy.get(quota);
        let identity = state.identity(policy).expect("it was identified");
        let limit = policy
            .rows(quota.periods)
            .fold(RateLimit::default(), |limit, row| {
                limit.with(window::Period::Minute, row.limit)
            });
        let key = counters.key_of_digest(quota.stable, identity);
        if limit.take(counters, NOW_MS, key).admitted {
            Taken::Admitted
        } else {
            Taken::Denied
        }
    }
    fn reserve(&mut self, _: Id<Budget>, _: &State) -> Taken {
        Taken::Admitted
    }
}
