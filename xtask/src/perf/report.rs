//! Writes what was measured: JSON with every turn, a Markdown table of medians and ratios, and a plot.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use plotters::prelude::*;

use super::measure::Idle;
use super::{Options, Turn, scenario};

#[derive(serde::Serialize)]
pub(super) struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
    commit: String,
    nginx: String,
    haproxy: String,
}

struct Median {
    scenario: &'static str,
    peer: &'static str,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
    user_us: f64,
    system_us: f64,
    spread_us: f64,
    /// CPU per request by nginx's in the same round: neighbours on the machine slow both.
    ratio: f64,
    rss_kib: f64,
}

impl Median {
    fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// Writes `latest.json`, `latest.md` and `latest.svg`.
pub(super) fn write(
    out: &Path,
    options: &Options,
    machine: &Machine,
    turns: &[Turn],
    idle: &Idle,
) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let medians = medians(turns);
    let document = serde_json::json!({
        "command": format!("cargo xtask perf --rounds {} --seconds {}", options.rounds, options.seconds),
        "machine": machine,
        "turns": turns,
        "idle": idle,
    });
    std::fs::write(
        out.join("latest.json"),
        serde_json::to_string_pretty(&document)? + "\n",
    )?;
    let table = markdown(options, machine, &medians, idle)?;
    std::fs::write(out.join("latest.md"), &table)?;
    plot(&out.join("latest.svg"), &medians).context("the plot")?;
    anstream::print!("\n{table}\nwritten to {}\n", out.display());
    Ok(())
}

