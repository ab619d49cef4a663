//! Routes → Kong's order (`traditional_compatible`): every route becomes one or more *subroutes*, ranked once, here.
//!
//! The model enters; a [`Plan`] leaves: subroutes in the order in which they are tried, with paths in the gateway's
//! canonical form and regexes as finished automata. What can never match, and what only an id decides, is reported.
//! Absent: rows and tables, which are `emit`'s, and the search itself, which is `policy::route`.

mod canonical;
mod host;
mod overlap;
mod priority;
mod regex;
mod stream;
#[cfg(test)]
mod tests;
pub mod tree;

use uuid::Uuid;

pub use canonical::{canonical, escape_literal};
pub use host::HostPattern;
pub use regex::{Automata, Automaton, AutomatonIndex, Subject};
pub use stream::Stream;

use crate::deck::entity::{HeaderMatch, Model, Route, RouteIndex, RoutePath};
use crate::diagnostic::{Diagnostic, Report};
use crate::source::{Sources, Span};
use policy::field::Method;

/// Namespace of the ids of subroutes, which decide ties between them.
pub(crate) const SUBROUTE_NAMESPACE: Uuid = Uuid::from_u128(0x7f14_5bf9_0dce_4f91_98eb_debb_ce4b_9f6b);

/// Every route that can be matched, in order.
pub struct Plan {
    /// Subroutes, the first that matches wins.
    pub subroutes: Vec<Subroute>,
    /// Routes for connections, the first that fits wins.
    pub streams: Vec<Stream>,
    /// What the subroutes of a route have in common, by [`RouteIndex`]; absent for routes that are left out.
    pub tests: Vec<Option<Tests>>,
    /// The automata that subroutes and header tests name.
    pub automata: Automata,
}

/// A route, or one group of its paths.
pub struct Subroute {
    /// The route.
    pub route: RouteIndex,
    /// The route's id, or one derived from it when the route has several groups.
    pub id: Uuid,
    /// Kong's 64-bit priority.
    pub priority: u64,
    /// How the path is tested.
    pub path: PathTest,
}

/// How a subroute tests the path.
pub enum PathTest {
    /// Not at all.
    Any,
    /// One of these prefixes, all of `len` canonical bytes.
    Prefixes {
        /// Bytes of each prefix.
        len: u32,
        /// The prefixes in canonical form, and where they stand.
        prefixes: Vec<(Box<str>, Span)>,
    },
    /// One of these regexes, tried in order from the first byte of the path.
    Regexes {
        /// The automaton of all of them.
        automaton: AutomatonIndex,
        /// Where they stand.
        spans: Vec<Span>,
    },
}

/// The tests that all subroutes of a route share.
pub struct Tests {
    /// One of these must fit; empty fits every host.
    pub hosts: Vec<HostPattern>,
    /// Bits of [`Method`]; 0 fits every method.
    pub methods: u32,
    /// Methods without a bit.
    pub other_methods: Vec<Box<str>>,
    /// All of these must hold.
    pub headers: Vec<HeaderTest>,
    /// One of these must fit when the request came over TLS; empty fits every name.
    pub snis: Vec<Box<str>>,
}

/// One header name and its alternatives.
#[derive(PartialEq, Eq)]
pub struct HeaderTest {
    /// Lower-case name.
    pub name: Box<str>,
    /// Lower-case values.
    pub values: Vec<Box<str>>,
    /// The automaton of the `~*` alternatives.
    pub automaton: Option<AutomatonIndex>,
}

/// Orders the routes of a model. Routes that are not enforced, or whose service is disabled, are left out.
pub fn plan(model: &Model, sources: &Sources, report: &Report) -> Plan {
    let mut planner = Planner {
        sources,
        report,
        automata: Automata::default(),
    };
    let mut subroutes = Vec::with_capacity(model.routes.len());
    let mut streams = Vec::new();
    let mut tests = Vec::with_capacity(model.routes.len());
    for (index, route) in (0..).map(RouteIndex).zip(&model.routes) {
        if !routable(model, route) {
            tests.push(None);
            continue;
        }
        tests.push(Some(planner.tests(route)));
        if route.is_stream() {
            streams.push(Stream::new(index, route));
        } else {
            planner.subroutes(index, route, &mut subroutes);
        }
    }
    streams.sort_by(|left, right| right.priority.cmp(&left.priority).then(right.id.cmp(&left.id)));
    subroutes.sort_by(|left, right| right.priority.cmp(&left.priority).then(right.id.cmp(&left.id)));
    let plan = Plan {
        subroutes,
        streams,
        tests,
        automata: planner.automata,
    };
    overlap::report(model, &plan, report);
    plan
}

