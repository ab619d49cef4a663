//! A policy in words: routes in the order in which they are tried, and for each what runs, from which line, at what
//! worst case.

use policy::Policy;
use policy::table::{Id, Route as RouteRow, StreamRoute, Subroute as SubrouteRow};
use serde::Serialize;

use crate::deck::entity::{Meta, Model, PluginIndex, Route, RouteIndex, RoutePath, Scope};
use crate::diagnostic::Report;
use crate::emit::{self, Artifact};
use crate::extension::Kind;
use crate::lower;
use crate::plugin;
use crate::router::{PathTest, Stream, Subroute};
use crate::schema::PluginKind;
use crate::scope::{self, Choice, Named, Site, Subsystem};
use crate::source::Sources;

/// Instances of a level that are named; the rest is counted.
const NAMED_MAX: usize = 3;

/// What `tollc explain` says. Serialises as its JSON form.
#[derive(Serialize, Debug)]
pub struct Explanation {
    /// Digest of what the source means, in hex.
    pub policy_id: String,
    /// Worst case of finding a route, in cost units.
    pub search_cost: u32,
    /// Subroutes, the first that matches wins.
    pub routes: Vec<RouteLine>,
    /// Routes for connections, the first that fits wins.
    pub streams: Vec<RouteLine>,
    /// What runs when no route matches.
    pub unmatched: Vec<PluginLine>,
    /// What tags of `docs/extensions.md` say, by kind of entity.
    pub extensions: Vec<ExtensionLine>,
}

/// A tag that Tollgate reads.
#[derive(Serialize, Debug)]
pub struct ExtensionLine {
    /// Kind and name of the entity; its id if it has no name.
    pub entity: String,
    /// `file:line` of the tag.
    pub source: String,
    /// As it was written.
    pub tag: String,
}

/// One subroute.
#[derive(Serialize, Debug)]
pub struct RouteLine {
    /// Place in the order, from 1.
    pub rank: usize,
    /// Kong's 64-bit priority.
    pub priority: u64,
    /// UUID of the route.
    pub id: String,
    /// Name of the route; may be empty.
    pub name: String,
    /// `file:line` of the route.
    pub source: String,
    /// What must hold, in words of the file.
    pub matches: Vec<String>,
    /// Name or host of the service; empty for none.
    pub service: String,
    /// What runs, in order.
    pub plugins: Vec<PluginLine>,
    /// Worst case of judging a request, in cost units.
    pub cost: u32,
}

/// One plugin name at one route.
#[derive(Serialize, Debug)]
pub struct PluginLine {
    /// The name.
    pub name: String,
    /// Its instances by level, most specific first; the first that fits the caller runs.
    pub levels: Vec<LevelLine>,
}

/// Instances of one level of precedence.
#[derive(Serialize, Debug)]
pub struct LevelLine {
    /// `global`, `route`, `consumer and service` and the like.
    pub scope: String,
    /// `file:line` of the first instances, with the caller they are for.
    pub instances: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Explains a compiled model.
pub fn explain(model: &Model, sources: &Sources, artifact: &Artifact) -> Explanation {
    let policy = &artifact.policy;
    // Everything worth saying about the plugins was said when the artifact was made.
    let names = scope::names(model, &Report::default());
    let teller = Teller {
        model,
        sources,
        policy,
        names: &names,
    };
    let nowhere = Site {
        subsystem: Subsystem::Http,
        route: None,
        service: None,
    };
    Explanation {
        policy_id: policy.id().iter().map(|byte| format!("{byte:02x}")).collect(),
        search_cost: policy.meta().route_cost,
        routes: (0..)
            .zip(&artifact.order)
            .map(|(row, subroute)| teller.route(row, subroute))
            .collect(),
        streams: (0..)
            .zip(&artifact.streams)
            .map(|(row, stream)| teller.stream(row, stream))
            .collect(),
        unmatched: teller.plugins(nowhere, plugin::runs_later),
        extensions: teller.extensions(),
    }
}

struct Teller<'t> {
    model: &'t Model,
    sources: &'t Sources,
    policy: &'t Policy,
    names: &'t [Named],
}

