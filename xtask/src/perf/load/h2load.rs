//! h2load: HTTP/2, many streams at a time on each connection.

use anyhow::{Context as _, Result};

use super::super::rig::Rig;
use super::super::scenario::{Call, Scenario};
use super::Outcome;

pub(super) fn run(
    rig: &Rig,
    scenario: &Scenario,
    streams: usize,
    call: Call,
    port: u16,
    seconds: u64,
) -> Result<Outcome> {
    let log = rig.path("h2load.log");
    let text = super::printed("h2load", seconds, |h2load| {
        h2load
            .arg(format!("--clients={}", scenario.connections))
            .arg(format!("--max-concurrent-streams={streams}"))
            .arg(format!("--duration={seconds}"))
            .arg(format!("--log-file={}", log.display()));
        if call == Call::Grpc {
            h2load
                .arg(format!("--data={}", rig.path("grpc-message").display()))
                .args(["--header=content-type: application/grpc", "--header=te: trailers"]);
        }
        h2load.arg(super::url(scenario, port))
    })?;
    let lines = std::fs::read_to_string(&log).context("h2load's log")?;
    // It appends.
    std::fs::remove_file(&log)?;
    parse(&text, &lines).with_context(|| format!("h2load printed\n{text}"))
}

/// Reads the summary, and the log: a line for each answer with start, status and microseconds.
fn parse(text: &str, log: &str) -> Result<Outcome> {
    let line = |name: &str| -> Result<&str> {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .with_context(|| format!("no line {name}"))
    };
    let protocol = line("Application protocol: ")?;
    anyhow::ensure!(protocol == "h2", "{protocol} was agreed on");
    let number = |list: &str, name: &str| -> Result<u64> {
        list.split(", ")
            .find_map(|part| part.trim().strip_suffix(name))
            .with_context(|| format!("no count of{name}"))?
            .parse()
            .with_context(|| format!("the count of{name}"))
    };
    let requests = line("requests: ")?;
    let codes = line("status codes: ")?;
    let rate = line("finished in ")?
        .split(", ")
        .find_map(|part| part.strip_suffix(" req/s"))
        .context("no rate")?;
    let mut latencies: Vec<u64> = log
        .lines()
        .filter_map(|line| line.rsplit('\t').next()?.parse().ok())
        .collect();
    let (p50_us, p99_us) = super::percentiles(&mut latencies);
    Ok(Outcome {
        requests: number(requests, " done")?,
        errors: number(requests, " failed")?
            + number(requests, " errored")?
            + number(requests, " timeout")?
            + number(codes, " 4xx")?
            + number(codes, " 5xx")?,
        rps: rate.parse()?,
        p50_us,
        p99_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "starting benchmark...\nApplication protocol: h2\n\nfinished in 1.04s, 11218.50 req/s, \
                        1.17MB/s\nrequests: 11218 total, 11238 started, 11218 done, 11208 succeeded, 10 failed, 1 \
                        errored, 0 timeout\nstatus codes: 11208 2xx, 0 3xx, 4 4xx, 6 5xx\n";

    #[test]
    fn what_h2load_prints_is_read() {
        let log = "1795466368923656\t200\t887\n1795466368923658\t200\t920\n1795466368923659\t200\t100\n";
        let outcome = parse(TEXT, log).expect("read");
        assert_eq!((outcome.requests, outcome.errors), (11218, 21));
        assert!((outcome.rps - 11218.5).abs() < 0.1);
        assert!((outcome.p50_us - 887.0).abs() < 0.1 && (outcome.p99_us - 920.0).abs() < 0.1);
    }

    #[test]
    fn a_peer_that_falls_back_to_http_1_is_not_measured() {
        assert!(parse(&TEXT.replace("protocol: h2", "protocol: http/1.1"), "").is_err());
    }
}
