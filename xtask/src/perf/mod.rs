//! `cargo xtask perf`: the gateway beside its peers, in one run, as ratios.
//!
//! Load generator and origin share one core, the gateway under test has the other one to itself, one worker each.
//! The peers take turns within every round (A/B/A/B…), so that a noisy neighbour hits all of them. What is
//! compared is CPU time per request, which moves far less than request rates on a shared machine.

mod decision;
mod load;
mod measure;
mod peer;
mod report;
mod scenario;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use load::Load;
use peer::{Origin, Peer};
use report::Machine;
use scenario::Scenario;

use crate::step;

/// What to measure and how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each, every peer takes one turn in every scenario
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only scenarios whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Measure what a decision costs, beside cedar-policy and regorus, instead of the gateway under load
    #[arg(long)]
    decision: bool,
    /// Where results are written
    #[arg(long, default_value = "perf/results")]
    out: PathBuf,
}

/// One turn of one peer in one scenario.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Turn {
    scenario: &'static str,
    peer: &'static str,
    round: usize,
    requests: u64,
    errors: u64,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
    user_us: f64,
    system_us: f64,
    rss_kib: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let root = &step::root();
    let out = root.join(&options.out);
    let machine = Machine::look(root);
    if options.decision {
        decision::run(&out, &machine)?;
        return Ok(ExitCode::SUCCESS);
    }
    peer::require_tools()?;
    step::say("release build");
    step::run(step::cargo().args(["build", "--release", "-p", "proxy", "-p", "policy-compiler"]))?;
    // This process holds the scripted model, so it belongs to the load's core, as do the children that it starts.
    let mut load_core = rustix::thread::CpuSet::new();
    load_core.set(peer::LOAD_CORE);
    rustix::thread::sched_setaffinity(None, &load_core)?;
    step::say("load");
    let dir = tempfile::tempdir().context("a directory for the peers' files")?;
    let scenarios: Vec<Scenario> = scenario::all()
        .into_iter()
        .filter(|scenario| {
            options
                .only
                .as_ref()
                .is_none_or(|only| scenario.name.contains(only.as_str()))
        })
        .collect();
    let origin = Origin::start(root, dir.path())?;
    let mut turns = Vec::new();
    for scenario in &scenarios {
        let peers: Vec<Peer> = scenario
            .peers
            .iter()
            .map(|kind| Peer::start(root, dir.path(), *kind, scenario, &origin))
            .collect::<Result<_>>()?;
        for round in 0..options.rounds {
            for peer in &peers {
                let turn = turn(root, options, scenario, peer, round)?;
                anstream::println!(
                    "{:14} round {} {:9} {:8.0} req/s  cpu {:5.1} µs/req  p99 {:7.0} µs",
                    turn.scenario,
                    round + 1,
                    turn.peer,
                    turn.rps,
                    turn.user_us + turn.system_us,
                    turn.p99_us
                );
                turns.push(turn);
            }
        }
    }
    let idle = measure::idle_connections(root, dir.path(), &origin, 10_000)?;
    report::write(&out, options, &machine, &turns, &idle)?;
    Ok(ExitCode::SUCCESS)
}

fn turn(root: &Path, options: &Options, scenario: &Scenario, peer: &Peer, round: usize) -> Result<Turn> {
    let load = Load::new(root, scenario, peer.port());
    load.run(1)?;
    let before = measure::cpu(peer.pid())?;
    let result = load.run(options.seconds)?;
    let after = measure::cpu(peer.pid())?;
    anyhow::ensure!(
        result.errors == 0,
        "{} answered {} of {} requests with errors in {}",
        peer.name(),
        result.errors,
        result.requests,
        scenario.name
    );
    let each = |ticks: u64| measure::microseconds(ticks) / result.requests.max(1) as f64;
    Ok(Turn {
        scenario: scenario.name,
        peer: peer.name(),
        round,
        requests: result.requests,
        errors: result.errors,
        rps: result.rps,
        p50_us: result.p50_us,
        p99_us: result.p99_us,
        user_us: each(after.user - before.user),
        system_us: each(after.system - before.system),
        rss_kib: measure::rss_kib(peer.pid())?,
    })
}
