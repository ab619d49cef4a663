//! Puts a scenario's load on one peer and says what came of it.

mod drive;
mod h2load;
mod wrk;

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::peer::{LOAD_CORE, Peer, pinned};
use super::rig::Rig;
use super::scenario::{Load, Scenario};

pub(crate) use drive::{Connection, announce, answer, ask_for, connect};

/// What came of a load.
pub(crate) struct Outcome {
    /// Answers of any kind.
    pub(crate) requests: u64,
    /// Answers other than 2xx and 3xx, and broken connections.
    pub(crate) errors: u64,
    /// Requests per second.
    pub(crate) rps: f64,
    /// Median latency.
    pub(crate) p50_us: f64,
    /// 99th percentile of latency.
    pub(crate) p99_us: f64,
}

/// Loads for some seconds; what is under way then may end.
///
/// # Errors
/// When the generator fails, or prints something else than it does.
pub(crate) fn run(rig: &Rig, scenario: &Scenario, peer: &Peer, seconds: u64) -> Result<Outcome> {
    let port = peer.port(scenario);
    match scenario.load {
        Load::Wrk { script, env } => wrk::run(rig, scenario, script, env, port, seconds),
        Load::H2load { streams, call } => h2load::run(rig, scenario, streams, call, port, seconds),
        Load::Drive(exchange) => drive::run(rig, scenario.connections, exchange, port, seconds),
    }
}

fn url(scenario: &Scenario, port: u16) -> String {
    let scheme = if scenario.tls { "https" } else { "http" };
    format!("{scheme}://{}:{port}{}", super::rig::HOST, scenario.path)
}

/// What timeout(1) ends with when it had to end something.
const TIMED_OUT: i32 = 124;
/// How long after its time a generator may go on.
const LATE_S: u64 = 30;

/// What a generator prints, on the load's core.
fn printed(program: &str, seconds: u64, with: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut timeout = pinned(LOAD_CORE, "timeout");
    timeout.arg((seconds + LATE_S).to_string()).arg(program);
    let output = with(&mut timeout)
        .stdout(std::process::Stdio::piped())
        .output()
        .with_context(|| format!("{program} does not start"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(TIMED_OUT) {
        bail!("{program} should have ended {LATE_S} seconds ago: {text}");
    }
    if !output.status.success() {
        bail!(
            "{program} failed: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

/// Sorts latencies and gives the median and the 99th percentile.
fn percentiles(latencies_us: &mut [u64]) -> (f64, f64) {
    latencies_us.sort_unstable();
    let at = |hundredth: usize| {
        latencies_us
            .get(latencies_us.len() * hundredth / 100)
            .map_or(f64::NAN, |latency| *latency as f64)
    };
    (at(50), at(99))
}
