//! Which route: candidates one by one, in Kong's order.

use std::cmp::Ordering;

use uuid::Uuid;

use crate::analyse::Request;
use crate::deck::entity::{HeaderMatch, Model, Route, RouteIndex, RoutePath};
use crate::router::{SUBROUTE_NAMESPACE, canonical, routable};

/// The first route in Kong's order that matches.
pub fn find(model: &Model, request: &Request) -> Option<RouteIndex> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for (index, route) in (0..).map(RouteIndex).zip(&model.routes) {
        if routable(model, route) && !route.is_stream() {
            candidates.extend(split(index, route));
        }
    }
    candidates.sort_by(Candidate::order);
    candidates
        .iter()
        .find(|candidate| candidate.matches(model, request))
        .map(|candidate| candidate.index)
}

/// A route with one group of its paths.
struct Candidate<'m> {
    index: RouteIndex,
    route: &'m Route,
    id: Uuid,
    paths: Vec<&'m RoutePath>,
}

fn split(index: RouteIndex, route: &Route) -> Vec<Candidate<'_>> {
    let mut groups: Vec<(Option<usize>, Vec<&RoutePath>)> = Vec::new();
    for path in &route.paths {
        let key = match &path.value {
            RoutePath::Prefix(prefix) => Some(canonical(prefix).len()),
            RoutePath::Regex(_) => None,
        };
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, paths)) => paths.push(&path.value),
            None => groups.push((key, vec![&path.value])),
        }
    }
    // Groups are numbered as they come, the regexes last.
    groups.sort_by_key(|(key, _)| key.is_none());
    if groups.is_empty() {
        groups.push((None, Vec::new()));
    }
    let several = groups.len() > 1;
    (1..)
        .zip(groups)
        .map(|(number, (_, paths))| Candidate {
            index,
            route,
            id: if several {
                Uuid::new_v5(
                    &SUBROUTE_NAMESPACE,
                    format!("{}#{number}", route.meta.id).as_bytes(),
                )
            } else {
                route.meta.id
            },
            paths,
        })
        .collect()
}

impl Candidate<'_> {
    fn order(left: &Self, right: &Self) -> Ordering {
        right.rank().cmp(&left.rank())
    }

    /// Greater is tried earlier: kinds of matchers, plain hosts, headers, regex, its priority, length, id.
    fn rank(&self) -> (usize, bool, usize, bool, i64, usize, Uuid) {
        let route = self.route;
        let kinds = [
            route.methods.len(),
            route.hosts.len(),
            route.headers.len(),
            route.snis.len(),
            route.paths.len(),
        ];
        let plain = !route.hosts.is_empty() && !route.hosts.iter().any(|host| host.value.contains('*'));
        let (regex, length) = match self.paths.first() {
            Some(RoutePath::Regex(_)) => (true, 0),
            Some(RoutePath::Prefix(prefix)) => (false, canonical(prefix).len()),
            None => (false, 0),
        };
        (
            kinds.iter().filter(|count| **count > 0).count(),
            plain,
            route.headers.len(),
            regex,
            if regex { route.regex_priority } else { 0 },
            length,
            self.id,
        )
    }

    fn matches(&self, model: &Model, request: &Request) -> bool {
        let route = self.route;
        let methods =
            route.methods.is_empty() || route.methods.iter().any(|method| **method == *request.method);
        let hosts = route.hosts.is_empty() || route.hosts.iter().any(|host| host_fits(&host.value, request));
        let snis = route.snis.is_empty()
            || !request.secure
            || route
                .snis
                .iter()
                .any(|sni| wildcard_fits(sni.value.trim_end_matches('.'), &request.server_name));
        let headers = route.headers.iter().all(|header| header_fits(header, request));
        let paths = self.paths.is_empty() || self.paths.iter().any(|path| path_fits(path, &request.path));
        debug_assert!((self.index.0 as usize) < model.routes.len());
        methods && hosts && snis && headers && paths
    }
}

fn host_fits(pattern: &str, request: &Request) -> bool {
    match pattern.split_once(':') {
        Some((name, port)) => port == request.port.to_string() && wildcard_fits(name, &request.host),
        None => wildcard_fits(pattern, &request.host),
    }
}

fn wildcard_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    if let Some(suffix) = pattern.strip_prefix('*') {
        name.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        name.starts_with(prefix)
    } else {
        name == pattern
    }
}

fn header_fits(test: &HeaderMatch, request: &Request) -> bool {
    request.values(&test.name).any(|value| {
        test.values
            .iter()
            .any(|wanted| match wanted.value.strip_prefix("~*") {
                Some(pattern) => regex_fits(&format!("(?i){pattern}"), value),
                None => wanted.value.eq_ignore_ascii_case(value),
            })
    })
}

fn path_fits(path: &RoutePath, request: &str) -> bool {
    match path {
        RoutePath::Prefix(prefix) => request.starts_with(&canonical(prefix)),
        RoutePath::Regex(pattern) => regex_fits(&format!("^(?:{pattern})"), request),
    }
}

fn regex_fits(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}
