//! Whom the gateway believes: addresses and networks, and peers on Unix sockets.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use policy::unix;
use serde::Deserialize;

/// Some of the peers that a gateway may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A network of addresses, as the gateway compares them: IPv4 mapped into IPv6.
    Addresses {
        /// The first.
        first: u128,
        /// How many bits all of them share.
        prefix: u32,
    },
    /// Peers on Unix sockets, which have no address: no network of addresses holds them, however wide it is.
    Unix,
}

impl Network {
    /// Whether a peer is in it; `None` is one on a Unix socket.
    pub const fn contains(self, peer: Option<u128>) -> bool {
        match (self, peer) {
            (Self::Addresses { first, prefix }, Some(address)) => {
                let shift = 128 - prefix;
                shift == 128 || (address ^ first) >> shift == 0
            }
            (Self::Unix, None) => true,
            (Self::Addresses { .. }, None) | (Self::Unix, Some(_)) => false,
        }
    }
}

/// An address as 128 bits, IPv4 mapped (`::ffff:a.b.c.d`).
pub fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address that such bits stand for.
pub fn address_of(bits: u128) -> IpAddr {
    Ipv6Addr::from(bits).to_canonical()
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == unix::PREFIX {
            return Ok(Self::Unix);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_error| NetworkError)?;
        let (offset, width) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
        let prefix = match prefix {
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|&bits: &u32| bits <= width)
                .ok_or(NetworkError)?,
            None => width,
        };
        Ok(Self::Addresses {
            first: address_bits(address),
            prefix: prefix + offset,
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Not an address, a network or `unix:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError;

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address, a network such as 10.0.0.0/8, or `unix:` for peers on Unix sockets")
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Option<u128> {
        Some(address_bits(text.parse().expect("an address")))
    }

    #[test]
    fn networks_contain_their_addresses_only() {
        let network: Network = "10.0.0.0/8".parse().expect("a network");
        assert!(network.contains(bits("10.255.0.1")));
        assert!(!network.contains(bits("11.0.0.1")));
        assert!(!network.contains(bits("::1")));
        let all: Network = "::/0".parse().expect("a network");
        assert!(all.contains(bits("203.0.113.9")));
        let one: Network = "2001:db8::1".parse().expect("an address");
        assert!(one.contains(bits("2001:db8::1")) && !one.contains(bits("2001:db8::2")));
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError));
        assert_eq!("unix:/run/lb.sock".parse::<Network>(), Err(NetworkError));
    }

    #[test]
    fn peers_on_unix_sockets_are_in_no_network_of_addresses() {
        let [all, unix] = ["::/0", "unix:"].map(|text| text.parse::<Network>().expect("a network"));
        assert!(!all.contains(None) && unix.contains(None));
        assert!(!unix.contains(bits("::")) && !unix.contains(bits("127.0.0.1")));
    }
}