impl Teller<'_> {
    fn route(&self, row: u32, subroute: &Subroute) -> RouteLine {
        let row_of_route = self.policy.get(Id::<SubrouteRow>::new(row)).route;
        let matches = matches(&self.model[subroute.route], &subroute.path);
        self.line(row, subroute.route, subroute.priority, matches, row_of_route)
    }

    fn stream(&self, row: u32, stream: &Stream) -> RouteLine {
        let row_of_route = self.policy.get(Id::<StreamRoute>::new(row)).route;
        let matches = stream_matches(&self.model[stream.route]);
        self.line(row, stream.route, stream.priority, matches, row_of_route)
    }

    fn line(
        &self,
        row: u32,
        index: RouteIndex,
        priority: u64,
        matches: Vec<String>,
        row_of_route: Id<RouteRow>,
    ) -> RouteLine {
        let route = &self.model[index];
        let service = route.service.map(|service| &self.model[service]);
        RouteLine {
            rank: row as usize + 1,
            priority,
            id: route.meta.id.to_string(),
            name: route.name.as_deref().unwrap_or_default().to_owned(),
            source: self.sources.line(route.meta.span),
            matches,
            service: service.map_or_else(String::new, |service| {
                service.name.as_deref().unwrap_or(&service.host).to_owned()
            }),
            plugins: self.plugins(emit::site(self.model, index), |_| true),
            cost: self.policy.get(row_of_route).cost,
        }
    }

    fn plugins(&self, site: Site, runs: fn(PluginKind) -> bool) -> Vec<PluginLine> {
        lower::choices(self.names, site)
            .into_iter()
            .filter(|(named, _)| runs(named.kind))
            .map(|(named, choice)| PluginLine {
                name: named.name.to_string(),
                levels: match choice {
                    Choice::Nothing => Vec::new(),
                    Choice::Always(instance) => vec![self.level(&[instance])],
                    Choice::Levels(levels) => levels
                        .into_iter()
                        .map(|level| self.level(&named.instances(level).collect::<Vec<_>>()))
                        .collect(),
                },
            })
            .collect()
    }

    fn level(&self, instances: &[PluginIndex]) -> LevelLine {
        let scope = instances.first().map(|instance| self.model[*instance].scope);
        let shown = instances.iter().take(NAMED_MAX).map(|instance| {
            let plugin = &self.model[*instance];
            let place = self.sources.line(plugin.meta.span);
            match self.caller(plugin.scope) {
                Some(caller) => format!("{place} ({caller})"),
                None => place,
            }
        });
        LevelLine {
            scope: scope.map_or_else(String::new, words),
            instances: shown.collect(),
            more: instances.len().saturating_sub(NAMED_MAX),
        }
    }

    fn extensions(&self) -> Vec<ExtensionLine> {
        let mut lines = Vec::new();
        for kind in Kind::ALL {
            for (name, meta) in self.entities(kind) {
                lines.extend(meta.extensions.iter().map(|extension| ExtensionLine {
                    entity: format!("{} {name}", kind.name()),
                    source: self.sources.line(extension.span),
                    tag: extension.text.to_string(),
                }));
            }
        }
        lines
    }

    /// The entities of a kind that have extensions, each with its name or id.
    fn entities(&self, kind: Kind) -> Vec<(String, &Meta)> {
        let named =
            |name: Option<&str>, meta: &'_ Meta| name.map_or_else(|| meta.id.to_string(), str::to_owned);
        let model = self.model;
        let entities: Vec<(String, &Meta)> = match kind {
            Kind::Service => model
                .services
                .iter()
                .map(|it| (named(it.name.as_deref(), &it.meta), &it.meta))
                .collect(),
            Kind::Route => model
                .routes
                .iter()
                .map(|it| (named(it.name.as_deref(), &it.meta), &it.meta))
                .collect(),
            Kind::Upstream => model
                .upstreams
                .iter()
                .map(|it| (it.name.to_string(), &it.meta))
                .collect(),
            Kind::Target => model
                .targets
                .iter()
                .map(|it| (format!("{}:{}", it.host, it.port), &it.meta))
                .collect(),
        };
        entities
            .into_iter()
            .filter(|(_, meta)| !meta.extensions.is_empty())
            .collect()
    }

    /// Who an instance is for.
    fn caller(&self, scope: Scope) -> Option<String> {
        let consumer = scope.consumer.map(|index| &self.model[index]);
        let consumer = consumer.map(|consumer| match (&consumer.username, &consumer.custom_id) {
            (Some(name), _) | (None, Some(name)) => name.to_string(),
            (None, None) => consumer.meta.id.to_string(),
        });
        consumer.or_else(|| {
            scope
                .consumer_group
                .map(|index| self.model[index].name.to_string())
        })
    }
}

