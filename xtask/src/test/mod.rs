//! `cargo xtask test`: gets what the tests need, runs all of them and adds the counts up.

mod component;
mod outcome;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::step;
use outcome::Outcome;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the unit tests, which need nothing installed
    #[arg(long, conflicts_with_all = ["blackbox", "driver"])]
    unit: bool,
    /// Only the black-box tests and the attacks
    #[arg(long)]
    blackbox: bool,
    /// Black-box tests and attacks on this driver only
    #[arg(long, value_parser = ["uring", "epoll"])]
    driver: Option<String>,
    /// Install nothing; say what is missing
    #[arg(long)]
    no_install: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Passes of the black-box tests: what is shown, `TOLLGATE_TEST_DRIVER`, the component it needs.
const DRIVERS: [(&str, &str); 2] = [("io_uring", "uring"), ("epoll", "epoll")];

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut total = Outcome::default();
    let mut missing = Vec::new();
    if !options.unit {
        step::say("components");
        missing = component::provide(!options.no_install)?;
    }
    if !options.blackbox && options.driver.is_none() {
        step::say("unit tests");
        total.add(
            "unit tests",
            cargo_test(&["--workspace", "--exclude", "tests"], &options.filter, &[])?,
        );
        total.add(
            "tests of the rig",
            cargo_test(&["--package", "tests", "--lib"], &options.filter, &[])?,
        );
        if options.filter.is_none() {
            total.add("doc tests", doc_tests()?);
        }
    }
    if !options.unit {
        blackbox(options, &missing, &mut total)?;
    }
    total.report(&missing);
    let is_whole = missing.is_empty() || !step::is_ci();
    Ok(if is_whole && total.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Environment of a test run.
type Env = Vec<(&'static str, OsString)>;

/// Builds what the black-box tests and the attacks run, and gives the environment that they find it by.
pub(crate) fn programs() -> Result<Env> {
    step::say("programs under test");
    step::run(step::cargo().args([
        "build",
        "--profile",
        "checked",
        "--package",
        "proxy",
        "--package",
        "policy-compiler",
    ]))?;
    let built = step::target_dir().join("checked");
    Ok(vec![
        ("TOLLGATE_BIN", built.join("tollgate").into_os_string()),
        ("TOLLC_BIN", built.join("tollc").into_os_string()),
        ("TOLLGATE_TEST_PYTHON", component::python().into_os_string()),
    ])
}

/// Which driver the gateway of a test run uses.
pub(crate) fn on_driver(programs: &Env, driver: &str) -> Env {
    let mut env = programs.clone();
    env.push(("TOLLGATE_TEST_DRIVER", driver.into()));
    env
}

fn blackbox(options: &Options, missing: &[String], total: &mut Outcome) -> Result<()> {
    let programs = programs()?;
    for (shown, driver) in DRIVERS {
        if options.driver.as_deref().is_some_and(|only| only != driver) {
            continue;
        }
        if missing.iter().any(|name| name == shown) {
            step::warn(&format!(
                "black-box tests on {shown} are skipped: this kernel refuses it"
            ));
            continue;
        }
        let env = on_driver(&programs, driver);
        for (what, binary) in [("black-box tests", "blackbox"), ("attacks", "torture")] {
            step::say(&format!("{what} on {shown}"));
            let selection = ["--package", "tests", "--test", binary];
            let ran = cargo_test(&selection, &options.filter, &env)?;
            total.add(&format!("{what} on {shown}"), ran);
        }
    }
    Ok(())
}

/// Runs tests by cargo-nextest where it is installed (a process per test, time limits), else by `cargo test`.
fn cargo_test(selection: &[&str], filter: &Option<String>, env: &[(&str, OsString)]) -> Result<Outcome> {
    let nextest = has_nextest();
    let mut command = step::cargo();
    if nextest {
        command.args(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"]);
    } else {
        command.args(["test", "--no-fail-fast"]);
    }
    command.args(selection).args(filter).envs(env.iter().cloned());
    if nextest {
        let (good, lines) = step::tee(&mut command)?;
        Ok(outcome::of_nextest(good, &lines))
    } else {
        plain(&mut command)
    }
}

fn doc_tests() -> Result<Outcome> {
    let packages = ["policy", "policy-compiler", "proxy"]
        .iter()
        .flat_map(|package| ["--package", package]);
    plain(step::cargo().args(["test", "--doc"]).args(packages))
}

/// `cargo test` prints its results on standard output.
fn plain(command: &mut Command) -> Result<Outcome> {
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    anstream::eprint!("{text}");
    Ok(outcome::of_libtest(output.status.success(), text.lines()))
}

fn has_nextest() -> bool {
    let asked = step::cargo().args(["nextest", "--version"]).output();
    asked.is_ok_and(|output| output.status.success())
}
