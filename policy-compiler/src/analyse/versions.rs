//! What Kong 3.9 and 3.15 make of a file that is not the same, in words; equal things are counted together.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::deck::entity::{Model, SensitivityKind};
use crate::schema::{KongCompat, Lack};
use crate::source::{Sources, Span};

/// One thing that differs. Serialises as its JSON form.
#[derive(Serialize, Debug)]
pub struct Note {
    /// The version that it is about.
    pub kong: String,
    /// A sentence without a full stop.
    pub message: String,
    /// How many places there are.
    pub count: usize,
    /// `file:line` of the first.
    pub first: String,
}

/// Everything that depends on the version.
pub fn notes(model: &Model, sources: &Sources) -> Vec<Note> {
    let mut kinds: BTreeMap<&SensitivityKind, (usize, Span)> = BTreeMap::new();
    for sensitivity in &model.sensitivities {
        let (count, first) = kinds.entry(&sensitivity.kind).or_insert((0, sensitivity.span));
        *count += 1;
        *first = sensitivity.span.min(*first);
    }
    let note = |(kind, (count, first)): (&SensitivityKind, (usize, Span))| Note {
        kong: version(kind, model.compat).to_string(),
        message: match version(kind, model.compat) {
            kong if kong == model.compat => format!("{}; read here all the same", words(kind, count, kong)),
            _ => words(kind, count, model.compat),
        },
        count,
        first: sources.line(first),
    };
    kinds.into_iter().map(note).collect()
}

/// Who differs from what Tollgate does: whoever refuses something, else the version that was not chosen.
fn version(kind: &SensitivityKind, chosen: KongCompat) -> KongCompat {
    match kind {
        SensitivityKind::Plugin { version, .. }
        | SensitivityKind::Protocol { version, .. }
        | SensitivityKind::Written { version, .. } => *version,
        SensitivityKind::RouteProtocols
        | SensitivityKind::ServiceTlsVerify
        | SensitivityKind::ServiceTlsUnverified
        | SensitivityKind::PluginDefault { .. } => chosen.other(),
    }
}

fn words(kind: &SensitivityKind, count: usize, chosen: KongCompat) -> String {
    let to_old = chosen == KongCompat::V3_15;
    match kind {
        SensitivityKind::RouteProtocols => {
            let (verb, then) = if to_old {
                ("also accept", "http")
            } else {
                ("become", "https-only")
            };
            format!("{} {then}", of(count, "route", " without `protocols`", verb))
        }
        SensitivityKind::ServiceTlsVerify => {
            let (verb, then) = if to_old {
                ("are", "no longer verified")
            } else {
                ("become", "verified")
            };
            format!(
                "{} {then}",
                of(count, "TLS service", " without `tls_verify`", verb)
            )
        }
        SensitivityKind::ServiceTlsUnverified => {
            let who = of(count, "TLS service", " with `tls_verify: false`", "are");
            if to_old {
                format!("{who} accepted")
            } else {
                format!("{who} refused, unless verification is off for the whole gateway")
            }
        }
        SensitivityKind::PluginDefault {
            plugin,
            field,
            default_3_9,
            default_3_15,
        } => {
            let (from, to) = if to_old {
                (default_3_15, default_3_9)
            } else {
                (default_3_9, default_3_15)
            };
            let who = of(count, &format!("{plugin} plugin"), "", "change");
            format!("{who} `{field}` from {from} to {to}")
        }
        SensitivityKind::Plugin { plugin, .. } => {
            format!(
                "{}: it has no such plugin",
                refused(count, &format!("{plugin} plugin"), "")
            )
        }
        SensitivityKind::Protocol { plugin, protocol, .. } => {
            let with = format!(" with the protocol `{protocol}`");
            refused(count, &format!("{plugin} plugin"), &with)
        }
        SensitivityKind::Written { of, field, lack, .. } => written(count, of, field, lack),
    }
}

fn written(count: usize, of: &str, field: &str, lack: &Lack) -> String {
    match lack {
        Lack::Field => {
            let who = refused(count, of, &format!(" with `{field}`"));
            format!("{who}: it has no such field")
        }
        Lack::Value(value) => {
            let who = refused(count, of, &format!(" with `{field}: {value}`"));
            format!("{who}: it has no such value")
        }
        Lack::Type(wanted) => {
            let who = refused(count, of, &format!(" with such a `{field}`"));
            format!("{who}: there it must be {wanted}")
        }
        Lack::Absence => refused(count, of, &format!(" without `{field}`")),
    }
}

fn refused(count: usize, noun: &str, rest: &str) -> String {
    format!("{} refused", of(count, noun, rest, "are"))
}

/// What is counted takes the plural; `rest` comes behind it.
fn of(count: usize, noun: &str, rest: &str, verb: &str) -> String {
    match (count, verb) {
        // There is one of it in a run.
        (_, "are") if noun.starts_with("the ") => format!("{noun}{rest} is"),
        (1, "are") => format!("1 {noun}{rest} is"),
        (1, verb) => format!("1 {noun}{rest} {verb}s"),
        (_, verb) => format!("{count} {noun}s{rest} {verb}"),
    }
}
