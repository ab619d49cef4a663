//! What operators say about names: `--dns-*`, with the names and defaults of kong.conf (Kong 3.9).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::message::Kind;
use super::resolv_conf::PORT;

/// How names are resolved on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// Servers to ask instead of those of resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// The hosts file.
    pub hosts_file: PathBuf,
    /// resolv.conf.
    pub resolv_conf: PathBuf,
    /// Which records are asked for.
    pub order: DnsOrder,
    /// How long answers are used, whatever their records say.
    pub valid_ttl: Option<Duration>,
    /// How long after that they serve while servers fail.
    pub stale_ttl: Duration,
}

/// `dns_order`: the types that are asked for, one after the other until one has records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsOrder {
    /// Whether the type that a name had last is asked for first.
    pub last: bool,
    /// The others, each once.
    pub kinds: Vec<Kind>,
}

impl Default for DnsOrder {
    /// Kong's `LAST,SRV,A,CNAME`, with AAAA behind A: a host that has IPv6 addresses alone can be reached.
    fn default() -> Self {
        Self {
            last: true,
            kinds: vec![Kind::Srv, Kind::A, Kind::Aaaa],
        }
    }
}

/// Not an order of record types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOrder;

impl fmt::Display for NotAnOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected some of LAST, SRV, A, AAAA and CNAME with commas between them, A or AAAA among them",
        )
    }
}

impl std::error::Error for NotAnOrder {}

impl FromStr for DnsOrder {
    type Err = NotAnOrder;

    fn from_str(text: &str) -> Result<Self, NotAnOrder> {
        let mut order = Self {
            last: false,
            kinds: Vec::new(),
        };
        for word in text.split(',') {
            let kind = match &*word.trim().to_ascii_uppercase() {
                "LAST" => {
                    order.last = true;
                    continue;
                }
                // Aliases are followed wherever they come; asking for one alone would bring nothing.
                "CNAME" => continue,
                "SRV" => Kind::Srv,
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                _ => return Err(NotAnOrder),
            };
            if !order.kinds.contains(&kind) {
                order.kinds.push(kind);
            }
        }
        // SRV records name hosts, whose addresses are then asked for.
        let addresses = order.kinds.iter().any(|kind| *kind != Kind::Srv);
        addresses.then_some(order).ok_or(NotAnOrder)
    }
}

/// A DNS server as operators write it: an address, with a port unless it is 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

/// Not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAServer;

impl fmt::Display for NotAServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353")
    }
}

impl std::error::Error for NotAServer {}

impl FromStr for DnsServer {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let with_port = text.parse();
        let address = bare.parse().map(|address: IpAddr| SocketAddr::new(address, PORT));
        with_port.or(address).map(Self).map_err(|_error| NotAServer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kongs_order_is_read_and_needs_addresses() {
        let kong: DnsOrder = "LAST,SRV,A,CNAME".parse().unwrap();
        assert_eq!((kong.last, &*kong.kinds), (true, &[Kind::Srv, Kind::A][..]));
        let six: DnsOrder = "aaaa, a,A".parse().unwrap();
        assert_eq!((six.last, &*six.kinds), (false, &[Kind::Aaaa, Kind::A][..]));
        for wrong in ["", "SRV", "LAST,CNAME", "A,MX", "A,,AAAA"] {
            assert_eq!(wrong.parse::<DnsOrder>(), Err(NotAnOrder), "{wrong}");
        }
    }

    #[test]
    fn a_server_has_port_53_unless_it_says_otherwise() {
        for (text, server) in [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("2001:db8::1", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]", Some("[2001:db8::1]:53")),
            ("[2001:db8::1]:5353", Some("[2001:db8::1]:5353")),
            ("dns.test", None),
            ("192.0.2.1:99999", None),
        ] {
            let expected = server.map(|text| DnsServer(text.parse().unwrap()));
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
