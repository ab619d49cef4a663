//! Reads what the kernel accounts to a process: CPU time and memory.

use anyhow::{Context as _, Result};

/// CPU time in clock ticks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// In user space.
    pub(crate) user: u64,
    /// In the kernel.
    pub(crate) system: u64,
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
