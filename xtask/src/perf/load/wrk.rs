//! wrk: HTTP/1.1, in plaintext or over TLS.

use anyhow::{Context as _, Result, bail};

use super::super::rig::Rig;
use super::super::scenario::Scenario;
use super::Outcome;

pub(super) fn run(
    rig: &Rig,
    scenario: &Scenario,
    script: &str,
    env: &[(&str, &str)],
    port: u16,
    seconds: u64,
) -> Result<Outcome> {
    let text = super::printed("wrk", seconds, |wrk| {
        wrk.args(["-t1", "--latency", "--timeout", "10s"])
            .arg(format!("-c{}", scenario.connections))
            .arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(rig.root.join("perf/peers").join(script))
            .arg(super::url(scenario, port))
            .envs(env.iter().copied())
    })?;
    parse(&text).with_context(|| format!("wrk printed\n{text}"))
}

fn parse(text: &str) -> Result<Outcome> {
    let field = |name: &str| -> Option<&str> {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    let requests = text
        .lines()
        .find_map(|line| {
            line.trim()
                .split_once(" requests in ")
                .and_then(|(count, _)| count.parse().ok())
        })
        .context("no request count")?;
    let rejected: u64 = field("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?;
    let socket: u64 = field("Socket errors:").map_or(0, |list| {
        list.split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse::<u64>().ok())
            .sum()
    });
    Ok(Outcome {
        requests,
        errors: rejected + socket,
        rps: field("Requests/sec:").context("no rate")?.parse()?,
        p50_us: microseconds(field("50%").context("no median")?)?,
        p99_us: microseconds(field("99%").context("no 99th percentile")?)?,
    })
}

fn microseconds(text: &str) -> Result<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).context("no unit")?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => bail!("unknown unit {unit}"),
    };
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let text = "Running 1s test\n  Latency Distribution\n     50%  812.00us\n     75%    1.10ms\n     \
                    90%    1.40ms\n     99%    2.50ms\n  48213 requests in 1.00s, 6.1MB read\n  \
                    Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\n\
                    Requests/sec:  48211.12\n";
        let outcome = parse(text).expect("read");
        assert_eq!((outcome.requests, outcome.errors), (48213, 7));
        assert!((outcome.p50_us - 812.0).abs() < 0.1 && (outcome.p99_us - 2500.0).abs() < 0.1);
    }
}
