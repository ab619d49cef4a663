//! Levels of precedence at hand-written sites.

use serde_json::json;

use super::*;
use crate::deck::entity::Scope;
use crate::deck::entity::sample::plugin;

const SITE: Site = Site {
    subsystem: Subsystem::Http,
    route: Some(RouteIndex(0)),
    service: Some(ServiceIndex(0)),
};

/// A rate-limiting instance: which of consumer, group, service and route its scope names.
fn instance(scope: &str) -> Plugin {
    let named = |what| scope.contains(what);
    let scope = Scope {
        service: named('s').then_some(ServiceIndex(0)),
        route: named('r').then_some(RouteIndex(0)),
        consumer: named('c').then_some(ConsumerIndex(0)),
        consumer_group: named('g').then_some(ConsumerGroupIndex(0)),
    };
    Plugin {
        enabled: !named('-'),
        ..plugin("rate-limiting", 910, scope, &json!({}))
    }
}

fn chosen(scopes: &[&str], site: Site, identified: bool) -> Vec<usize> {
    let model = Model {
        plugins: scopes.iter().map(|scope| instance(scope)).collect(),
        ..Model::default()
    };
    let names = names(&model, &Report::default());
    let Some(named) = names.first() else {
        return Vec::new();
    };
    match named.choose(site, identified) {
        Choice::Nothing => Vec::new(),
        Choice::Always(index) => vec![index.0 as usize],
        Choice::Levels(levels) => levels
            .into_iter()
            .flat_map(|level| named.instances(level).map(|index| index.0 as usize))
            .collect(),
    }
}

#[test]
fn levels_stand_in_kongs_order() {
    let scopes = ["", "s", "r", "g", "c", "gs", "gr", "cs", "cr", "grs", "crs"];
    assert_eq!(chosen(&scopes, SITE, true), [10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let with_both = ["", "rs", "c", "cr"];
    assert_eq!(chosen(&with_both, SITE, true), [3, 1]);
}

#[test]
fn callers_count_for_nothing_until_they_are_known() {
    assert_eq!(chosen(&["c", "g", "r", ""], SITE, false), [2]);
    assert_eq!(chosen(&["c", "g"], SITE, false), [0; 0]);
}

#[test]
fn a_disabled_instance_masks_nothing() {
    assert_eq!(chosen(&["r-", "s"], SITE, true), [1]);
}

#[test]
fn where_no_route_matched_only_global_instances_run() {
    let nowhere = Site {
        subsystem: Subsystem::Http,
        route: None,
        service: None,
    };
    assert_eq!(chosen(&["r", "s", "rs", ""], nowhere, false), [3]);
    assert_eq!(chosen(&["r", "s"], nowhere, false), [0; 0]);
}

#[test]
fn consumer_and_group_at_once_are_reported() {
    let model = Model {
        plugins: vec![instance("cg")],
        ..Model::default()
    };
    let report = Report::default();
    names(&model, &report);
    let codes: Vec<_> = report.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(json!(codes), json!(["plugin-never-applies"]));
}

#[test]
fn equal_priorities_run_in_reverse_alphabet() {
    let plugin = |name: &str, priority| Plugin {
        name: name.into(),
        priority,
        ..instance("")
    };
    let model = Model {
        plugins: vec![plugin("a", 5), plugin("b", 5), plugin("c", 9)],
        ..Model::default()
    };
    let names = names(&model, &Report::default());
    let order: Vec<&str> = names.iter().map(|named| &*named.name).collect();
    assert_eq!(order, ["c", "b", "a"]);
}
