//! How many descriptors the process may have open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and gives it.
///
/// # Errors
/// When the kernel refuses, which it never does for a limit that is no higher than the hard one.
pub fn raise() -> io::Result<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before.maximum.unwrap_or(u64::MAX))
}

/// Descriptors for the clients that the settings allow, beside what a process of some workers needs anyway. Connections
/// to upstreams come on top; how many depends on the traffic.
pub const fn enough(workers: usize, connections: usize) -> u64 {
    (workers as u64) * (connections as u64 + 32)
}

/// Descriptors that are open, if the kernel tells.
pub fn open() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the folder itself.
    Some((entries.count() as u64).saturating_sub(1))
}

/// The limit that holds.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The limit is the whole process', so this runs in a process of its own.
    #[test]
    fn a_low_soft_limit_is_raised_to_the_hard_one() {
        let own = std::env::current_exe().unwrap();
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -Sn 200 && ulimit -Hn 500 && exec \"$0\" --exact --ignored confine::descriptors::tests::low",
            ])
            .arg(own)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "needs a process of its own; see a_low_soft_limit_is_raised_to_the_hard_one"]
    fn low() {
        assert_eq!(limit(), 200);
        assert_eq!(raise().unwrap(), 500);
        assert_eq!(limit(), 500);
        let before = open().unwrap();
        let _file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(open(), Some(before + 1));
    }
}
