//! The text of the hosts file: names that are known without asking (hosts(5)).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::Kind;

/// Addresses by name in lower case.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: HashMap<Box<str>, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads the text. A line without an address is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut names: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else {
                continue;
            };
            for name in words {
                let known = names.entry(name.to_ascii_lowercase().into()).or_default();
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        Self { names }
    }

    /// The addresses of a name of that kind. `None` when the file does not have the name at all: a name that it has
    /// is asked of no server. `localhost` is this machine even when the file does not say so (RFC 6761 §6.3).
    pub(super) fn get(&self, name: &str, kind: Kind) -> Option<Vec<IpAddr>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let local = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let all: &[IpAddr] = match self.names.get(&*name) {
            Some(all) => all,
            None if name == "localhost" || name.ends_with(".localhost") => &local,
            None => return None,
        };
        let wanted = |address: &&IpAddr| match kind {
            Kind::A => address.is_ipv4(),
            Kind::Aaaa => address.is_ipv6(),
            Kind::Srv => false,
        };
        Some(all.iter().filter(wanted).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_have_every_address_of_every_line() {
        let hosts = Hosts::parse(
            "192.0.2.1 One alias # comment two\n\n192.0.2.2\tone\n2001:db8::1 one\n192.0.2.2 one\nnonsense three\n#192.0.2.9 one\n",
        );
        let four: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert_eq!(hosts.get("oNE", Kind::A).unwrap(), four);
        assert_eq!(
            hosts.get("one.", Kind::Aaaa).unwrap(),
            ["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(hosts.get("alias", Kind::A).unwrap(), four[..1]);
        assert_eq!(hosts.get("alias", Kind::Aaaa), Some(Vec::new()));
        assert_eq!(hosts.get("alias", Kind::Srv), Some(Vec::new()));
        assert_eq!(hosts.get("two", Kind::A), None);
        assert_eq!(hosts.get("three", Kind::A), None);
    }

    #[test]
    fn localhost_is_this_machine_unless_the_file_says_otherwise() {
        let local: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(Hosts::default().get("localhost", Kind::A), Some(vec![local]));
        assert_eq!(Hosts::default().get("a.localhost.", Kind::A), Some(vec![local]));
        assert_eq!(Hosts::default().get("notlocalhost", Kind::A), None);
        let other: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(
            Hosts::parse("192.0.2.7 localhost").get("localhost", Kind::A),
            Some(vec![other])
        );
    }
}
