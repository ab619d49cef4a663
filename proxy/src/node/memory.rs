//! How much memory the process may use: what an operator says, or most of what its control group allows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// An amount of memory, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// Not an amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesError;

impl fmt::Display for BytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number of bytes, perhaps with KiB, MiB or GiB behind it, such as 512MiB")
    }
}

impl std::error::Error for BytesError {}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let digits = text.trim_end_matches(|it: char| !it.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_error| BytesError)?;
        let shift = match text[digits.len()..].trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(BytesError),
        };
        let bytes = number.checked_mul(1 << shift);
        bytes.map(Self).ok_or(BytesError)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// What the process may use: `said`, where 0 is for any amount; else nine tenths of what its control groups allow, since
/// they count the kernel's socket buffers too; else any amount.
pub(super) fn most(said: Option<Bytes>) -> Option<u64> {
    match said {
        Some(Bytes(0)) => None,
        Some(Bytes(most)) => Some(most),
        None => {
            let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let least = limits(&groups)
                .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
                .min()?;
            // Version 1 writes a huge number for none.
            (least < 1 << 50).then_some(least / 10 * 9)
        }
    }
}

/// Files that limit a process of these groups (`/proc/self/cgroup`), from its own group up to the root. In a container the
/// root is its own group, and its name outside may not be there.
fn limits(groups: &str) -> impl Iterator<Item = PathBuf> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = Path::new(path.trim_start_matches('/'));
        let ancestors: Vec<PathBuf> = own
            .ancestors()
            .map(|it| Path::new(root).join(it).join(file))
            .collect();
        Some(ancestors)
    };
    groups
        .lines()
        .filter_map(of_line)
        .flatten()
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512MiB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("7KiB", 7 << 10),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "5MB", "18446744073709551615KiB"] {
            assert_eq!(text.parse::<Bytes>(), Err(BytesError), "{text}");
        }
    }

    #[test]
    fn every_group_above_limits_too() {
        let files = |groups| -> Vec<_> { limits(groups).map(|it| it.display().to_string()).collect() };
        assert_eq!(
            files("0::/app/web\n"),
            [
                "/sys/fs/cgroup/app/web/memory.max",
                "/sys/fs/cgroup/app/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("9:name=systemd:/\n4:cpu,memory:/a\n0::/\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(files(""), [""; 0]);
    }
}