fn words(scope: Scope) -> String {
    let parts = [
        (scope.consumer.is_some(), "consumer"),
        (scope.consumer_group.is_some(), "consumer group"),
        (scope.route.is_some(), "route"),
        (scope.service.is_some(), "service"),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, word)| *word)
        .collect();
    if parts.is_empty() {
        "global".to_owned()
    } else {
        parts.join(" and ")
    }
}

/// The matchers of a subroute in the words of the file.
fn matches(route: &Route, path: &PathTest) -> Vec<String> {
    let mut out = Vec::new();
    let mut list = |title: &str, values: Vec<String>| {
        if !values.is_empty() {
            out.push(format!("{title} {}", values.join(", ")));
        }
    };
    list("methods", route.methods.iter().map(ToString::to_string).collect());
    list(
        "hosts",
        route.hosts.iter().map(|host| host.value.to_string()).collect(),
    );
    let paths = match path {
        PathTest::Any => Vec::new(),
        PathTest::Prefixes { prefixes, .. } => {
            prefixes.iter().map(|(prefix, _)| prefix.to_string()).collect()
        }
        PathTest::Regexes { .. } => route
            .paths
            .iter()
            .filter_map(|path| match &path.value {
                RoutePath::Regex(regex) => Some(format!("~{regex}")),
                RoutePath::Prefix(_) => None,
            })
            .collect(),
    };
    list("paths", paths);
    for header in &route.headers {
        let values = header
            .values
            .iter()
            .map(|value| value.value.to_string())
            .collect();
        list(&format!("header {}", header.name), values);
    }
    list(
        "snis",
        route.snis.iter().map(|sni| sni.value.to_string()).collect(),
    );
    out
}

/// The matchers of a route for connections.
fn stream_matches(route: &Route) -> Vec<String> {
    let protocols: Vec<&str> = route.protocols.iter().map(|protocol| protocol.name()).collect();
    let mut out = vec![format!("protocols {}", protocols.join(", "))];
    for (title, list) in [("sources", &route.sources), ("destinations", &route.destinations)] {
        let ends = list.iter().map(|one| match (&one.address, one.port) {
            (Some(address), Some(port)) => format!("{address} port {port}"),
            (Some(address), None) => address.to_string(),
            (None, port) => format!("port {}", port.unwrap_or(0)),
        });
        let ends: Vec<String> = ends.collect();
        if !ends.is_empty() {
            out.push(format!("{title} {}", ends.join(", ")));
        }
    }
    out.extend(matches(route, &PathTest::Any));
    out
}

impl Explanation {
    /// The explanation for a terminal.
    pub fn human(&self) -> String {
        let mut out = format!(
            "policy {}\nfinding a route costs at most {} units (about a nanosecond each)\n",
            self.policy_id, self.search_cost
        );
        Self::list(&self.routes, &mut out);
        out.push_str("\n   –. no route matches: 404\n");
        table(&self.unmatched, &mut out);
        if !self.extensions.is_empty() {
            out.push_str("\nextensions\n");
        }
        for line in &self.extensions {
            out.push_str(&format!(
                "        {}: {}  ({})\n",
                line.entity, line.tag, line.source
            ));
        }
        if !self.streams.is_empty() {
            out.push_str("\nconnections\n");
            Self::list(&self.streams, &mut out);
            out.push_str("\n   –. no route fits: closed\n");
        }
        out
    }

    fn list(routes: &[RouteLine], out: &mut String) {
        for route in routes {
            let name = if route.name.is_empty() {
                &route.id
            } else {
                &route.name
            };
            let service = match route.service.as_str() {
                "" => "no service",
                service => service,
            };
            out.push_str(&format!(
                "\n{:>4}. {name} → {service}  ({}, priority {:#018x}, at most {} units)\n",
                route.rank, route.source, route.priority, route.cost
            ));
            for line in &route.matches {
                out.push_str(&format!("      {line}\n"));
            }
            table(&route.plugins, out);
        }
    }
}

/// One line a level: plugin, scope, places.
fn table(plugins: &[PluginLine], out: &mut String) {
    let names = plugins.iter().map(|plugin| plugin.name.len());
    let scopes = plugins
        .iter()
        .flat_map(|plugin| &plugin.levels)
        .map(|level| level.scope.len());
    let (name_width, scope_width) = (names.max().unwrap_or(0), scopes.max().unwrap_or(0));
    for plugin in plugins {
        for (number, level) in plugin.levels.iter().enumerate() {
            let name = if number == 0 { &*plugin.name } else { "" };
            let more = match level.more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            out.push_str(&format!(
                "        {name:name_width$}  {:scope_width$}  {}{more}\n",
                level.scope,
                level.instances.join(", ")
            ));
        }
    }
}