/// Whether requests can reach a route at all.
pub fn routable(model: &Model, route: &Route) -> bool {
    route.enforced
        && route
            .service
            .is_none_or(|service| model[service].enabled && model[service].enforced)
}

struct Planner<'p> {
    sources: &'p Sources,
    report: &'p Report,
    automata: Automata,
}

impl Planner<'_> {
    fn tests(&mut self, route: &Route) -> Tests {
        let mut methods = 0;
        let mut other_methods = Vec::new();
        for name in &route.methods {
            let method = Method::from_name(name.as_bytes());
            methods |= method.0;
            if method == Method::OTHER && !other_methods.contains(name) {
                other_methods.push(name.clone());
            }
        }
        let headers = route.headers.iter().map(|test| self.header(test)).collect();
        let snis = route.snis.iter().map(|sni| {
            let name = sni.value.to_ascii_lowercase();
            name.strip_suffix('.').unwrap_or(&name).into()
        });
        Tests {
            hosts: route
                .hosts
                .iter()
                .map(|host| HostPattern::of(&host.value))
                .collect(),
            methods,
            other_methods,
            headers,
            snis: snis.collect(),
        }
    }

    fn header(&mut self, test: &HeaderMatch) -> HeaderTest {
        let mut values = Vec::new();
        let mut patterns = Vec::new();
        for value in &test.values {
            match value.value.strip_prefix("~*") {
                Some(pattern) => patterns.push((pattern, value.span)),
                None => values.push(value.value.to_lowercase().into()),
            }
        }
        HeaderTest {
            name: test.name.to_ascii_lowercase().into(),
            values,
            automaton: (!patterns.is_empty())
                .then(|| self.automaton(&patterns, Subject::Header))
                .flatten(),
        }
    }

    fn automaton(&mut self, patterns: &[(&str, Span)], subject: Subject) -> Option<AutomatonIndex> {
        self.automata
            .compile(patterns, subject, self.sources, self.report)
    }

    /// Splits a route as Kong does: all regexes are one group, and so are all prefixes of one length.
    fn subroutes(&mut self, index: RouteIndex, route: &Route, out: &mut Vec<Subroute>) {
        let mut groups: Vec<PathTest> = Vec::new();
        let mut regexes = Vec::new();
        for path in &route.paths {
            match &path.value {
                RoutePath::Prefix(prefix) => {
                    let prefix: Box<str> = canonical(prefix).into();
                    let Ok(bytes) = u32::try_from(prefix.len()) else {
                        continue;
                    };
                    if bytes > policy::route::PATH_MAX {
                        let words = format!(
                            "a path longer than {} bytes matches no request",
                            policy::route::PATH_MAX
                        );
                        self.report
                            .push(Diagnostic::error("path-too-long", words).at(path.span));
                        continue;
                    }
                    if let Some(why) = canonical::refusal(&prefix) {
                        let words = "requests with such a path are refused before they are routed";
                        self.report.push(
                            Diagnostic::warning("unreachable-path", words)
                                .at(path.span)
                                .label(why),
                        );
                    }
                    let known = groups.iter_mut().find_map(|group| match group {
                        PathTest::Prefixes { len, prefixes } if *len == bytes => Some(prefixes),
                        _ => None,
                    });
                    match known {
                        Some(prefixes) => prefixes.push((prefix, path.span)),
                        None => groups.push(PathTest::Prefixes {
                            len: bytes,
                            prefixes: vec![(prefix, path.span)],
                        }),
                    }
                }
                RoutePath::Regex(pattern) => regexes.push((&**pattern, path.span)),
            }
        }
        if !regexes.is_empty()
            && let Some(automaton) = self.automaton(&regexes, Subject::Path)
        {
            let spans = regexes.iter().map(|(_, span)| *span).collect();
            groups.push(PathTest::Regexes { automaton, spans });
        }
        if route.paths.is_empty() {
            groups.push(PathTest::Any);
        }
        let single = groups.len() == 1;
        for (number, path) in (1..).zip(groups) {
            let id = if single {
                route.meta.id
            } else {
                let name = format!("{}#{number}", route.meta.id);
                Uuid::new_v5(&SUBROUTE_NAMESPACE, name.as_bytes())
            };
            out.push(Subroute {
                route: index,
                id,
                priority: priority::priority(route, &path, self.report),
                path,
            });
        }
    }
}
