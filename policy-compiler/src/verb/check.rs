//! `tollc check`: everything that is wrong, and what another Kong version would make of the files.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Reading, code};
use crate::deck::entity::{Model, SensitivityKind};
use crate::schema::KongCompat;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    reading: Reading,
}

impl Check {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (read, _artifact) = self.reading.compile(0);
        output.findings(&read);
        let notes = read.model.as_ref().map(sensitivities).unwrap_or_default();
        if output.format == Format::Human && read.report.errors() == 0 {
            for note in &notes {
                eprintln!(
                    "note: under --kong-compat {}: {note}",
                    self.reading.kong_compat.other()
                );
            }
            if let Some(model) = &read.model {
                eprintln!("ok: {}", counts(model));
            }
        }
        let failed = self.reading.failed(&read.report);
        output.document(&read, serde_json::json!({"ok": !failed, "other_version": notes}));
        code(failed)
    }
}

/// What a model holds, in words.
pub(super) fn counts(model: &Model) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    [
        count(model.services.len(), "service"),
        count(model.routes.len(), "route"),
        count(model.consumers.len(), "consumer"),
        count(model.plugins.len(), "plugin"),
        count(model.upstreams.len(), "upstream"),
    ]
    .join(", ")
}

/// Where the other version would change the meaning, counted by kind.
fn sensitivities(model: &Model) -> Vec<String> {
    let mut kinds: BTreeMap<&SensitivityKind, usize> = BTreeMap::new();
    for sensitivity in &model.sensitivities {
        *kinds.entry(&sensitivity.kind).or_default() += 1;
    }
    let to_old = model.compat == KongCompat::V3_15;
    // What is counted takes the plural; `rest` comes behind it.
    let of = |count: usize, (noun, rest): (&str, &str), verb: &str| match (count, verb) {
        (1, "are") => format!("1 {noun}{rest} is"),
        (1, verb) => format!("1 {noun}{rest} {verb}s"),
        (_, verb) => format!("{count} {noun}s{rest} {verb}"),
    };
    let words = |(kind, count): (&SensitivityKind, usize)| match kind {
        SensitivityKind::RouteProtocols if to_old => {
            format!(
                "{} http",
                of(count, ("route", " without `protocols`"), "also accept")
            )
        }
        SensitivityKind::RouteProtocols => {
            format!(
                "{} https-only",
                of(count, ("route", " without `protocols`"), "become")
            )
        }
        SensitivityKind::ServiceTlsVerify if to_old => {
            format!(
                "{} no longer verified",
                of(count, ("TLS service", " without `tls_verify`"), "are")
            )
        }
        SensitivityKind::ServiceTlsVerify => {
            format!(
                "{} verified",
                of(count, ("TLS service", " without `tls_verify`"), "become")
            )
        }
        SensitivityKind::ServiceTlsUnverified => {
            let who = of(count, ("TLS service", " with `tls_verify: false`"), "are");
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
            let who = of(count, (&format!("{plugin} plugin"), ""), "change");
            format!("{who} `{field}` from {from} to {to}")
        }
    };
    kinds.into_iter().map(words).collect()
}
