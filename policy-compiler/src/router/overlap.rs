//! What operators should know about the order: routes that can never match, and ties that only an id decides.
//!
//! Sound, not complete: what is reported as shadowed is covered by one earlier subroute, whatever the request. A
//! union of several earlier ones is not looked for, and on huge files the search stops at a bound of work.

use std::collections::HashMap;

use super::{HostPattern, PathTest, Plan, Subroute, Tests};
use crate::deck::entity::Model;
use crate::diagnostic::{Diagnostic, Report};
use crate::source::Span;

/// Earlier subroutes that one subroute is compared with.
const COMPARED_MAX: usize = 256;
/// Pairs of automaton states that are visited in one run.
const STATES_MAX: usize = 2_000_000;

pub(super) fn report(model: &Model, plan: &Plan, report: &Report) {
    let mut search = Search {
        plan,
        index: HashMap::new(),
        budget: STATES_MAX,
    };
    for (rank, later) in plan.subroutes.iter().enumerate() {
        match search.conflict(later) {
            // What never gets a request takes none from others: whoever takes its requests takes theirs.
            Some(Conflict::Duplicate(earlier)) => report.push(duplicate(model, earlier, later)),
            Some(Conflict::Shadowed(earlier)) => report.push(shadowed(model, earlier, later)),
            Some(Conflict::Tie(earlier)) => {
                report.push(tie(model, earlier, later));
                search.insert(rank);
            }
            None => search.insert(rank),
        }
    }
}

