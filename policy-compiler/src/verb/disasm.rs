//! `tollc disasm`: what an artifact holds, from the artifact alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Output, eval, print};
use crate::disasm::listing;

#[derive(Args)]
pub(super) struct Disasm {
    /// The artifact
    artifact: PathBuf,
}

impl Disasm {
    pub(super) fn run(self, _output: Output) -> ExitCode {
        match eval::load(&self.artifact) {
            Ok(policy) => {
                print(&listing(&policy));
                ExitCode::SUCCESS
            }
            Err(code) => code,
        }
    }
}
