//! What came of it: `soak.json` and `soak.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::Events;
use super::client::{Kind, Log};
use super::watch::{DESCRIPTORS_MORE, GROWTH_KIB_PER_MIN, Watch};
use crate::perf::Machine;
use crate::step;

/// Lost responses that are shown.
const SHOWN: usize = 20;

/// One kind of client.
#[derive(serde::Serialize)]
struct Row {
    kind: &'static str,
    responses: usize,
    lost: usize,
    calm_p99_us: u32,
    storm_p50_us: u32,
    storm_p99_us: u32,
    storm_most_us: u32,
}

/// All of it.
#[derive(serde::Serialize)]
pub(super) struct Report {
    command: String,
    machine: Machine,
    rows: Vec<Row>,
    attacks: u64,
    events: Events,
    lost: Vec<String>,
    rss_peak_kib: u64,
    rss_slope_kib_per_min: f64,
    /// Seconds and KiB.
    rss_samples: Vec<(f64, f64)>,
    descriptors_before: usize,
    descriptors_after: usize,
    panics: f64,
    shed: f64,
    wrongs: Vec<String>,
}

impl Report {
    pub(super) fn new(
        minutes: u64,
        driver: &str,
        logs: &[Log],
        attacks: u64,
        watch: &Watch,
        events: Events,
    ) -> Self {
        let rows: Vec<Row> = Kind::ALL.into_iter().map(|kind| row(kind, logs)).collect();
        let lost: Vec<String> = logs
            .iter()
            .flat_map(|log| log.lost.iter().map(|why| format!("{}: {why}", log.kind.name())))
            .collect();
        let mut wrongs = Vec::new();
        if !lost.is_empty() {
            wrongs.push(format!("{} responses were lost", lost.len()));
        }
        if rows.iter().any(|row| row.responses == 0) {
            wrongs.push("a kind of client got no response at all".to_owned());
        }
        let slope = watch.slope();
        if slope > GROWTH_KIB_PER_MIN {
            wrongs.push(format!("memory grows by {slope:.0} KiB a minute"));
        }
        if watch.descriptors_after > watch.descriptors_before + DESCRIPTORS_MORE {
            let (before, after) = (watch.descriptors_before, watch.descriptors_after);
            wrongs.push(format!("descriptors grew from {before} to {after}"));
        }
        if watch.panics > 0.0 {
            wrongs.push(format!("{} tasks panicked", watch.panics));
        }
        Self {
            command: format!("cargo xtask soak --minutes {minutes} --driver {driver}"),
            machine: Machine::look(&step::root()),
            rows,
            attacks,
            events,
            lost,
            rss_peak_kib: watch.peak_kib,
            rss_slope_kib_per_min: slope,
            rss_samples: watch.samples.clone(),
            descriptors_before: watch.descriptors_before,
            descriptors_after: watch.descriptors_after,
            panics: watch.panics,
            shed: watch.shed,
            wrongs,
        }
    }

    /// What must not have happened and did.
    pub(super) fn wrongs(&self) -> &[String] {
        &self.wrongs
    }

    pub(super) fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out)?;
        std::fs::write(out.join("soak.json"), serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(out.join("soak.md"), self.markdown()?)?;
        Ok(())
    }

    fn markdown(&self) -> Result<String> {
        let mut text = String::from("# Soak\n\n");
        writeln!(text, "`{}`, {}.\n", self.command, self.machine)?;
        let Events {
            reloads,
            take_overs,
            upstream_kills,
        } = self.events;
        writeln!(
            text,
            "Good clients all the time; from 15 % of it on also {} attacks (one to a hundred responses), {reloads} reloads, \
             {upstream_kills} kills of one of two targets and {take_overs} take-overs. *Calm* is before that.\n",
            self.attacks
        )?;
        text.push_str(
            "| clients | responses | lost | calm p99 ms | p50 ms | p99 ms | most ms |\n|---|---:|---:|---:|---:|---:|---:|\n",
        );
        let ms = |us: u32| f64::from(us) / 1000.0;
        for row in &self.rows {
            writeln!(
                text,
                "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
                row.kind,
                row.responses,
                row.lost,
                ms(row.calm_p99_us),
                ms(row.storm_p50_us),
                ms(row.storm_p99_us),
                ms(row.storm_most_us)
            )?;
        }
        writeln!(
            text,
            "\nThe last process: {:+.0} KiB of memory a minute (of {} samples; at most {GROWTH_KIB_PER_MIN:.0}), {:.1} MiB at \
             most; {} descriptors when all had gone, {} at first (at most {DESCRIPTORS_MORE} more); {} tasks panicked; {} \
             requests shed.",
            self.rss_slope_kib_per_min,
            self.rss_samples.len(),
            self.rss_peak_kib as f64 / 1024.0,
            self.descriptors_after,
            self.descriptors_before,
            self.panics,
            self.shed
        )?;
        if self.wrongs.is_empty() {
            text.push_str("\nNothing was lost, nothing grew.\n");
        }
        for wrong in &self.wrongs {
            writeln!(text, "\n**{wrong}**")?;
        }
        for why in self.lost.iter().take(SHOWN) {
            writeln!(text, "- {why}")?;
        }
        Ok(text)
    }
}

fn row(kind: Kind, logs: &[Log]) -> Row {
    let of_kind = || logs.iter().filter(move |log| log.kind == kind);
    let sorted = |times: fn(&Log) -> &Vec<u32>| {
        let mut all: Vec<u32> = of_kind().flat_map(|log| times(log).iter().copied()).collect();
        all.sort_unstable();
        all
    };
    let (calm, storm) = (sorted(|log| &log.calm_us), sorted(|log| &log.storm_us));
    Row {
        kind: kind.name(),
        responses: calm.len() + storm.len(),
        lost: of_kind().map(|log| log.lost.len()).sum(),
        calm_p99_us: quantile(&calm, 99),
        storm_p50_us: quantile(&storm, 50),
        storm_p99_us: quantile(&storm, 99),
        storm_most_us: storm.last().copied().unwrap_or(0),
    }
}

/// Of sorted values.
fn quantile(sorted: &[u32], percent: usize) -> u32 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}
