//! Which instance of a plugin runs where: Kong's order of precedence over consumer, group, route and service.
//!
//! A [`Site`] is a route with its service. For every plugin name a [`Choice`] leaves: nothing, one instance for
//! everybody, or levels to be looked through once the caller is known. Instances are never merged.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use crate::deck::entity::{
    ConsumerGroupIndex, ConsumerIndex, Model, Plugin, PluginIndex, Route, RouteIndex, ServiceIndex,
};
use crate::diagnostic::{Diagnostic, Report};
use crate::schema::PluginKind;

/// Where a request has arrived. Both absent: no route matched, and only global instances see the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Site {
    /// What has arrived.
    pub subsystem: Subsystem,
    /// The route.
    pub route: Option<RouteIndex>,
    /// Its service.
    pub service: Option<ServiceIndex>,
}

/// Kong's subsystems: what plugins see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subsystem {
    /// Requests.
    Http,
    /// Connections.
    Stream,
}

impl Subsystem {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Stream];

    /// What a route takes.
    pub fn of(route: &Route) -> Self {
        if route.is_stream() {
            Self::Stream
        } else {
            Self::Http
        }
    }
}

/// What a level looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// The consumer.
    Consumer,
    /// The consumer's groups, in the order of their names.
    Group,
    /// Nobody.
    Anyone,
}

/// The part of a scope that a site decides.
pub type Place = (Option<ServiceIndex>, Option<RouteIndex>);

/// One level of precedence: instances with this scope, chosen by the subject.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level {
    /// What it looks at.
    pub subject: Subject,
    /// Scope of its instances.
    pub place: Place,
}

/// What runs of one plugin name at one site.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Choice {
    /// Nothing.
    Nothing,
    /// This instance, whoever calls.
    Always(PluginIndex),
    /// The first level that has an instance for the caller.
    Levels(Vec<Level>),
}

/// All visible instances of one plugin name.
pub struct Named {
    /// The name; a clone has its own.
    pub name: Box<str>,
    /// What runs.
    pub kind: PluginKind,
    /// Where its instances run; a name that runs in both subsystems stands here twice.
    pub subsystem: Subsystem,
    /// Higher runs first.
    pub priority: i32,
    places: HashMap<Place, Instances>,
}

/// Instances of one name with one place, by subject.
#[derive(Default)]
pub struct Instances {
    /// For everybody.
    pub anyone: Option<PluginIndex>,
    /// By consumer, in the order of the model.
    pub consumers: BTreeMap<ConsumerIndex, PluginIndex>,
    /// By group, in the order of the model.
    pub groups: BTreeMap<ConsumerGroupIndex, PluginIndex>,
}

/// Kong's twelve levels: subject, whether the service and whether the route must be named.
const PRECEDENCE: [(Subject, bool, bool); 12] = [
    (Subject::Consumer, true, true),
    (Subject::Group, true, true),
    (Subject::Consumer, false, true),
    (Subject::Consumer, true, false),
    (Subject::Group, false, true),
    (Subject::Group, true, false),
    (Subject::Anyone, true, true),
    (Subject::Consumer, false, false),
    (Subject::Group, false, false),
    (Subject::Anyone, false, true),
    (Subject::Anyone, true, false),
    (Subject::Anyone, false, false),
];

/// The visible plugins of a model, by subsystem and name, in the order in which they run.
pub fn names(model: &Model, report: &Report) -> Vec<Named> {
    let of = |subsystem| names_of(model, subsystem, report);
    Subsystem::ALL.into_iter().flat_map(of).collect()
}

