//! The Markdown page: a table of medians for each scenario, with its goal in the foot.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::scenario::HELD_KIB;
use super::{Held, Machine, Summary, TOLLGATE};

pub(super) fn markdown(
    command: &str,
    machine: &Machine,
    summaries: &[Summary],
    idle: Option<&Held>,
) -> Result<String> {
    let mut text = String::from("# Tollgate beside nginx and HAProxy\n\n");
    writeln!(
        text,
        "`{command}` at commit {}. {} cores of {}, {}. {}, {}.\n",
        machine.commit, machine.cores, machine.cpu, machine.kernel, machine.nginx, machine.haproxy
    )?;
    text.push_str(
        "Load generator and origins share one core; the gateway has the other, one worker. Peers take turns in every \
         round; figures are medians, *spread* is highest minus lowest CPU. *To nginx* and *to better* are medians of CPU \
         per request by nginx's, and by that of the peer that takes less, in the same round. nginx and HAProxy only \
         proxy.\n\n",
    );
    for summary in summaries {
        let scenario = &summary.scenario;
        writeln!(text, "## {}\n\n{}.\n", scenario.name, scenario.what)?;
        rows(&mut text, summary)?;
        foot(&mut text, summary)?;
    }
    if let Some(idle) = idle {
        writeln!(
            text,
            "## Idle connections\n\n{} keep-alive connections, each after one request: {:.1} MiB resident before, {:.1} \
             MiB with them.",
            idle.connections,
            idle.before_kib as f64 / 1024.0,
            idle.after_kib as f64 / 1024.0
        )?;
    }
    Ok(text)
}

fn rows(text: &mut String, summary: &Summary) -> Result<()> {
    text.push_str(
        "| | req/s | p50 µs | p99 µs | user µs/req | system µs/req | CPU µs/req | spread | to nginx | to better | RSS MiB \
         |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for m in &summary.medians {
        writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.1} |",
            m.peer,
            m.rps,
            m.p50_us,
            m.p99_us,
            m.user_us,
            m.system_us,
            m.cpu_us(),
            m.spread_us,
            m.to_nginx,
            m.to_better,
            m.rss_kib / 1024.0
        )?;
    }
    text.push('\n');
    Ok(())
}

/// The goals, and what became of them.
pub(super) fn foot(text: &mut String, summary: &Summary) -> Result<()> {
    if let Some(goal) = summary.scenario.goal
        && let Some((ratio, than)) = summary.reached(goal)
    {
        writeln!(
            text,
            "Goal: at most {:.2} of {than}'s CPU per request. {}: {ratio:.3}.\n",
            goal.at_most,
            verdict(ratio <= goal.at_most)
        )?;
    }
    if let Some(own) = summary.held.iter().find(|held| held.peer == TOLLGATE) {
        let each: Vec<String> = summary
            .held
            .iter()
            .map(|held| format!("{} {:.0}", held.peer, held.each_kib()))
            .collect();
        writeln!(
            text,
            "Goal: at most {HELD_KIB} KiB for each of {} connections whose bodies a slow reader holds up. {}; KiB that \
             resident memory grew by for each: {}.\n",
            own.connections,
            verdict(own.each_kib() <= HELD_KIB),
            each.join(", ")
        )?;
    }
    Ok(())
}

const fn verdict(reached: bool) -> &'static str {
    if reached { "Reached" } else { "**Missed**" }
}
