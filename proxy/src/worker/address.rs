//! Where a server is: an address of the network, or a Unix socket of this machine.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use crate::limits;

/// Where a server is. Small and copied freely: paths are kept once, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Of the network.
    Ip(SocketAddr),
    /// Of this machine.
    Unix(UnixPath),
}

/// The path of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath(&'static str);

impl UnixPath {
    /// A path that [`policy::unix::check`] passes. `None` when the process has seen [`limits::UNIX_PATHS`] others.
    pub fn new(path: &str) -> Option<Self> {
        #[expect(clippy::disallowed_types, reason = "cold: taken when a policy is loaded")]
        static SEEN: std::sync::Mutex<BTreeSet<&'static str>> = std::sync::Mutex::new(BTreeSet::new());
        let mut seen = SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = seen.get(path) {
            return Some(Self(known));
        }
        if seen.len() >= limits::UNIX_PATHS {
            return None;
        }
        let kept: &'static str = Box::leak(Box::from(path));
        seen.insert(kept);
        Some(Self(kept))
    }

    /// The path.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl Address {
    /// The address of the network, if it is one.
    pub const fn ip(self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{}{}", policy::unix::PREFIX, path.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_once() {
        let [one, same, other] = ["/run/a.sock", "/run/a.sock", "/run/b.sock"].map(UnixPath::new);
        let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
        assert!(std::ptr::eq(one.as_str(), same.as_str()));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(Address::Unix(one).to_string(), "unix:/run/a.sock");
    }

    #[test]
    fn an_address_is_no_larger_than_one_of_the_network() {
        assert_eq!(size_of::<Address>(), size_of::<SocketAddr>());
    }
}