fn names_of(model: &Model, subsystem: Subsystem, report: &Report) -> Vec<Named> {
    let mut by_name: BTreeMap<&str, Named> = BTreeMap::new();
    for (index, plugin) in (0..).map(PluginIndex).zip(&model.plugins) {
        if !visible(plugin) || !takes_part(plugin, subsystem) {
            continue;
        }
        let named = by_name.entry(&plugin.name).or_insert_with(|| Named {
            name: plugin.name.clone(),
            kind: plugin.kind,
            subsystem,
            priority: plugin.priority,
            places: HashMap::new(),
        });
        let scope = plugin.scope;
        let instances = named.places.entry((scope.service, scope.route)).or_default();
        match (scope.consumer, scope.consumer_group) {
            (None, None) => instances.anyone = Some(index),
            (Some(consumer), None) => {
                instances.consumers.insert(consumer, index);
            }
            (None, Some(group)) => {
                instances.groups.insert(group, index);
            }
            (Some(_), Some(_)) => report.push(
                Diagnostic::warning("plugin-never-applies", format!("this {} never runs", plugin.name))
                    .at(plugin.meta.span)
                    .label("no request is looked up by consumer and consumer group at once"),
            ),
        }
    }
    let mut names: Vec<Named> = by_name.into_values().collect();
    names.sort_by(|left, right| {
        right
            .priority
            .cmp(&left.priority)
            .then_with(|| right.name.cmp(&left.name))
    });
    names
}

/// Whether an instance takes part in any choice: disabled ones mask nothing.
pub fn visible(plugin: &Plugin) -> bool {
    plugin.enabled && plugin.enforced && plugin.kind != PluginKind::Unsupported
}

/// Whether an instance takes part in the choices of a subsystem: one of its protocols belongs there.
pub fn takes_part(plugin: &Plugin, subsystem: Subsystem) -> bool {
    let stream = subsystem == Subsystem::Stream;
    let mut protocols = plugin.protocols.iter();
    match plugin.protocols.is_empty() {
        true => !stream,
        false => protocols.any(|protocol| protocol.is_stream() == stream),
    }
}

impl Named {
    /// What runs at a site. `identified`: a plugin that finds the consumer runs there, and runs before.
    pub fn choose(&self, site: Site, identified: bool) -> Choice {
        let mut levels = Vec::new();
        if self.subsystem != site.subsystem {
            return Choice::Nothing;
        }
        for (subject, by_service, by_route) in PRECEDENCE {
            if subject != Subject::Anyone && !identified {
                continue;
            }
            let place = (
                if by_service { site.service } else { None },
                if by_route { site.route } else { None },
            );
            if (by_service && place.0.is_none()) || (by_route && place.1.is_none()) {
                continue;
            }
            let level = Level { subject, place };
            if self.is_empty(level) {
                continue;
            }
            levels.push(level);
            if subject == Subject::Anyone {
                break;
            }
        }
        let certain = levels.first().filter(|level| level.subject == Subject::Anyone);
        match certain.and_then(|level| self.places.get(&level.place)?.anyone) {
            Some(instance) => Choice::Always(instance),
            None if levels.is_empty() => Choice::Nothing,
            None => Choice::Levels(levels),
        }
    }

    /// The instances that a level chooses from.
    pub fn instances(&self, level: Level) -> impl Iterator<Item = PluginIndex> + '_ {
        let place = self.places.get(&level.place);
        let subject = level.subject;
        let anyone = place.and_then(|place| place.anyone);
        let consumers = place
            .into_iter()
            .flat_map(|place| place.consumers.values().copied());
        let groups = place.into_iter().flat_map(|place| place.groups.values().copied());
        anyone
            .into_iter()
            .filter(move |_| subject == Subject::Anyone)
            .chain(consumers.filter(move |_| subject == Subject::Consumer))
            .chain(groups.filter(move |_| subject == Subject::Group))
    }

    fn is_empty(&self, level: Level) -> bool {
        let Some(place) = self.places.get(&level.place) else {
            return true;
        };
        match level.subject {
            Subject::Consumer => place.consumers.is_empty(),
            Subject::Group => place.groups.is_empty(),
            Subject::Anyone => place.anyone.is_none(),
        }
    }
}
