//! Files: what a running gateway reads and writes, and nothing else (Landlock).
//!
//! Rules are about folders, not files: policies, `/etc/resolv.conf` and rotated logs are replaced by renaming, and a rule
//! on a file would lapse with it, hours later and without a word. Without rights stand: starting programs, binding TCP
//! ports, devices, abstract sockets and signals to others.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// What the resolver, name services and trust in certificates read. Those that are not there are passed over.
const SYSTEM: &[&str] = &[
    "/etc",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/usr/share/zoneinfo",
    "/var/lib/ca-certificates",
    // How many processors there are: the C library asks.
    "/sys/devices/system/cpu",
];

/// Folders that stay open.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Read with all that is in them.
    pub read: Vec<PathBuf>,
    /// Files are made and written there.
    pub logs: Vec<PathBuf>,
    /// Logs that are no files: devices, pipes.
    pub streams: Vec<PathBuf>,
    /// The admin socket comes and goes there.
    pub admin: PathBuf,
    /// Sockets that are listened on are removed there.
    pub sockets: Vec<PathBuf>,
}

impl Places {
    /// Adds a folder with all that is in it, or that of a file, wherever it lies.
    pub fn add_read(&mut self, path: &Path) {
        let real = path.canonicalize().unwrap_or_else(|_error| path.to_owned());
        for path in [path, &real] {
            self.read.push(if path.is_dir() {
                path.to_owned()
            } else {
                folder(path)
            });
        }
    }

    /// Sets where the admin socket is.
    pub fn set_admin(&mut self, socket: &Path) {
        self.admin = folder(socket);
    }

    /// Adds where a socket is that is listened on.
    pub fn add_socket(&mut self, socket: &Path) {
        self.sockets.push(folder(socket));
    }

    /// Adds where a log is written: its folder, or itself if it is no file.
    pub fn add_log(&mut self, path: &Path) {
        match log_folder(path) {
            Some(folder) => self.logs.push(folder),
            None => self.streams.push(path.to_owned()),
        }
    }

    /// Whether a log may be written at `path`.
    pub fn may_log(&self, path: &Path) -> bool {
        let Some(folder) = log_folder(path) else {
            return self.streams.iter().any(|stream| stream == path);
        };
        let inside = |log: &PathBuf| log.canonicalize().is_ok_and(|log| folder.starts_with(log));
        self.logs.iter().any(inside)
    }
}

/// The folder that a log lies in, or will. `None` for what is no file, as `/dev/stdout` may be.
fn log_folder(path: &Path) -> Option<PathBuf> {
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    if is_file {
        // The folder of the file itself, if the path is a link.
        return path.canonicalize().ok().map(|path| folder(&path));
    }
    if path.exists() {
        return None;
    }
    let folder = folder(path);
    Some(folder.canonicalize().unwrap_or(folder))
}

/// The folder that a file is in.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// How much of it the kernel enforces.
pub(super) enum Enforced {
    Fully,
    Partly,
    Not,
}

/// Closes everything else to this thread, and to those that it starts.
///
/// # Errors
/// When the kernel has Landlock and yet refuses.
pub(super) fn close_others(places: &Places) -> Result<Enforced, RulesetError> {
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let log: BitFlags<AccessFs> = AccessFs::WriteFile | AccessFs::MakeReg;
    let admin: BitFlags<AccessFs> = AccessFs::MakeSock | AccessFs::RemoveFile;
    let system = SYSTEM.iter().map(PathBuf::from).chain(["/proc/self".into()]);
    // A pipe or a socket needs no rule, and takes none.
    let devices = places.streams.iter().filter(|path| is_device(path));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(
            system.chain(places.read.iter().cloned()),
            read,
        ))?
        .add_rules(path_beneath_rules(&places.logs, log))?
        .add_rules(path_beneath_rules([&places.admin], admin))?
        .add_rules(path_beneath_rules(&places.sockets, AccessFs::RemoveFile))?
        .add_rules(path_beneath_rules(devices, AccessFs::WriteFile))?;
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_may_be_written_where_the_first_ones_are_and_below() {
        let directory = tempfile::tempdir().unwrap();
        let (own, below) = (directory.path().join("own"), directory.path().join("own/below"));
        std::fs::create_dir_all(&below).unwrap();
        let mut places = Places::default();
        places.add_log(&own.join("requests.log"));
        places.add_log(Path::new("/dev/null"));
        assert!(places.may_log(&own.join("others.log")));
        assert!(places.may_log(&below.join("others.log")));
        assert!(places.may_log(Path::new("/dev/null")));
        assert!(!places.may_log(Path::new("/dev/zero")));
        assert!(!places.may_log(&directory.path().join("outside.log")));
        assert!(!places.may_log(&own.join("../outside.log")));
        std::fs::write(directory.path().join("outside.log"), "").unwrap();
        std::os::unix::fs::symlink(directory.path().join("outside.log"), own.join("link.log")).unwrap();
        assert!(!places.may_log(&own.join("link.log")), "a link leads outside");
    }
}
