//! Rows of the route search: routes with their programs, subroutes by rank, and what leads to them.

use std::collections::{BTreeMap, HashMap};

use policy::table::{
    Bucket, Candidate, HeaderTest, Host, HttpsRedirect, Id, Node, Priority, Regex, Route, Rows, Seed,
    Service, Subroute,
};
use policy::{index, route, stream};

use super::json;
use crate::deck::entity::{Protocol, Route as RouteEntity, RouteIndex, ServiceIndex};
use crate::extension;
use crate::lower::{Context, Lowerer, Programs, report_fault};
use crate::router::{PathTest, Subroute as Ranked, Tests, tree};
use crate::scope::{Site, Subsystem};

/// Rows of the model's routes.
pub(super) struct RouteRows {
    /// Row of each route of the model that requests can reach.
    by_index: HashMap<RouteIndex, u32>,
    /// The model's route of each row.
    pub(super) models: Vec<RouteIndex>,
    /// What runs when no route matched.
    pub(super) unmatched: Id<Route>,
}

impl RouteRows {
    /// The row of a route.
    pub(super) fn row(&self, route: RouteIndex) -> Option<Id<Route>> {
        self.by_index.get(&route).copied().map(Id::new)
    }
}

/// Where the search starts.
pub(super) struct Search {
    pub(super) hosts: Rows<Host>,
    pub(super) seeds: Rows<Seed>,
    pub(super) suffix: bool,
    pub(super) prefix: bool,
    pub(super) port: bool,
    pub(super) any_host: Option<Id<Bucket>>,
}

/// Writes the routes with their programs.
pub(super) fn routes(context: &mut Context<'_>, tests: &[Option<Tests>], lowerer: &mut Lowerer) -> RouteRows {
    let model = context.model;
    let mut by_index = HashMap::with_capacity(model.routes.len());
    let mut models = Vec::with_capacity(model.routes.len());
    for (index, route) in (0..).map(RouteIndex).zip(&model.routes) {
        if tests[index.0 as usize].is_none() {
            continue;
        }
        let programs = lowerer.site(context, super::site(model, index));
        let row = Route {
            id: context.builder.unique_text(&route.meta.id.to_string()),
            name: context.text(route.name.as_deref().unwrap_or_default()),
            source: context.source(route.meta.span),
            service: route.service.map(|service| Id::<Service>::new(service.0)),
            protocols: protocols(&route.protocols),
            https_redirect: redirect(route.https_redirect_status_code),
            strip_path: route.strip_path,
            preserve_host: route.preserve_host,
            priority: priority(context, route),
            json: context.builder.unique_text(&json::route(model, route)),
            ..empty(programs)
        };
        by_index.insert(index, context.builder.row(&row).number());
        models.push(index);
    }
    let nowhere = Site {
        subsystem: Subsystem::Http,
        route: None,
        service: None,
    };
    let programs = lowerer.site(context, nowhere);
    let row = Route {
        json: context.text("{}"),
        ..empty(programs)
    };
    RouteRows {
        by_index,
        models,
        unmatched: context.builder.row(&row),
    }
}

/// A route that says nothing but its programs.
fn empty(programs: Programs) -> Route {
    Route {
        on_request: programs.request,
        on_body: programs.body,
        on_response: programs.response,
        on_end: programs.end,
        ..Route::EMPTY
    }
}

/// The route's own, else its service's.
fn priority(context: &Context<'_>, route: &RouteEntity) -> Priority {
    let own = route.meta.extensions.value(&extension::PRIORITY);
    let of_service = |service: ServiceIndex| {
        let service = &context.model.services[service.0 as usize];
        service.meta.extensions.value(&extension::PRIORITY)
    };
    let said = own.or_else(|| route.service.and_then(of_service));
    let known = said.and_then(|number| Priority::ALL.get(number as usize));
    known.copied().unwrap_or(Priority::Normal)
}

fn protocols(protocols: &[Protocol]) -> u32 {
    protocols.iter().fold(0, |bits, protocol| {
        bits | match protocol {
            Protocol::Http => 1,
            Protocol::Https => 2,
            Protocol::Grpc => 4,
            Protocol::Grpcs => 8,
            Protocol::Ws => 16,
            Protocol::Wss => 32,
            Protocol::Tcp => stream::TCP,
            Protocol::Tls => stream::TLS,
            Protocol::TlsPassthrough => stream::TLS_PASSTHROUGH,
            Protocol::Udp => 0,
        }
    })
}

fn redirect(status: u16) -> HttpsRedirect {
    HttpsRedirect::from_name(&status.to_string()).unwrap_or(HttpsRedirect::S426)
}

