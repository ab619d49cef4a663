//! Why the gateway does not start.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SourceError;
use super::takeover::TakeOverError;
use crate::confine::ConfineError;
use crate::confine::identity::{Identity, IdentityError};
use crate::node::Listen;
use crate::snapshot::SnapshotError;

/// Why the gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The policy cannot be had.
    Source(SourceError),
    /// The policy cannot be put to work.
    Snapshot(SnapshotError),
    /// An address cannot be bound.
    Bind(Listen, io::Error),
    /// The admin socket cannot be bound.
    Admin(PathBuf, io::Error),
    /// The running gateway does not hand over.
    TakeOver(PathBuf, TakeOverError),
    /// The kernel refuses what was asked for.
    Driver(io::Error),
    /// The limit of descriptors cannot be raised.
    Descriptors(io::Error),
    /// The process cannot become who it is to be.
    Identity(IdentityError),
    /// The process cannot be confined as it is to be.
    Confine(ConfineError),
    /// The policy names a log that a confined process cannot write.
    LogOutside(PathBuf),
    /// Something fails for who the process has become.
    AsUser(String, Box<Self>),
    /// A thread cannot be started.
    Thread(io::Error),
    /// A worker cannot run.
    Worker(io::Error),
    /// It was told to stop before it had started.
    Stopped,
    /// TLS is to be served, and the policy has no certificate.
    NoCertificate,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "{error}"),
            Self::Snapshot(error) => write!(f, "{error}"),
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Admin(path, error) => {
                write!(f, "cannot open the admin socket {}: {error}", path.display())?;
                f.write_str("\nhelp: name another one with --admin")
            }
            Self::TakeOver(path, error) => write!(f, "cannot take over from {}: {error}", path.display()),
            Self::Driver(error) => {
                write!(
                    f,
                    "the kernel refuses io_uring: {error}\nhelp: use --driver auto or epoll"
                )
            }
            Self::Descriptors(error) => write!(f, "cannot raise the limit of descriptors: {error}"),
            Self::Identity(error) => write!(f, "{error}"),
            Self::Confine(error) => write!(f, "{error}"),
            Self::LogOutside(path) => write!(
                f,
                "the log {} is outside of the folders that this confined gateway may write to\nhelp: restart it with \
                 --log-dir for that folder, or with --confine off",
                path.display()
            ),
            Self::AsUser(user, error) => write!(
                f,
                "{error}\nnote: by then the gateway is {user}, who has to read the policy and its secrets, and to write \
                 the folder of the admin socket"
            ),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Worker(error) => write!(f, "a worker cannot run: {error}"),
            Self::Stopped => f.write_str("it was told to stop while it started"),
            Self::NoCertificate => f.write_str(
                "a TLS listener was asked for, but the policy has no certificates\n\
                 help: add `certificates` with `snis` to the decK file",
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// Says on whose behalf it was tried, when that is not who started the gateway.
    pub(super) fn tried_by(self, identity: Option<&Identity>) -> Self {
        match identity {
            Some(identity) => Self::AsUser(identity.to_string(), Box::new(self)),
            None => self,
        }
    }
}

impl From<SourceError> for StartError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}