enum Conflict<'p> {
    /// Both match the same requests.
    Duplicate(&'p Subroute),
    /// Every request of the later one is taken by the earlier.
    Shadowed(&'p Subroute),
    /// Equal priority, and requests that fit both.
    Tie(&'p Subroute),
}

/// Where a subroute is found again: a host key (empty for any host), and a prefix, or why there is none.
#[derive(PartialEq, Eq, Hash)]
enum Place<'p> {
    Prefix(&'p str),
    Regex,
    Any,
}

struct Search<'p> {
    plan: &'p Plan,
    index: HashMap<(String, Place<'p>), Vec<usize>>,
    budget: usize,
}

impl<'p> Search<'p> {
    fn tests(&self, subroute: &Subroute) -> Option<&'p Tests> {
        self.plan.tests[subroute.route.0 as usize].as_ref()
    }

    fn insert(&mut self, rank: usize) {
        let plan = self.plan;
        let subroute = &plan.subroutes[rank];
        let Some(tests) = self.tests(subroute) else { return };
        let mut hosts: Vec<String> = tests.hosts.iter().map(HostPattern::key).collect();
        if hosts.is_empty() {
            hosts.push(String::new());
        }
        for host in hosts {
            let mut add = |place| self.index.entry((host.clone(), place)).or_default().push(rank);
            match &subroute.path {
                PathTest::Any => add(Place::Any),
                PathTest::Regexes { .. } => add(Place::Regex),
                PathTest::Prefixes { prefixes, .. } => {
                    for (prefix, _) in prefixes {
                        add(Place::Prefix(prefix));
                    }
                }
            }
        }
    }

    /// The worst that an earlier subroute does to this one.
    fn conflict(&mut self, later: &'p Subroute) -> Option<Conflict<'p>> {
        let plan = self.plan;
        let tests = self.tests(later)?;
        let mut ranks = self.candidates(later, tests);
        ranks.sort_unstable();
        ranks.dedup();
        ranks.truncate(COMPARED_MAX);
        let mut tied = None;
        for rank in ranks {
            let earlier = &plan.subroutes[rank];
            let Some(others) = self.tests(earlier) else {
                continue;
            };
            if earlier.route == later.route {
                continue;
            }
            if self.covers(earlier, others, later, tests) {
                let same = earlier.priority == later.priority && self.covers(later, tests, earlier, others);
                return Some(if same {
                    Conflict::Duplicate(earlier)
                } else {
                    Conflict::Shadowed(earlier)
                });
            }
            if tied.is_none()
                && earlier.priority == later.priority
                && others.meet(tests)
                && self.paths_meet(earlier, later)
            {
                tied = Some(earlier);
            }
        }
        tied.map(Conflict::Tie)
    }

    fn candidates(&self, later: &'p Subroute, tests: &Tests) -> Vec<usize> {
        let mut ranks = Vec::new();
        let prefixes: Vec<&str> = match &later.path {
            PathTest::Any => Vec::new(),
            PathTest::Regexes { automaton, .. } => vec![&*self.plan.automata[*automaton].literal_prefix],
            PathTest::Prefixes { prefixes, .. } => prefixes.iter().map(|(prefix, _)| &**prefix).collect(),
        };
        for host in covering_keys(tests.hosts.first()) {
            let mut take = |place| {
                let found = self.index.get(&(host.clone(), place));
                ranks.extend(found.into_iter().flatten().take(COMPARED_MAX));
            };
            take(Place::Any);
            take(Place::Regex);
            for prefix in &prefixes {
                for len in 1..=prefix.len() {
                    if let Some(start) = prefix.get(..len) {
                        take(Place::Prefix(start));
                    }
                }
            }
        }
        ranks
    }

    /// Whether every request of `later` fits `earlier`.
    fn covers(&self, earlier: &Subroute, others: &Tests, later: &Subroute, tests: &Tests) -> bool {
        others.cover(tests) && self.path_covers(&earlier.path, &later.path)
    }

    fn path_covers(&self, earlier: &PathTest, later: &PathTest) -> bool {
        match (earlier, later) {
            (PathTest::Any, _) => true,
            (_, PathTest::Any) => false,
            (PathTest::Prefixes { prefixes, .. }, PathTest::Prefixes { prefixes: inner, .. }) => inner
                .iter()
                .all(|(inner, _)| prefixes.iter().any(|(prefix, _)| inner.starts_with(&**prefix))),
            (PathTest::Prefixes { prefixes, .. }, PathTest::Regexes { automaton, .. }) => {
                let literal = &self.plan.automata[*automaton].literal_prefix;
                prefixes.iter().any(|(prefix, _)| literal.starts_with(&**prefix))
            }
            (PathTest::Regexes { automaton, .. }, PathTest::Prefixes { prefixes, .. }) => {
                let automaton = &self.plan.automata[*automaton];
                prefixes
                    .iter()
                    .all(|(prefix, _)| automaton.matches_all_under(prefix.as_bytes()))
            }
            (PathTest::Regexes { automaton, .. }, PathTest::Regexes { automaton: inner, .. }) => {
                let (outer, inner) = (&self.plan.automata[*automaton], &self.plan.automata[*inner]);
                inner
                    .patterns
                    .iter()
                    .all(|pattern| outer.patterns.contains(pattern))
                    || (!inner.literal_prefix.is_empty()
                        && outer.matches_all_under(inner.literal_prefix.as_bytes()))
            }
        }
    }

    fn paths_meet(&mut self, earlier: &Subroute, later: &Subroute) -> bool {
        match (&earlier.path, &later.path) {
            (PathTest::Prefixes { prefixes, .. }, PathTest::Prefixes { prefixes: others, .. }) => prefixes
                .iter()
                .any(|(prefix, _)| others.iter().any(|(other, _)| prefix == other)),
            (PathTest::Regexes { automaton, .. }, PathTest::Regexes { automaton: other, .. }) => {
                let (left, right) = (&self.plan.automata[*automaton], &self.plan.automata[*other]);
                left.meets(right, &mut self.budget).unwrap_or(false)
            }
            (PathTest::Any, PathTest::Any) => true,
            _ => false,
        }
    }
}

impl Tests {
    /// Whether every request that passes `inner` passes these tests, the path aside.
    fn cover(&self, inner: &Self) -> bool {
        let hosts = self.hosts.is_empty()
            || (!inner.hosts.is_empty()
                && inner
                    .hosts
                    .iter()
                    .all(|host| self.hosts.iter().any(|outer| outer.covers(host))));
        let methods = self.methods == 0
            || (inner.methods != 0
                && inner.methods & !self.methods == 0
                && inner
                    .other_methods
                    .iter()
                    .all(|name| self.other_methods.contains(name)));
        let snis = self.snis.is_empty()
            || (!inner.snis.is_empty() && inner.snis.iter().all(|name| self.snis.contains(name)));
        let headers = self.headers.iter().all(|outer| {
            inner.headers.iter().any(|test| {
                test.name == outer.name
                    && test.values.iter().all(|value| outer.values.contains(value))
                    && (test.automaton.is_none() || test.automaton == outer.automaton)
            })
        });
        hosts && methods && snis && headers
    }

    /// Whether a request may well pass both, the path aside. A header is taken to have one value.
    fn meet(&self, other: &Self) -> bool {
        let hosts = self.hosts.is_empty()
            || other.hosts.is_empty()
            || self
                .hosts
                .iter()
                .any(|host| other.hosts.iter().any(|o| host.covers(o) || o.covers(host)));
        let named = 1 << 31;
        let methods = self.methods == 0
            || other.methods == 0
            || self.methods & other.methods & !named != 0
            || self
                .other_methods
                .iter()
                .any(|name| other.other_methods.contains(name));
        let snis = self.snis.is_empty()
            || other.snis.is_empty()
            || self.snis.iter().any(|name| other.snis.contains(name));
        let headers = self.headers.iter().all(|test| {
            other.headers.iter().all(|o| {
                test.name != o.name
                    || test.automaton.is_some()
                    || o.automaton.is_some()
                    || test.values.iter().any(|value| o.values.contains(value))
            })
        });
        hosts && methods && snis && headers
    }
}

/// Keys under which patterns that cover this one are indexed; the empty key is that of any host.
fn covering_keys(host: Option<&HostPattern>) -> Vec<String> {
    let mut keys = vec![String::new()];
    let Some(host) = host else { return keys };
    let mut names = vec![&*host.name];
    let dots = host.name.match_indices('.').map(|(at, _)| at);
    for at in dots {
        names.push(&host.name[at..]);
        names.push(&host.name[..=at]);
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        keys.push(name.to_owned());
        if let Some(port) = host.port {
            keys.push(format!("{name}:{port}"));
        }
    }
    keys
}

fn duplicate(model: &Model, earlier: &Subroute, later: &Subroute) -> Diagnostic {
    let words = format!(
        "{} matches the same requests as {} and never gets one",
        title(model, later),
        title(model, earlier)
    );
    Diagnostic::warning("duplicate-route", words)
        .at(place(model, later))
        .also(place(model, earlier), winner(model, earlier))
        .help("remove one, or give them different matchers")
}

fn shadowed(model: &Model, earlier: &Subroute, later: &Subroute) -> Diagnostic {
    let words = format!("{} is never reached", title(model, later));
    Diagnostic::warning("shadowed-route", words)
        .at(place(model, later))
        .also(
            place(model, earlier),
            format!("{} takes all of its requests", title(model, earlier)),
        )
}

fn tie(model: &Model, earlier: &Subroute, later: &Subroute) -> Diagnostic {
    let words = format!(
        "{} and {} have the same priority, and some requests fit both",
        title(model, later),
        title(model, earlier)
    );
    Diagnostic::warning("route-tie", words)
        .at(place(model, later))
        .also(place(model, earlier), winner(model, earlier))
        .help("a header, a method or `regex_priority` more on one of them settles it")
}

/// A route with several kinds of paths is several subroutes, each with an id of its own.
fn is_whole(model: &Model, subroute: &Subroute) -> bool {
    subroute.id == model[subroute.route].meta.id
}

fn winner(model: &Model, subroute: &Subroute) -> &'static str {
    if is_whole(model, subroute) {
        "this one wins: its id is the greater"
    } else {
        "this one wins: the id that is made for this path of its route is the greater"
    }
}

fn title(model: &Model, subroute: &Subroute) -> String {
    let route = &model[subroute.route];
    let part = if is_whole(model, subroute) {
        ""
    } else {
        "a path of "
    };
    match &route.name {
        Some(name) => format!("{part}route `{name}`"),
        None => format!("{part}route {}", route.meta.id),
    }
}

fn place(model: &Model, subroute: &Subroute) -> Span {
    let path = match &subroute.path {
        PathTest::Any => None,
        PathTest::Prefixes { prefixes, .. } => prefixes.first().map(|(_, span)| *span),
        PathTest::Regexes { spans, .. } => spans.first().copied(),
    };
    path.unwrap_or(model[subroute.route].meta.span)
}
