//! `cargo xtask perf --decision`: what a decision costs, beside two general policy engines, by criterion.
//!
//! Enters: nothing. Leaves: `decision.json` and `decision.md`, made of the estimates that criterion leaves in `target`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::step;

const COMMAND: [&str; 5] = ["bench", "--package", "benches", "--bench", "decision"];

/// One benchmark's mean, and the interval that holds it with 95 % confidence.
#[derive(serde::Serialize)]
struct Estimate {
    name: String,
    mean_ns: f64,
    low_ns: f64,
    high_ns: f64,
}

pub(super) fn run(out: &Path, machine: &impl serde::Serialize) -> Result<()> {
    let results = step::target_dir().join("criterion");
    step::run(step::cargo().args(COMMAND))?;
    let estimates = estimates(&results)?;
    anyhow::ensure!(
        !estimates.is_empty(),
        "criterion left nothing in {}",
        results.display()
    );
    std::fs::create_dir_all(out)?;
    let document = serde_json::json!({
        "command": format!("cargo {}", COMMAND.join(" ")),
        "machine": machine,
        "estimates": estimates,
    });
    let text = serde_json::to_string_pretty(&document)? + "\n";
    std::fs::write(out.join("decision.json"), text)?;
    let table = markdown(&estimates, &document["machine"])?;
    std::fs::write(out.join("decision.md"), &table)?;
    anstream::print!("\n{table}\nwritten to {}\n", out.display());
    Ok(())
}

fn estimates(results: &Path) -> Result<Vec<Estimate>> {
    let read = |path: &Path| -> Result<Value> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    };
    let mut estimates = Vec::new();
    for entry in walkdir::WalkDir::new(results).sort_by_file_name() {
        let entry = entry?;
        if entry.file_name() != "estimates.json"
            || entry.path().parent().is_none_or(|dir| !dir.ends_with("new"))
        {
            continue;
        }
        let mean = &read(entry.path())?["mean"];
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let name = &read(&entry.path().with_file_name("benchmark.json"))?["full_id"];
        estimates.push(Estimate {
            name: name.as_str().unwrap_or_default().to_owned(),
            mean_ns: number(&mean["point_estimate"]),
            low_ns: number(&mean["confidence_interval"]["lower_bound"]),
            high_ns: number(&mean["confidence_interval"]["upper_bound"]),
        });
    }
    Ok(estimates)
}

fn markdown(estimates: &[Estimate], machine: &Value) -> Result<String> {
    let mut text = String::from("# What a decision costs\n\n");
    writeln!(
        text,
        "`cargo xtask perf --decision` at commit {}. {} cores of {}, {}. Calls come in random order; *busy* sends nine in ten \
         to a hundredth of the estate, *uniform* none anywhere in particular, so that every look-up meets cold memory. \
         cedar-policy and regorus judge the same estate in the same run; what they leave out is said in \
         `benches/decision/peers.rs`.\n",
        machine["commit"].as_str().unwrap_or_default(),
        machine["cores"],
        machine["cpu"].as_str().unwrap_or_default(),
        machine["kernel"].as_str().unwrap_or_default(),
    )?;
    text.push_str("| | mean | 95 % |\n|---|---:|---:|\n");
    for estimate in estimates {
        writeln!(
            text,
            "| {} | {} | {} – {} |",
            estimate.name,
            time(estimate.mean_ns),
            time(estimate.low_ns),
            time(estimate.high_ns)
        )?;
    }
    Ok(text)
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}
