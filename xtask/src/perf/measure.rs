//! Reads what the kernel accounts to a process: CPU time and memory.

use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::peer::{Kind, Origin, Peer};
use super::scenario::{Policy, Scenario};

/// CPU time in clock ticks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// In user space.
    pub(crate) user: u64,
    /// In the kernel.
    pub(crate) system: u64,
}

/// What idle connections cost.
#[derive(serde::Serialize)]
pub(crate) struct Idle {
    /// Keep-alive connections that were open, each after one request.
    pub(crate) connections: usize,
    /// Resident memory without them.
    pub(crate) before_kib: u64,
    /// Resident memory with them.
    pub(crate) after_kib: u64,
}

/// CPU time of a process and its children that still live.
///
/// # Errors
/// When the process is gone.
pub(crate) fn cpu(pid: u32) -> Result<Cpu> {
    let mut sum = Cpu::default();
    for pid in family(pid)? {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} ended during the run"))?;
        // Fields are counted from behind the command name, which may hold spaces.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let field = |number: usize| fields.get(number).and_then(|text| text.parse().ok()).unwrap_or(0);
        sum.user += field(11);
        sum.system += field(12);
    }
    Ok(sum)
}

/// Resident memory of a process and its children.
///
/// # Errors
/// When the process is gone.
pub(crate) fn rss_kib(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in family(pid)? {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or("0 kB");
        sum += line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    }
    Ok(sum)
}

/// Ticks of the kernel's clock (100 a second on every Linux that Debian ships) in microseconds.
pub(crate) fn microseconds(ticks: u64) -> f64 {
    ticks as f64 * 10_000.0
}

fn family(pid: u32) -> Result<Vec<u32>> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mut family = vec![pid];
    family.extend(
        children
            .split_whitespace()
            .filter_map(|child| child.parse::<u32>().ok()),
    );
    Ok(family)
}

/// Opens keep-alive connections through tollgate, sends one request on each, and lets them idle.
///
/// # Errors
/// When a connection cannot be opened or is not answered.
pub(crate) fn idle_connections(root: &Path, dir: &Path, origin: &Origin, count: usize) -> Result<Idle> {
    use std::io::{Read as _, Write as _};
    let scenario = Scenario {
        name: "idle",
        what: "idle keep-alive connections",
        connections: count,
        script: "get.lua",
        env: &[],
        policy: Policy::None,
        peers: &[Kind::Tollgate],
    };
    let peer = Peer::start(root, dir, Kind::Tollgate, &scenario, origin)?;
    let before_kib = rss_kib(peer.pid())?;
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", peer.port()))?;
        stream.write_all(b"GET /r0/item HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer)?;
        anyhow::ensure!(
            answer[..read].starts_with(b"HTTP/1.1 200"),
            "an idle connection was not answered"
        );
        open.push(stream);
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let after_kib = rss_kib(peer.pid())?;
    drop(open);
    Ok(Idle {
        connections: count,
        before_kib,
        after_kib,
    })
}
