//! Where the measurements were taken, and with which versions.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// The machine, and what ran on it.
#[derive(serde::Serialize)]
pub(crate) struct Machine {
    /// Name and release.
    pub(super) kernel: String,
    /// Model.
    pub(super) cpu: String,
    /// How many.
    pub(super) cores: usize,
    /// Of this repository.
    pub(super) commit: String,
    /// Version.
    pub(super) nginx: String,
    /// Version.
    pub(super) haproxy: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at commit {}, {} cores of {}, {}",
            self.commit, self.cores, self.cpu, self.kernel
        )
    }
}

impl Machine {
    /// Asks the machine.
    pub(crate) fn look(root: &Path) -> Self {
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
