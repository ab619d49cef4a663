//! `cargo xtask fuzz`: builds the targets of tests/fuzz with coverage instrumentation and runs each for a while.
//!
//! libFuzzer needs no nightly compiler: the instrumentation is an LLVM pass that stable rustc runs when asked. Only
//! AddressSanitizer would need an unstable flag, and the fuzzed code is safe Rust.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::step;

/// What cargo-fuzz passes to rustc, without the sanitizer.
const INSTRUMENTATION: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets
    targets: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let dir = step::root().join("tests/fuzz");
    let all = targets(&dir)?;
    for wanted in &options.targets {
        ensure!(
            all.contains(wanted),
            "no target {wanted}; there are {}",
            all.join(", ")
        );
    }
    let chosen: Vec<&String> = all
        .iter()
        .filter(|name| options.targets.is_empty() || options.targets.contains(name))
        .collect();
    step::say("build with coverage instrumentation");
    let built = step::target_dir().join("fuzz");
    let host = host()?;
    let mut build = step::cargo();
    build
        .current_dir(&dir)
        .args(["build", "--release", "--target", &host])
        .arg("--target-dir")
        .arg(&built);
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    step::run(build.args(chosen.iter().flat_map(|name| ["--bin", name.as_str()])))?;
    let mut crashed = Vec::new();
    for name in chosen {
        step::say(&format!("{name}, {} s", options.seconds));
        if !fuzz(
            &built.join(&host).join("release").join(name),
            name,
            &built,
            options.seconds,
        )? {
            crashed.push(name.as_str());
        }
    }
    if crashed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    step::complain(&format!(
        "inputs that crash are in {}: {}",
        built.join("artifacts").display(),
        crashed.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}

/// Runs one target; false when it crashed. Found inputs stay in the build directory for the next run.
fn fuzz(program: &Path, name: &str, built: &Path, seconds: u64) -> Result<bool> {
    let corpus = built.join("corpus").join(name);
    let artifacts = built.join("artifacts").join(name);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = step::command(program);
    command
        .arg(&corpus)
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([
        &format!("-max_total_time={seconds}"),
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]);
    let seeds = step::root().join("tests/fuzz/seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    Ok(command
        .status()
        .with_context(|| program.display().to_string())?
        .success())
}

fn targets(dir: &Path) -> Result<Vec<String>> {
    let manifest: PathBuf = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    let table: toml::Table = text.parse()?;
    let bins = table
        .get("bin")
        .and_then(toml::Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(bins
        .iter()
        .filter_map(|bin| bin.get("name")?.as_str().map(str::to_owned))
        .collect())
}

fn host() -> Result<String> {
    let output = step::command("rustc")
        .args(["--version", "--verbose"])
        .output()
        .context("rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc does not tell its host")
}