/// Writes the subroutes in rank order, and the hosts, trees and lists that lead to them.
pub(super) fn write(
    context: &mut Context<'_>,
    subroutes: &[Ranked],
    tests: &[Option<Tests>],
    rows: &RouteRows,
) -> Search {
    let mut headers: HashMap<RouteIndex, Rows<HeaderTest>> = HashMap::new();
    let mut by_host: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut any = Vec::new();
    for (rank, subroute) in (0..).zip(subroutes) {
        let (Some(tests), Some(&route)) = (
            tests[subroute.route.0 as usize].as_ref(),
            rows.by_index.get(&subroute.route),
        ) else {
            continue;
        };
        let headers = *headers
            .entry(subroute.route)
            .or_insert_with(|| self::headers(context, tests));
        let row = self::subroute(context, subroute, tests, route, headers);
        context.builder.row(&row);
        for host in &tests.hosts {
            by_host.entry(host.key()).or_default().push(rank);
        }
        if tests.hosts.is_empty() {
            any.push(rank);
        }
    }
    let mut buckets = Buckets {
        subroutes,
        known: HashMap::new(),
    };
    let hosts: Vec<(u64, Host)> = by_host
        .into_iter()
        .map(|(key, mut ranks)| {
            ranks.dedup();
            let host = Host {
                key: context.builder.text(&key),
                bucket: buckets.write(context, ranks),
            };
            (route::host_hash(&context.salt, key.as_bytes()), host)
        })
        .collect();
    let any_host = (!any.is_empty()).then(|| buckets.write(context, any));
    let (hosts, seeds) = indexed(context, &hosts);
    let patterns = || tests.iter().flatten().flat_map(|tests| &tests.hosts);
    Search {
        hosts,
        seeds,
        suffix: patterns().any(|host| host.is_suffix()),
        prefix: patterns().any(|host| host.is_prefix()),
        port: patterns().any(|host| host.port.is_some()),
        any_host,
    }
}

fn headers(context: &mut Context<'_>, tests: &Tests) -> Rows<HeaderTest> {
    let rows: Vec<HeaderTest> = tests
        .headers
        .iter()
        .map(|test| HeaderTest {
            name: context.builder.text(&test.name),
            values: context.builder.names(test.values.iter().map(|value| &**value)),
            regex: test.automaton.map(|automaton| Id::<Regex>::new(automaton.0)),
        })
        .collect();
    context.builder.list(&rows)
}

fn subroute(
    context: &mut Context<'_>,
    ranked: &Ranked,
    tests: &Tests,
    route: u32,
    headers: Rows<HeaderTest>,
) -> Subroute {
    let (regex, prefix_len) = match &ranked.path {
        PathTest::Any => (None, 0),
        PathTest::Prefixes { len, .. } => (None, *len),
        PathTest::Regexes { automaton, .. } => (Some(Id::new(automaton.0)), 0),
    };
    Subroute {
        route: Id::new(route),
        priority: ranked.priority,
        methods: tests.methods,
        other_methods: context
            .builder
            .names(tests.other_methods.iter().map(|name| &**name)),
        headers,
        snis: context.builder.names(tests.snis.iter().map(|name| &**name)),
        regex,
        prefix_len,
    }
}

/// Buckets by the subroutes in them: hosts that lead to the same ones share a bucket.
struct Buckets<'s> {
    subroutes: &'s [Ranked],
    known: HashMap<Vec<u32>, Id<Bucket>>,
}

impl Buckets<'_> {
    fn write(&mut self, context: &mut Context<'_>, ranks: Vec<u32>) -> Id<Bucket> {
        if let Some(known) = self.known.get(&ranks) {
            return *known;
        }
        let (mut prefixes, mut regexes, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for &rank in &ranks {
            let candidate = Candidate {
                subroute: Id::new(rank),
            };
            match &self.subroutes[rank as usize].path {
                PathTest::Any => bare.push(candidate),
                PathTest::Regexes { .. } => regexes.push(candidate),
                PathTest::Prefixes { prefixes: all, .. } => {
                    prefixes.extend(all.iter().map(|(prefix, _)| (&**prefix, rank)));
                }
            }
        }
        let row = Bucket {
            prefixes: self.tree(context, &prefixes),
            regexes: context.builder.list(&regexes),
            bare: context.builder.list(&bare),
        };
        let bucket = context.builder.row(&row);
        self.known.insert(ranks, bucket);
        bucket
    }

    fn tree(&self, context: &mut Context<'_>, prefixes: &[(&str, u32)]) -> Option<Id<Node>> {
        if prefixes.is_empty() {
            return None;
        }
        let nodes = tree::build(prefixes);
        let root = context.builder.count::<Node>();
        let rows: Vec<Node> = nodes
            .iter()
            .map(|node| {
                let candidates: Vec<Candidate> = node
                    .ranks
                    .iter()
                    .map(|&rank| Candidate {
                        subroute: Id::new(rank),
                    })
                    .collect();
                Node {
                    label: context.builder.text(&node.label),
                    children: if node.children == 0 {
                        Rows::NONE
                    } else {
                        Rows::new(root + node.first_child, node.children)
                    },
                    candidates: context.builder.list(&candidates),
                }
            })
            .collect();
        context.builder.unique_list(&rows);
        Some(Id::new(root))
    }
}

/// Stores hosts in slot order.
fn indexed(context: &mut Context<'_>, hosts: &[(u64, Host)]) -> (Rows<Host>, Rows<Seed>) {
    let hashes: Vec<u64> = hosts.iter().map(|(hash, _)| *hash).collect();
    match index::build(&hashes) {
        Ok(index) => {
            let ordered: Vec<Host> = index.order.iter().map(|&key| hosts[key as usize].1).collect();
            let seeds: Vec<Seed> = index.seeds.iter().map(|&seed| Seed { seed }).collect();
            (
                context.builder.unique_list(&ordered),
                context.builder.unique_list(&seeds),
            )
        }
        Err(error) => {
            report_fault(context.report, format!("hosts cannot be indexed: {error:?}"));
            (Rows::NONE, Rows::NONE)
        }
    }
}
