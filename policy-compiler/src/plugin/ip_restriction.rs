//! ip-restriction: client addresses by lists of addresses and CIDR ranges (Kong 3.15 ip-restriction).

use std::net::IpAddr;

use policy::isa::{Entry, Op};
use policy::table::{Cidr, IpRule, MessageTail, Rows, Table};

use super::{Config, How, Instance, Lowering, Step};
use crate::lower::{Answer, Context};
use crate::schema::PluginKind;

pub(super) const LOWERING: Lowering = Lowering {
    kind: PluginKind::IpRestriction,
    how: How::Row {
        table: Table::IpRule,
        steps: &[Step::always(Entry::Request, Op::Ip)],
        lower,
    },
};

/// IPv4 addresses as `::ffff:a.b.c.d`: the first and the last.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

fn lower(context: &mut Context<'_>, instance: &Instance<'_>) -> u32 {
    let (plugin, config) = (instance.plugin, instance.config());
    let mut answer = Answer::error(
        super::status(context, config, "status", 403),
        "IP address not allowed: ",
    );
    match config.word("message") {
        Some(message) => answer.message = message,
        None => answer.tail = MessageTail::ClientAddress,
    }
    let row = IpRule {
        source: context.source(plugin.meta.span),
        deny: list(context, config, "deny"),
        restricted: !config.list("allow").is_empty(),
        allow: list(context, config, "allow"),
        refusal: context.refusal(plugin, &answer),
    };
    context.builder.row(&row).number()
}

fn list(context: &mut Context<'_>, config: Config<'_>, field: &str) -> Rows<Cidr> {
    ranges(context, config.texts(field).map(|(text, _)| text))
}

/// Rows of the addresses and networks that the texts stand for.
pub(crate) fn ranges<'t>(context: &mut Context<'_>, texts: impl Iterator<Item = &'t str>) -> Rows<Cidr> {
    let mut ranges: Vec<(u128, u128)> = Vec::new();
    for text in texts {
        ranges.extend(parse(text).into_iter().flatten());
    }
    let rows: Vec<Cidr> = merged(ranges)
        .into_iter()
        .map(|(first, last)| {
            let (first_high, first_low) = halves(first);
            let (last_high, last_low) = halves(last);
            Cidr {
                first_high,
                first_low,
                last_high,
                last_low,
            }
        })
        .collect();
    context.builder.list(&rows)
}

/// The ranges that an address or CIDR text stands for; None if it is neither.
///
/// An IPv6 range never holds IPv4 clients, so `::/0` leaves the mapped addresses out.
fn parse(text: &str) -> Option<Vec<(u128, u128)>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let (bits, width, base) = match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32, MAPPED.0),
        IpAddr::V6(address) => (address.to_bits(), 128, 0),
    };
    let free = width - prefix.filter(|&prefix| prefix <= width).unwrap_or(width);
    let mask = u128::MAX.checked_shr(128 - free).unwrap_or(0);
    let (first, last) = (base + (bits & !mask), base + (bits | mask));
    if width == 32 || last < MAPPED.0 || first > MAPPED.1 || (first >= MAPPED.0 && last <= MAPPED.1) {
        return Some(vec![(first, last)]);
    }
    let below = (first < MAPPED.0).then(|| (first, MAPPED.0 - 1));
    let above = (last > MAPPED.1).then(|| (MAPPED.1 + 1, last));
    Some(below.into_iter().chain(above).collect())
}

/// The same addresses in ascending ranges that do not touch.
fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if before.1.saturating_add(1) >= first => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

fn halves(address: u128) -> (u64, u64) {
    let bytes = address.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    (word(high), word(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, address: &str) -> bool {
        let address = match address.parse().expect("an address") {
            IpAddr::V4(address) => MAPPED.0 + u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let ranges = parse(text).expect("a range");
        ranges
            .iter()
            .any(|&(first, last)| first <= address && address <= last)
    }

    #[test]
    fn ranges_hold_their_ends() {
        assert!(holds("10.1.2.0/23", "10.1.2.0") && holds("10.1.2.0/23", "10.1.3.255"));
        assert!(!holds("10.1.2.0/23", "10.1.4.0") && !holds("10.1.2.0/23", "10.1.1.255"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
    }

    #[test]
    fn host_bits_are_ignored() {
        assert!(holds("10.1.2.77/24", "10.1.2.3"));
    }

    #[test]
    fn every_ipv6_address_is_no_ipv4_address() {
        assert!(holds("::/0", "::1") && holds("::/0", "ffff::") && !holds("::/0", "192.0.2.1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.9"));
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(merged(vec![(5, 6), (1, 2), (3, 4), (9, 9)]), [(1, 6), (9, 9)]);
        assert_eq!(merged(vec![(0, u128::MAX), (7, 8)]), [(0, u128::MAX)]);
    }
}