fn medians(turns: &[Turn]) -> Vec<Median> {
    let mut keys: Vec<(&'static str, &'static str)> = Vec::new();
    for turn in turns {
        if !keys.contains(&(turn.scenario, turn.peer)) {
            keys.push((turn.scenario, turn.peer));
        }
    }
    keys.into_iter()
        .map(|(scenario, peer)| {
            let own: Vec<&Turn> = turns
                .iter()
                .filter(|t| t.scenario == scenario && t.peer == peer)
                .collect();
            let of = |pick: fn(&Turn) -> f64| median(own.iter().map(|turn| pick(turn)).collect());
            let cpu: Vec<f64> = own.iter().map(|turn| turn.user_us + turn.system_us).collect();
            let high = cpu.iter().copied().fold(f64::MIN, f64::max);
            let low = cpu.iter().copied().fold(f64::MAX, f64::min);
            let beside = own.iter().filter_map(|turn| {
                let mut others = turns.iter();
                let nginx = others.find(|other| {
                    other.peer == "nginx" && other.scenario == scenario && other.round == turn.round
                })?;
                Some((turn.user_us + turn.system_us) / (nginx.user_us + nginx.system_us))
            });
            Median {
                scenario,
                peer,
                rps: of(|turn| turn.rps),
                p50_us: of(|turn| turn.p50_us),
                p99_us: of(|turn| turn.p99_us),
                user_us: of(|turn| turn.user_us),
                system_us: of(|turn| turn.system_us),
                spread_us: high - low,
                ratio: median(beside.collect()),
                rss_kib: of(|turn| turn.rss_kib as f64),
            }
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn markdown(options: &Options, machine: &Machine, medians: &[Median], idle: &Idle) -> Result<String> {
    let mut text = String::from("# Tollgate beside nginx and HAProxy\n\n");
    writeln!(
        text,
        "`cargo xtask perf --rounds {} --seconds {}` at commit {}. {} cores of {}, {}. {}, {}.\n",
        options.rounds,
        options.seconds,
        machine.commit,
        machine.cores,
        machine.cpu,
        machine.kernel,
        machine.nginx,
        machine.haproxy
    )?;
    text.push_str(
        "Load generator and origin share one core; the gateway has the other, one worker. Peers take turns in every \
         round; figures are medians, *spread* is highest minus lowest CPU. The ratio is the median of CPU per request by \
         nginx's in the same round, where nginx and HAProxy only proxy.\n\n",
    );
    for scenario in scenario::all() {
        let own: Vec<&Median> = medians
            .iter()
            .filter(|median| median.scenario == scenario.name)
            .collect();
        if own.is_empty() {
            continue;
        }
        writeln!(text, "## {}\n\n{}.\n", scenario.name, scenario.what)?;
        text.push_str(
            "| | req/s | p50 µs | p99 µs | user µs/req | system µs/req | CPU µs/req | spread | ratio | RSS MiB |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for m in own {
            writeln!(
                text,
                "| {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1} |",
                m.peer,
                m.rps,
                m.p50_us,
                m.p99_us,
                m.user_us,
                m.system_us,
                m.cpu_us(),
                m.spread_us,
                m.ratio,
                m.rss_kib / 1024.0
            )?;
        }
        text.push('\n');
    }
    writeln!(
        text,
        "## Idle connections\n\n{} keep-alive connections, each after one request: {:.1} MiB resident before, {:.1} \
         MiB with them.",
        idle.connections,
        idle.before_kib as f64 / 1024.0,
        idle.after_kib as f64 / 1024.0
    )?;
    Ok(text)
}

/// CPU per request as stacked bars, user below system, one group for each scenario.
fn plot(path: &Path, medians: &[Median]) -> Result<()> {
    const COLOURS: [(&str, RGBColor); 3] = [
        ("nginx", RGBColor(0, 150, 57)),
        ("haproxy", RGBColor(70, 110, 180)),
        ("tollgate", RGBColor(214, 84, 30)),
    ];
    let mut groups: Vec<&'static str> = Vec::new();
    for median in medians {
        if !groups.contains(&median.scenario) {
            groups.push(median.scenario);
        }
    }
    let highest = medians.iter().map(Median::cpu_us).fold(1.0, f64::max);
    let area = SVGBackend::new(path, (1000, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU per request (dark: user, light: kernel)", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..highest * 1.12)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("µs per request")
        .draw()?;
    for (at, group) in groups.iter().enumerate() {
        chart.draw_series(std::iter::once(Text::new(
            (*group).to_owned(),
            (at as f64 + 0.3, highest * 1.08),
            ("sans-serif", 14),
        )))?;
        for (number, (peer, colour)) in COLOURS.iter().enumerate() {
            let Some(median) = medians.iter().find(|m| m.scenario == *group && m.peer == *peer) else {
                continue;
            };
            let left = at as f64 + 0.12 + number as f64 * 0.26;
            let bar = |low: f64, high: f64, alpha: f64| {
                Rectangle::new([(left, low), (left + 0.22, high)], colour.mix(alpha).filled())
            };
            chart.draw_series([
                bar(0.0, median.user_us, 1.0),
                bar(median.user_us, median.cpu_us(), 0.45),
            ])?;
        }
    }
    for (peer, colour) in COLOURS {
        chart
            .draw_series(std::iter::once(Rectangle::new(
                [(0.0, 0.0), (0.0, 0.0)],
                colour.filled(),
            )))?
            .label(peer)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

impl Machine {
    pub(super) fn look(root: &Path) -> Self {
        let first = |program: &str, args: &[&str]| -> String {
            let output = Command::new(program).current_dir(root).args(args).output();
            output.map_or_else(
                |_error| "unknown".to_owned(),
                |output| {
                    let text = if output.stdout.is_empty() {
                        output.stderr
                    } else {
                        output.stdout
                    };
                    String::from_utf8_lossy(&text)
                        .lines()
                        .next()
                        .unwrap_or("unknown")
                        .trim()
                        .to_owned()
                },
            )
        };
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or("unknown");
        Self {
            kernel: first("uname", &["-sr"]),
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            commit: first("git", &["rev-parse", "--short", "HEAD"]),
            nginx: first("nginx", &["-v"]),
            haproxy: first("haproxy", &["-v"]),
        }
    }
}
