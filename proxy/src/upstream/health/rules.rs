//! What an answer, or its absence, counts for.

use policy::Policy;
use policy::table::{self, Rows};

use super::{AddressHealth, Counter};

/// What a try or a probe saw of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A connection, where nothing more was asked for.
    Connection,
    /// A response with this status.
    Status(u16),
    /// It could not be reached, broke off, or spoke no HTTP.
    Failure,
    /// It was silent for too long.
    Timeout,
}

/// Kong's `healthy` and `unhealthy` of one kind of check.
#[derive(Clone, Debug)]
pub struct Rules {
    healthy: Statuses,
    unhealthy: Statuses,
    successes: u8,
    http_failures: u8,
    tcp_failures: u8,
    timeouts: u8,
}

/// A set of statuses below 1024.
#[derive(Clone, Debug, Default)]
struct Statuses([u64; 16]);

impl Statuses {
    fn of(policy: &Policy, rows: Rows<table::Status>) -> Self {
        let mut set = Self::default();
        for status in policy.rows(rows) {
            set.0[(status.code / 64 % 16) as usize] |= 1 << (status.code % 64);
        }
        set
    }

    const fn contains(&self, status: u16) -> bool {
        self.0[(status / 64 % 16) as usize] >> (status % 64) & 1 == 1
    }
}

impl Rules {
    /// The rules of a row.
    pub fn new(policy: &Policy, row: &table::HealthRules) -> Self {
        // The verifier keeps counts within a byte.
        let count = |count| u8::try_from(count).unwrap_or(u8::MAX);
        Self {
            healthy: Statuses::of(policy, row.healthy_statuses),
            unhealthy: Statuses::of(policy, row.unhealthy_statuses),
            successes: count(row.successes),
            http_failures: count(row.http_failures),
            tcp_failures: count(row.tcp_failures),
            timeouts: count(row.timeouts),
        }
    }

    /// Counts what was seen. A status in neither list changes nothing; 504 says that the target ran out of time, as
    /// Kong reads it.
    pub fn count(&self, address: &AddressHealth, seen: Seen) {
        match seen {
            Seen::Connection => address.count(Counter::Successes, self.successes),
            Seen::Status(status) if self.healthy.contains(status) => {
                address.count(Counter::Successes, self.successes);
            }
            Seen::Status(status) if self.unhealthy.contains(status) => {
                address.count(Counter::HttpFailures, self.http_failures);
            }
            Seen::Status(_) => {}
            Seen::Failure => address.count(Counter::TcpFailures, self.tcp_failures),
            Seen::Timeout => address.count(Counter::Timeouts, self.timeouts),
        }
    }
}
