//! rate-limiting on a request: whose counter it falls on, what was taken, and what the client is told.
//!
//! Enters: a quota row and the facts of a request. Leaves: a decision. The counters are `crate::quota`'s.

use std::net::{IpAddr, Ipv6Addr};

use policy::table::{Id, LimitBy, PeriodUnit, Quota};
use policy::vm::State;
use policy::{Policy, select};

use super::Exchange;
use crate::http::headers::HeaderView;
use crate::http::outgoing::Outgoing;
use crate::quota::rate::{Decision, RateLimit};
use crate::quota::window::Period;
use crate::quota::{Key, Table, headers, identifier};

/// What identifiers look at in a request.
pub(super) struct Caller<'c> {
    pub(super) state: &'c State,
    pub(super) headers: HeaderView<'c>,
    /// Canonical path.
    pub(super) path: &'c [u8],
    /// Address, IPv4 mapped.
    pub(super) address: Option<u128>,
}

/// Takes one request from a quota and notes the decision; whether it is admitted.
pub(super) fn take(
    policy: &Policy,
    table: &Table,
    quota: Id<Quota>,
    caller: &Caller<'_>,
    now_ms: u64,
    taken: &mut Taken,
) -> bool {
    let quota = policy.get(quota);
    let limit = policy
        .rows(quota.periods)
        .fold(RateLimit::default(), |limit, row| {
            limit.with(period(row.unit), row.limit)
        });
    let decision = limit.take(table, now_ms, key(policy, table, &quota, caller));
    if !quota.hide_headers {
        taken.told = Some(decision);
    }
    decision.admitted
}

/// The counter that a caller falls on (Kong 3.15 `limit_by`): what is missing falls back to the client's address.
/// An address always has a zero byte and no other identifier can have one, so the two never meet.
fn key(policy: &Policy, table: &Table, quota: &Quota, caller: &Caller<'_>) -> Key {
    let state = caller.state;
    let credential = || Some(policy.bytes(policy.get(state.credential?).id));
    let service = || Some(policy.bytes(policy.get(policy.get(state.route?).service?).id));
    let group = || Some(policy.bytes(policy.get(select::groups(policy, state.consumer?).next()?).id));
    if quota.by == LimitBy::Consumer
        && let Some(identity) = state.identity(policy)
    {
        return table.key_of_digest(quota.stable, identity);
    }
    let identifier = match quota.by {
        LimitBy::Consumer | LimitBy::Credential => credential(),
        LimitBy::Ip => None,
        LimitBy::Service => service(),
        LimitBy::Header => caller
            .headers
            .find(policy.bytes(quota.header))
            .filter(|value| !value.is_empty()),
        LimitBy::Path => Some(caller.path).filter(|path| *path == policy.bytes(quota.path)),
        LimitBy::ConsumerGroup => group(),
    };
    match identifier {
        Some(identifier) => table.key(quota.stable, identifier),
        // Peers without an address share one counter.
        None => {
            let address = IpAddr::V6(Ipv6Addr::from(caller.address.unwrap_or(0)));
            table.key(quota.stable, &identifier::of_address(address))
        }
    }
}

const fn period(unit: PeriodUnit) -> Period {
    match unit {
        PeriodUnit::Second => Period::Second,
        PeriodUnit::Minute => Period::Minute,
        PeriodUnit::Hour => Period::Hour,
        PeriodUnit::Day => Period::Day,
        PeriodUnit::Month => Period::Month,
        PeriodUnit::Year => Period::Year,
    }
}

/// The quotas that a request was counted against.
#[derive(Default)]
pub(super) struct Taken {
    /// The last decision that clients may see: Kong runs one instance of a plugin, and a denial ends the program.
    told: Option<Decision>,
}

impl Exchange<'_> {
    /// Where the client stands: on proxied responses and on refusals.
    pub(super) fn write_quota_headers(&self, fields: &mut Outgoing<'_>) {
        if let Some(decision) = &self.record.ledger.taken.told {
            headers::rate_limit(decision, |name, value| fields.put_number(name, value));
        }
    }
}

#[cfg(test)]
mod tests;
