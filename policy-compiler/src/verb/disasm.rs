//! `tollc disasm`: what an artifact holds, from the artifact alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, eval, print};
use crate::disasm::{document, listing};

#[derive(Args)]
pub(super) struct Disasm {
    /// The artifact
    artifact: PathBuf,
}

impl Disasm {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (read, policy) = eval::load(&self.artifact);
        let Some(policy) = policy else {
            return output.failure(&read);
        };
        match output.format {
            Format::Human => print(&listing(&policy)),
            Format::Json => {
                let mut document = document(&policy);
                document["ok"] = true.into();
                output.document(&read, document);
            }
        }
        ExitCode::SUCCESS
    }
}
