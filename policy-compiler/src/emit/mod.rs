//! Writes the artifact: everything that the gateway reads of a model, in rows that it reads in place.
//!
//! Rows of services, upstreams, certificates and consumers have the numbers of the model's; subroutes have their
//! rank, regexes the number of their automaton. The bytes depend on the model, the files' names and the generation
//! alone. What was written is proved with the gateway's own verifier before anybody gets it.

mod balancing;
mod credential;
mod entity;
mod identity;
mod json;
mod routing;
mod stream;

use std::collections::BTreeMap;

use policy::artifact::{BuildError, Limits};
use policy::table::{Compat, Meta, Regex};
use policy::{Fault, FaultKind, Policy};

pub(crate) use entity::authorities;

use crate::deck::entity::{Model, RouteIndex};
use crate::diagnostic::{Diagnostic, Report};
use crate::lower::{Context, Lowerer, Options, report_fault};
use crate::plugin;
use crate::router::{self, Plan, Stream, Subroute};
use crate::schema::KongCompat;
use crate::scope::{Site, Subsystem};
use crate::source::{Sources, Span};

/// A compiled model.
pub struct Artifact {
    /// The `.toll` file.
    pub bytes: Vec<u8>,
    /// The file, verified.
    pub policy: Policy,
    /// Secrets that must stand beside it, by the name that the artifact gives them. Never print the values.
    pub sealed: BTreeMap<String, String>,
    /// The model's route for each row of routes; one more row holds what runs when no route matched.
    pub routes: Vec<RouteIndex>,
    /// The order in which routes are tried; a subroute's place is its row.
    pub order: Vec<Subroute>,
    /// The order in which routes for connections are tried; a route's place is its row.
    pub streams: Vec<Stream>,
}

/// Compiles a model. None when the report has errors, old or new.
pub fn artifact(model: &Model, sources: &Sources, report: &Report, options: Options) -> Option<Artifact> {
    let was_broken = report.errors() > 0;
    let plan = router::plan(model, sources, report);
    if was_broken {
        // What is left of the routes could be checked; plugins need a model in which every reference leads somewhere.
        return None;
    }
    write(identity::digest(model), model, plan, sources, report, options)
}

/// The same under an identity of the caller's choice, so that artifacts of different sources can be compared.
#[cfg(test)]
pub(crate) fn artifact_as(
    id: [u8; 32],
    model: &Model,
    sources: &Sources,
    report: &Report,
    options: Options,
) -> Option<Artifact> {
    let plan = router::plan(model, sources, report);
    write(id, model, plan, sources, report, options)
}

fn write(
    id: [u8; 32],
    model: &Model,
    plan: Plan,
    sources: &Sources,
    report: &Report,
    options: Options,
) -> Option<Artifact> {
    let Plan {
        subroutes,
        streams,
        tests,
        automata,
    } = plan;
    let salt = blake3::derive_key("tollgate 2026 artifact salt", &id);
    let mut context = Context::new(model, sources, report, options, salt, automata);
    let context = &mut context;
    entity::write(context);
    let credentials = credential::write(context);
    plugin::report_unread(context);
    let mut lowerer = Lowerer::new(context);
    let rows = routing::routes(context, &tests, &mut lowerer);
    let search = routing::write(context, &subroutes, &tests, &rows);
    stream::write(context, &streams, &tests, &rows);
    lowerer.report_unused(context);
    write_regexes(context);
    let meta = Meta {
        compat: match model.compat {
            KongCompat::V3_9 => Compat::V3_9,
            KongCompat::V3_15 => Compat::V3_15,
        },
        salt,
        workspace: context.text(model.workspace.as_deref().unwrap_or("default")),
        hosts: search.hosts,
        host_seeds: search.seeds,
        suffix_hosts: search.suffix,
        prefix_hosts: search.prefix,
        port_hosts: search.port,
        any_host: search.any_host,
        route_cost: 0,
        keys: credentials.keys,
        key_seeds: credentials.key_seeds,
        basics: credentials.basics,
        basic_seeds: credentials.basic_seeds,
        unmatched: rows.unmatched,
        snis: entity::snis(context),
    };
    context.builder.row(&meta);
    if report.errors() > 0 {
        return None;
    }
    let builder = std::mem::take(&mut context.builder);
    let bytes = builder
        .finish(id, options.generation)
        .map_err(|error| match error {
            BuildError::Overflow => report.push(Diagnostic::error("too-large", "the artifact outgrew 4 GiB")),
            BuildError::Unsound(fault) => refuse(model, &rows.models, report, fault),
        })
        .ok()?;
    let policy = Policy::load(&bytes, Limits::default())
        .map_err(|fault| refuse(model, &rows.models, report, fault))
        .ok()?;
    Some(Artifact {
        bytes,
        policy,
        sealed: std::mem::take(&mut context.sealed),
        routes: rows.models,
        order: subroutes,
        streams,
    })
}

