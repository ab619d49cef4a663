//! `tollc explain`: the policy as the gateway will run it.

use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Reading, code, print};
use crate::analyse::explain::explain;

#[derive(Args)]
pub(super) struct Explain {
    #[command(flatten)]
    reading: Reading,
}

impl Explain {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (read, artifact) = self.reading.compile(0);
        output.findings(&read);
        let failed = self.reading.failed(&read.report);
        let explanation = match (&artifact, &read.model) {
            (Some(artifact), Some(model)) => Some(explain(model, &read.sources, artifact)),
            _ => None,
        };
        if let (Some(explanation), Format::Human) = (&explanation, output.format) {
            print(&explanation.human());
        }
        output.document(&read, serde_json::json!({"ok": !failed, "policy": explanation}));
        code(failed)
    }
}
