//! What the process may do once it runs: as whom, with how many descriptors, with which files and system calls.
//!
//! Enters: the settings, before any thread is started, since most of it holds for a thread and those it starts. Leaves:
//! a process with less than it was given, and a line that says so. Nothing here is ever given back. Absent: what the
//! operations of an io_uring do is not seen by seccomp; Landlock and the user's rights hold for them too.

mod calls;
pub mod descriptors;
pub mod identity;
mod paths;
#[cfg(test)]
mod tests;

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

use crate::worker::Driver;
use paths::Enforced;
pub use paths::Places;

/// Whether the process gives up what it does not need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confine {
    /// As far as the kernel can, and not at all for decK files, whose reloads start a compiler.
    #[default]
    Auto,
    /// By Landlock and seccomp, or refuse to start.
    Strict,
    /// Not at all.
    Off,
}

/// What holds for the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Whether files are confined by Landlock.
    pub files: bool,
    /// Whether this kernel's Landlock lacks some of what was asked for.
    pub partly: bool,
    /// System calls that seccomp lets through, if it does so.
    pub calls: Option<usize>,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.files, self.partly) {
            (true, false) => f.write_str("files by Landlock")?,
            (true, true) => f.write_str("files by Landlock, as far as this kernel has it")?,
            (false, _) => f.write_str("files not at all, Landlock is not granted")?,
        }
        match self.calls {
            Some(calls) => write!(f, "; system calls by seccomp, {calls} are left"),
            None => f.write_str("; system calls not at all, seccomp is not granted"),
        }
    }
}

/// Why the process cannot be confined.
#[derive(Debug)]
pub enum ConfineError {
    /// The policy is no artifact.
    Compiles,
    /// The kernel cannot, or not all of it.
    Incomplete(Confinement),
    /// The kernel refuses.
    Refused(String),
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiles => f.write_str(
                "`--confine strict` needs an artifact: a confined gateway starts no compiler\nhelp: compile with `tollc \
                 compile -o policy.toll` and run that",
            ),
            Self::Incomplete(confinement) => write!(
                f,
                "`--confine strict` needs more than this kernel grants: {confinement}\nhelp: with `--confine auto` the \
                 gateway does without"
            ),
            Self::Refused(error) => write!(f, "cannot confine the process: {error}"),
        }
    }
}

impl std::error::Error for ConfineError {}

/// Confines this thread, and those that it starts from now on. `compiles` says that the policy is none that could be
/// loaded again without starting another program. `None` when it is left free.
///
/// # Errors
/// [`ConfineError`] when that is less than was asked for.
pub fn confine(
    choice: Confine,
    places: &Places,
    compiles: bool,
    driver: Driver,
) -> Result<Option<Confinement>, ConfineError> {
    match (choice, compiles) {
        (Confine::Off, _) | (Confine::Auto, true) => return Ok(None),
        (Confine::Strict, true) => return Err(ConfineError::Compiles),
        (Confine::Auto | Confine::Strict, false) => {}
    }
    let refused = |error: &dyn fmt::Display| ConfineError::Refused(error.to_string());
    rustix::thread::set_no_new_privs(true).map_err(|error| refused(&error))?;
    let enforced = match paths::close_others(places) {
        Ok(enforced) => enforced,
        // A sandbox around this process may grant it none of its own.
        Err(_) if choice == Confine::Auto => Enforced::Not,
        Err(error) => return Err(refused(&error)),
    };
    let calls = match calls::allow_only_listed(driver) {
        Ok(calls) => Some(calls),
        Err(_) if choice == Confine::Auto => None,
        Err(error) => return Err(refused(&error)),
    };
    let confinement = Confinement {
        files: !matches!(enforced, Enforced::Not),
        partly: matches!(enforced, Enforced::Partly),
        calls,
    };
    if choice == Confine::Strict && !confinement.files {
        return Err(ConfineError::Incomplete(confinement));
    }
    Ok(Some(confinement))
}
