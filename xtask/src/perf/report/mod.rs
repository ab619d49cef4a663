//! Writes what was measured: JSON with every turn, a Markdown table of medians and ratios, and a plot.

mod machine;
mod plot;
mod table;

use std::path::Path;

use anyhow::{Context as _, Result};

use super::held::{Held, IDLE};
use super::scenario::{Goal, Scenario, Than};
use super::{Options, Turn, scenario};

pub(crate) use machine::Machine;

/// What one scenario came to.
struct Summary {
    scenario: Scenario,
    medians: Vec<Median>,
    /// Whom others are compared with: whoever of the peers takes the least CPU.
    better: &'static str,
    held: Vec<Held>,
}

/// One peer's turns in a scenario.
struct Median {
    peer: &'static str,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
    user_us: f64,
    system_us: f64,
    spread_us: f64,
    /// CPU per request by nginx's in the same round: neighbours on the machine slow both.
    to_nginx: f64,
    /// The same by the better peer's.
    to_better: f64,
    rss_kib: f64,
}

impl Summary {
    fn median(&self, peer: &str) -> Option<&Median> {
        self.medians.iter().find(|median| median.peer == peer)
    }

    /// What tollgate reached of a goal, and whom it was compared with.
    fn reached(&self, goal: Goal) -> Option<(f64, &'static str)> {
        let own = self.median(TOLLGATE)?;
        Some(match goal.of {
            Than::BetterPeer => (own.to_better, self.better),
            Than::Nginx => (own.to_nginx, NGINX),
        })
    }
}

impl Median {
    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

const NGINX: &str = super::peer::Kind::Nginx.name();
const TOLLGATE: &str = super::peer::Kind::Tollgate.name();

/// Writes `latest.json`, `latest.md` and `latest.svg`.
pub(super) fn write(
    out: &Path,
    options: &Options,
    machine: &Machine,
    turns: &[Turn],
    held: &[Held],
) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let summaries = summaries(turns, held);
    let document = serde_json::json!({
        "command": command(options),
        "machine": machine,
        "turns": turns,
        "held": held,
    });
    std::fs::write(
        out.join("latest.json"),
        serde_json::to_string_pretty(&document)? + "\n",
    )?;
    let idle = held.iter().find(|held| held.scenario == IDLE);
    let table = table::markdown(&command(options), machine, &summaries, idle)?;
    std::fs::write(out.join("latest.md"), &table)?;
    plot::draw(&out.join("latest.svg"), &summaries).context("the plot")?;
    anstream::print!("\n{table}\nwritten to {}\n", out.display());
    Ok(())
}

fn command(options: &Options) -> String {
    let mut command = format!(
        "cargo xtask perf --rounds {} --seconds {}",
        options.rounds, options.seconds
    );
    if !options.only.is_empty() {
        command += " --only ";
        command += &options.only.join(",");
    }
    command
}

fn summaries(turns: &[Turn], held: &[Held]) -> Vec<Summary> {
    scenario::all()
        .into_iter()
        .filter_map(|scenario| {
            let own: Vec<&Turn> = turns
                .iter()
                .filter(|turn| turn.scenario == scenario.name)
                .collect();
            let cpu = |peer: &str| median(of(&own, peer).map(Turn::cpu_us).collect());
            let names = scenario.peers.iter().map(|kind| kind.name());
            let better = names
                .clone()
                .filter(|name| *name != TOLLGATE)
                .min_by(|one, other| cpu(one).total_cmp(&cpu(other)))?;
            (!own.is_empty()).then(|| Summary {
                medians: names.map(|peer| medians(&own, peer, better)).collect(),
                held: held
                    .iter()
                    .filter(|held| held.scenario == scenario.name)
                    .copied()
                    .collect(),
                scenario,
                better,
            })
        })
        .collect()
}

fn of<'a>(turns: &'a [&'a Turn], peer: &'a str) -> impl Iterator<Item = &'a Turn> {
    turns.iter().copied().filter(move |turn| turn.peer == peer)
}

fn medians(turns: &[&Turn], peer: &'static str, better: &str) -> Median {
    let mid = |pick: fn(&Turn) -> f64| median(of(turns, peer).map(pick).collect());
    let beside = |other: &str| {
        let ratio = |turn: &Turn| {
            let same_round = of(turns, other).find(|beside| beside.round == turn.round)?;
            Some(turn.cpu_us() / same_round.cpu_us())
        };
        median(of(turns, peer).filter_map(ratio).collect())
    };
    let high = of(turns, peer).map(Turn::cpu_us).fold(f64::MIN, f64::max);
    let low = of(turns, peer).map(Turn::cpu_us).fold(f64::MAX, f64::min);
    Median {
        peer,
        rps: mid(|turn| turn.rps),
        p50_us: mid(|turn| turn.p50_us),
        p99_us: mid(|turn| turn.p99_us),
        user_us: mid(|turn| turn.user_us),
        system_us: mid(|turn| turn.system_us),
        spread_us: high - low,
        to_nginx: beside(NGINX),
        to_better: beside(better),
        rss_kib: mid(|turn| turn.rss_kib as f64),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(peer: &'static str, round: usize, cpu_us: f64) -> Turn {
        Turn {
            scenario: "tls",
            peer,
            round,
            requests: 1000,
            errors: 0,
            rps: 1000.0,
            p50_us: 1.0,
            p99_us: 2.0,
            user_us: cpu_us / 4.0,
            system_us: cpu_us * 3.0 / 4.0,
            rss_kib: 2048,
        }
    }

    /// HAProxy is better by its medians, though not in round 0; every round is twice as slow as the one before.
    fn turns(tollgate: f64) -> Vec<Turn> {
        let mut turns = Vec::new();
        for (round, slow) in [1.0, 2.0, 4.0].into_iter().enumerate() {
            turns.push(turn("nginx", round, if round == 0 { 39.0 } else { 50.0 } * slow));
            turns.push(turn("haproxy", round, 40.0 * slow));
            turns.push(turn("tollgate", round, tollgate * slow));
        }
        turns
    }

    #[test]
    fn ratios_are_of_the_same_round_and_to_the_better_peer() {
        let summaries = summaries(&turns(30.0), &[]);
        let [tls] = summaries.as_slice() else {
            panic!("one scenario was measured");
        };
        let own = tls.median(TOLLGATE).expect("it took its turns");
        assert_eq!(tls.better, "haproxy");
        assert!((own.to_better - 0.75).abs() < 1e-9, "{}", own.to_better);
        assert!((own.to_nginx - 0.6).abs() < 1e-9, "{}", own.to_nginx);
    }

    #[test]
    fn the_foot_says_whether_a_goal_was_reached() {
        let held = |peer, after_kib| Held {
            scenario: "tls",
            peer,
            connections: 64,
            before_kib: 1024,
            after_kib,
        };
        for (cpu_us, after_kib, said) in [(30.0, 17_408, "Reached"), (30.1, 17_472, "**Missed**")] {
            let summaries = summaries(&turns(cpu_us), &[held("tollgate", after_kib)]);
            let mut foot = String::new();
            table::foot(&mut foot, &summaries[0]).expect("text");
            assert_eq!(foot.matches(said).count(), 2, "{foot}");
        }
    }
}
