//! `cargo xtask torture`: every attack of tests/torture on one driver, and the table of what each proxy did.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{step, test};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The driver of the gateway
    #[arg(long, default_value = "uring", value_parser = ["uring", "epoll"])]
    driver: String,
    /// Where the table is written
    #[arg(long, default_value = "perf/results/torture.md")]
    out: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    for program in ["nginx", "haproxy"] {
        tests::program(program)?;
    }
    let out = step::root().join(&options.out);
    let env = test::on_driver(&test::programs()?, &options.driver);
    step::say("attacks");
    step::run(
        step::cargo()
            .args(["test", "--package", "tests", "--test", "torture"])
            .envs(env)
            .env("TOLLGATE_TORTURE_COMMIT", commit()?)
            .env("TOLLGATE_TORTURE_REPORT", &out),
    )?;
    step::say(&format!("written to {}", options.out.display()));
    Ok(ExitCode::SUCCESS)
}

/// The commit of the working tree, and whether it is what is there.
fn commit() -> Result<String> {
    let output = step::command("git")
        .args(["describe", "--always", "--dirty", "--abbrev=7", "--exclude", "*"])
        .output()
        .context("git")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