/// The route of a site in the model.
pub(crate) fn site(model: &Model, route: RouteIndex) -> Site {
    Site {
        subsystem: Subsystem::of(&model[route]),
        route: Some(route),
        service: model[route].service,
    }
}

fn write_regexes(context: &mut Context<'_>) {
    let automata = std::mem::take(&mut context.automata);
    for automaton in automata.iter() {
        // Padding in front keeps the automaton's own words aligned; the builder aligns it already.
        let (bytes, padding) = automaton.dfa.to_bytes_little_endian();
        let row = Regex {
            dfa: context.builder.automaton(&bytes[padding..]),
            patterns: context
                .builder
                .names(automaton.patterns.iter().map(|pattern| &**pattern)),
        };
        context.builder.row(&row);
    }
}

/// Says what the verifier refused, at the place in the file that it comes from.
fn refuse(model: &Model, routes: &[RouteIndex], report: &Report, fault: Fault) {
    let route = usize::try_from(fault.at).ok().and_then(|row| routes.get(row));
    match (fault.section, fault.kind, route) {
        ("Route", FaultKind::Cost(cost, budget), Some(&route)) => report.push(
            Diagnostic::error(
                "over-budget",
                format!(
                    "judging a request to this route can cost {cost} units, the gateway's budget is {budget}"
                ),
            )
            .at(model[route].meta.span)
            .help(
                "a unit is about a nanosecond; query and body look-ups are the dearest, so name fewer keys",
            ),
        ),
        ("Meta", FaultKind::Cost(cost, budget), _) => report.push(
            Diagnostic::error(
                "over-budget",
                format!("finding a route can cost {cost} units, the gateway's budget is {budget}"),
            )
            .help("regexes that share a host are tried one after the other: use prefixes, or more hosts"),
        ),
        (_, FaultKind::Effects, _) => report.push(
            Diagnostic::error(
                "too-many-effects",
                format!(
                    "a route applies more than {} edits, logs and metrics",
                    policy::vm::EFFECTS_MAX
                ),
            )
            .help("merge transformers, or move some of them to other routes"),
        ),
        (section, FaultKind::Sent(column), _) => {
            let words = format!(
                "`{column}` of {section} #{} cannot be sent as it stands",
                fault.at
            );
            let finding = Diagnostic::error("unsendable", words)
                .help("hosts and paths hold no spaces, names and values no control characters");
            report.push(match entity_span(model, section, fault.at) {
                Some(span) => finding.at(span),
                None => finding,
            });
        }
        _ => report_fault(report, format!("the artifact does not verify: {fault}")),
    }
}

/// The entity whose row has this number, where rows are numbered as the model is.
fn entity_span(model: &Model, section: &str, row: u64) -> Option<Span> {
    let row = usize::try_from(row).ok()?;
    let meta = match section {
        "Service" => &model.services.get(row)?.meta,
        "Upstream" => &model.upstreams.get(row)?.meta,
        "Consumer" => &model.consumers.get(row)?.meta,
        _ => return None,
    };
    Some(meta.span)
}
