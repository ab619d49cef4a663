//! A gateway under pressure, and how it is seen from outside: what an ordinary request takes, memory, descriptors, work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Client, Gateway, Origin};

/// An ordinary request takes a millisecond; one that takes this long waits for others.
pub(crate) const HELD_UP: Duration = Duration::from_secs(3);

/// A gateway with one worker, so that who is held up by one client is held up by this one.
pub(crate) fn gateway(origin: &Origin) -> Result<Gateway> {
    let policy = include_str!("policy.yaml").replace("@ORIGIN@", &origin.url());
    Gateway::builder(policy).workers(1).start()
}

/// The time that an ordinary request takes.
pub(crate) fn ordinary(gateway: &Gateway) -> Result<Duration> {
    let began = Instant::now();
    let answer = Client::get(gateway.addr(), "/ordinary", &[])?;
    ensure!(answer.status == 200, "an ordinary request got {}", answer.status);
    Ok(began.elapsed())
}

/// What the process holds of the memory, in KiB.
pub(crate) fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse().ok()).context("no VmRSS")
}

/// Hundredths of a second that the process has computed.
pub(crate) fn busy_ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()?)
}

/// How many descriptors the process has open.
pub(crate) fn descriptors(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
