//! Who may: acl, ip-restriction and cors.

use std::net::IpAddr;

use super::{Outcome, Walk, refuse};
use crate::deck::entity::PluginIndex;
use crate::plugin::Config;

impl Walk<'_> {
    pub(super) fn acl(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let Some(consumer) = self.consumer else {
            return refuse(index, 401, "Unauthorized");
        };
        let mut groups: Vec<&str> = self
            .model
            .acls
            .iter()
            .filter(|acl| acl.consumer == consumer)
            .map(|acl| &*acl.group)
            .collect();
        if config.flag("include_consumer_groups") {
            groups.extend(self.groups().iter().map(|group| &*self.model[*group].name));
        }
        let without = groups.is_empty();
        let allow = config.has("allow");
        let listed = config
            .texts(if allow { "allow" } else { "deny" })
            .any(|(name, _)| groups.contains(&name));
        match (listed == allow, allow && self.anonymous && without) {
            (true, _) => Outcome::Forwarded,
            (false, true) => refuse(index, 401, "Unauthorized"),
            (false, false) => refuse(index, 403, "You cannot consume this service"),
        }
    }

    pub(super) fn ip_restriction(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let within =
            |field: &str, address: IpAddr| config.texts(field).any(|(range, _)| in_range(range, address));
        let passes = self.request.client.is_some_and(|address| {
            !within("deny", address) && (config.list("allow").is_empty() || within("allow", address))
        });
        if passes {
            return Outcome::Forwarded;
        }
        let message = config.text("message").unwrap_or("IP address not allowed: ");
        refuse(index, config.status("status", 403).unwrap_or(403), message)
    }

    pub(super) fn cors(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let asked = |name| self.request.values(name).next().is_some();
        let preflight =
            self.request.method == "OPTIONS" && asked("origin") && asked("access-control-request-method");
        if preflight && !config.flag("preflight_continue") {
            Outcome::Preflight(index)
        } else {
            Outcome::Forwarded
        }
    }
}

fn in_range(range: &str, address: IpAddr) -> bool {
    let (network, prefix) = range.split_once('/').unwrap_or((range, "128"));
    let Ok(prefix) = prefix.parse::<u32>() else {
        return false;
    };
    let same = |left: &[u8], right: &[u8]| {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        (0..left.len() * 8)
            .take_while(|at| *at < prefix as usize)
            .all(|at| bit(left, at) == bit(right, at))
    };
    match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => same(&network.octets(), &address.octets()),
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => same(&network.octets(), &address.octets()),
        _ => false,
    }
}
