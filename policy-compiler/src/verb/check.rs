//! `tollc check`: everything that is wrong, and where Kong 3.9 and 3.15 read the files in different ways.

use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Reading, code};
use crate::analyse::versions::notes;
use crate::deck::entity::Model;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    reading: Reading,
}

impl Check {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (read, _artifact) = self.reading.compile(0);
        output.findings(&read);
        let notes = read.model.as_ref().map(|model| notes(model, &read.sources));
        let notes = notes.unwrap_or_default();
        if output.format == Format::Human && read.report.errors() == 0 {
            for note in &notes {
                let place = if note.count == 1 { "" } else { "first " };
                eprintln!(
                    "note: Kong {}: {} ({place}{})",
                    note.kong, note.message, note.first
                );
            }
            if let Some(model) = &read.model {
                eprintln!("ok: {}", counts(model));
            }
        }
        let failed = self.reading.failed(&read.report);
        output.document(&read, serde_json::json!({"ok": !failed, "versions": notes}));
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
