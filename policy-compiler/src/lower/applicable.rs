//! Plugins on routes whose subsystem they do not run in.

use std::collections::HashSet;

use crate::deck::entity::{Model, ServiceIndex};
use crate::diagnostic::{Diagnostic, Report};
use crate::router;
use crate::scope::{self, Subsystem};

/// Reports plugins that are attached to a route, or to a service with routes, and share no subsystem with it. Kong
/// refuses them; nothing would do their work.
pub(super) fn report(model: &Model, report: &Report) {
    let routed = model.routes.iter().filter(|route| router::routable(model, route));
    let of_services: HashSet<(ServiceIndex, Subsystem)> = routed
        .filter_map(|route| Some((route.service?, Subsystem::of(route))))
        .collect();
    for plugin in model.plugins.iter().filter(|plugin| scope::visible(plugin)) {
        let runs = |subsystem| scope::takes_part(plugin, subsystem);
        let wanted: Vec<Subsystem> = match (plugin.scope.route, plugin.scope.service) {
            (Some(route), _) => vec![Subsystem::of(&model[route])],
            (None, Some(service)) => Subsystem::ALL
                .into_iter()
                .filter(|subsystem| of_services.contains(&(service, *subsystem)))
                .collect(),
            (None, None) => continue,
        };
        if wanted.is_empty() || wanted.iter().any(|subsystem| runs(*subsystem)) {
            continue;
        }
        let (what, help) = if wanted == [Subsystem::Stream] {
            (
                "connections",
                "ip-restriction, file-log and prometheus do, where their `protocols` name tcp, tls or tls_passthrough",
            )
        } else {
            ("requests", "name http or https in its `protocols`")
        };
        let words = format!("this {} does not run for {what}", plugin.name);
        let finding = Diagnostic::error("plugin-not-applicable", words).at(plugin.meta.span);
        report.push(
            finding
                .label("it has no protocol in common with where it is attached")
                .help(help),
        );
    }
}
