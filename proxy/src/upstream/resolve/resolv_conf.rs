//! The text of resolv.conf: which servers, which search list, which options (resolv.conf(5), glibc).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::limits;

/// The port of DNS.
pub(super) const PORT: u16 = 53;

/// What resolv.conf says, or its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// `nameserver`, in order; the machine itself when there is none.
    pub servers: Vec<SocketAddr>,
    /// `search`, or `domain`: the last of either counts.
    pub search: Vec<Box<str>>,
    /// Names with so many dots are asked for as they are first.
    pub ndots: usize,
    /// For one try of one server.
    pub timeout: Duration,
    /// Rounds over all servers.
    pub attempts: u32,
    /// Whether look-ups begin with one server after the other.
    pub rotate: bool,
    /// Whether questions go over TCP only.
    pub tcp: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(limits::DNS_TRY_S),
            attempts: 2,
            rotate: false,
            tcp: false,
        }
    }
}

impl ResolvConf {
    /// Reads the text. Lines that it does not know are passed over, numbers are cut to what glibc takes.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default();
            match keyword {
                "nameserver" => conf.servers.extend(words.next().and_then(server)),
                "search" | "domain" => {
                    let domains = words
                        .map(|word| word.trim_matches('.'))
                        .filter(|it| !it.is_empty());
                    conf.search = domains.map(Into::into).take(limits::DNS_SEARCH).collect();
                }
                "options" => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf.servers.truncate(limits::DNS_SERVERS);
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(number)) => self.ndots = number.min(15) as usize,
            ("timeout", Some(number)) => self.timeout = Duration::from_secs(number.clamp(1, 30).into()),
            ("attempts", Some(number)) => self.attempts = number.clamp(1, 5),
            ("rotate", None) => self.rotate = true,
            ("use-vc", None) => self.tcp = true,
            _ => {}
        }
    }

    /// The absolute names that a name may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let mut all: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{name}.{domain}"))
            .collect();
        let place = if dots >= self.ndots { 0 } else { all.len() };
        all.insert(place, name.to_owned());
        all
    }
}

/// An address; of a link-local one, the interface by number.
fn server(word: &str) -> Option<SocketAddr> {
    let (address, scope) = word.split_once('%').unwrap_or((word, ""));
    match address.parse().ok()? {
        IpAddr::V6(address) if !scope.is_empty() => {
            let scope = scope.parse().ok()?;
            Some(SocketAddrV6::new(address, PORT, 0, scope).into())
        }
        address => Some((address, PORT).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_option_is_read() {
        let conf = ResolvConf::parse(
            "# comment\n; comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%3\n\
             nameserver nonsense\ndomain a.test\nsearch b.test. c.test\n\
             options ndots:5 timeout:1 attempts:3 rotate use-vc edns0 unknown:1 timeout:x\n",
        );
        let expected = ResolvConf {
            servers: ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"]
                .map(|text| text.parse().unwrap())
                .into(),
            search: vec!["b.test".into(), "c.test".into()],
            ndots: 5,
            timeout: Duration::from_secs(1),
            attempts: 3,
            rotate: true,
            tcp: true,
        };
        assert_eq!(conf, expected);
    }

    #[test]
    fn without_a_server_it_is_this_machine() {
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn many_dots_make_a_name_absolute_first() {
        let mut conf = ResolvConf::parse("search a.test b.test\noptions ndots:2");
        assert_eq!(conf.candidates("x.y"), ["x.y.a.test", "x.y.b.test", "x.y"]);
        assert_eq!(
            conf.candidates("x.y.z"),
            ["x.y.z", "x.y.z.a.test", "x.y.z.b.test"]
        );
        assert_eq!(conf.candidates("x."), ["x"]);
        conf.search.clear();
        assert_eq!(conf.candidates("x"), ["x"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_something_bounded(text in "(nameserver|search|options|[ :.%0-9a-z\n]){0,60}") {
            let conf = ResolvConf::parse(&text);
            prop_assert!((1..=limits::DNS_SERVERS).contains(&conf.servers.len()));
            prop_assert!(conf.search.len() <= limits::DNS_SEARCH && conf.ndots <= 15);
            prop_assert!((1..=5).contains(&conf.attempts) && conf.timeout >= Duration::from_secs(1));
        }
    }
}
