//! `cargo xtask perf`: the gateway beside its peers, in one run, as ratios.
//!
//! Load generator and origins share one core, the gateway under test has the other one to itself, one worker each.
//! The peers take turns within every round (A/B/A/B…), so that a noisy neighbour hits all of them. What is
//! compared is CPU time per request, which moves far less than request rates on a shared machine.

mod decision;
mod held;
mod load;
mod measure;
mod message;
mod origin;
mod peer;
mod report;
mod rig;
mod scenario;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use peer::Peer;
pub(crate) use report::Machine;
use rig::Rig;
pub(crate) use rig::trusting;
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
    /// Only these scenarios, by name, and no idle connections
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
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

impl Turn {
    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let root = &step::root();
    let out = root.join(&options.out);
    let machine = Machine::look(root);
    if options.decision {
        decision::run(&out, &machine)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scenarios = chosen(&options.only)?;
    peer::require_tools()?;
    step::say("release build");
    step::run(step::cargo().args(["build", "--release", "-p", "proxy", "-p", "policy-compiler"]))?;
    // This process holds clients and origins, so it belongs to the load's core, as do the children that it starts.
    let mut load_core = rustix::thread::CpuSet::new();
    load_core.set(peer::LOAD_CORE);
    rustix::thread::sched_setaffinity(None, &load_core)?;
    step::say("load");
    let rig = &Rig::start(root)?;
    let (mut turns, mut held) = (Vec::new(), Vec::new());
    for scenario in &scenarios {
        let peers: Vec<Peer> = scenario
            .peers
            .iter()
            .map(|kind| Peer::start(rig, *kind, scenario))
            .collect::<Result<_>>()?;
        for peer in &peers {
            held.extend(held::held_up(scenario, peer)?);
        }
        for round in 0..options.rounds {
            for peer in &peers {
                let turn = turn(rig, options, scenario, peer, round)
                    .with_context(|| format!("{} in {}", peer.name(), scenario.name))?;
                anstream::println!(
                    "{:14} round {} {:9} {:8.0} req/s  cpu {:5.1} µs/req  p99 {:7.0} µs",
                    turn.scenario,
                    round + 1,
                    turn.peer,
                    turn.rps,
                    turn.cpu_us(),
                    turn.p99_us
                );
                turns.push(turn);
            }
        }
    }
    if options.only.is_empty() {
        held.push(held::idle(rig, 10_000)?);
    }
    report::write(&out, options, &machine, &turns, &held)?;
    Ok(ExitCode::SUCCESS)
}

/// All scenarios, or those that are named.
fn chosen(only: &[String]) -> Result<Vec<Scenario>> {
    let mut all = scenario::all();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("no scenario {unknown}; there are {}", names.join(", "));
    }
    if !only.is_empty() {
        all.retain(|scenario| only.iter().any(|name| name == scenario.name));
    }
    Ok(all)
}

fn turn(rig: &Rig, options: &Options, scenario: &Scenario, peer: &Peer, round: usize) -> Result<Turn> {
    load::run(rig, scenario, peer, 1)?;
    let before = measure::cpu(peer.pid())?;
    let result = load::run(rig, scenario, peer, options.seconds)?;
    let after = measure::cpu(peer.pid())?;
    anyhow::ensure!(
        result.errors == 0,
        "{} of {} requests were answered with errors",
        result.errors,
        result.requests
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
