//! `tollc`: the offline policy compiler.

use std::process::ExitCode;

use clap::Parser as _;
use policy_compiler::verb::{Cli, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Cli::parse())
}
