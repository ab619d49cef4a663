//! The header fields in which Kong's plugins tell clients where they stand. All values are whole numbers.

use super::rate::Decision;
use super::window::Period;
use crate::http::known::KnownHeader;

/// Calls `put` with the fields of `rate-limiting` (Kong 3.9 to 3.15), in this order: limit and remaining of each
/// period, then `RateLimit-*` of the tightest, then `Retry-After` on a denial.
pub fn rate_limit(decision: &Decision, mut put: impl FnMut(KnownHeader, u64)) {
    for standing in decision.standings() {
        let [limit, remaining] = names(standing.period);
        put(limit, standing.limit);
        put(remaining, standing.remaining);
    }
    let Some(tightest) = decision.tightest() else {
        return;
    };
    put(KnownHeader::RateLimitLimit, tightest.limit);
    put(KnownHeader::RateLimitRemaining, tightest.remaining);
    put(KnownHeader::RateLimitReset, tightest.reset_s);
    if !decision.admitted {
        put(KnownHeader::RetryAfter, tightest.reset_s);
    }
}

const fn names(period: Period) -> [KnownHeader; 2] {
    match period {
        Period::Second => [
            KnownHeader::XRateLimitLimitSecond,
            KnownHeader::XRateLimitRemainingSecond,
        ],
        Period::Minute => [
            KnownHeader::XRateLimitLimitMinute,
            KnownHeader::XRateLimitRemainingMinute,
        ],
        Period::Hour => [
            KnownHeader::XRateLimitLimitHour,
            KnownHeader::XRateLimitRemainingHour,
        ],
        Period::Day => [
            KnownHeader::XRateLimitLimitDay,
            KnownHeader::XRateLimitRemainingDay,
        ],
        Period::Month => [
            KnownHeader::XRateLimitLimitMonth,
            KnownHeader::XRateLimitRemainingMonth,
        ],
        Period::Year => [
            KnownHeader::XRateLimitLimitYear,
            KnownHeader::XRateLimitRemainingYear,
        ],
    }
}

/// The field names of one limit of `ai-rate-limiting-advanced`, made once per snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetHeaders {
    limit: Box<str>,
    remaining: Box<str>,
    reset: Box<str>,
    retry_after: Box<str>,
}

impl BudgetHeaders {
    /// For a window of so many seconds and the provider's or policy's name (Kong 3.15:
    /// `X-AI-RateLimit-Limit-90-policy-1`).
    pub fn new(length_s: u64, name: &str) -> Self {
        let field = |what: &str| format!("X-AI-RateLimit-{what}-{length_s}-{name}").into_boxed_str();
        Self {
            limit: field("Limit"),
            remaining: field("Remaining"),
            reset: field("Reset"),
            retry_after: field("Retry-After"),
        }
    }

    /// Calls `put` with limit, remaining and reset, and with retry-after when this limit `denied` the request.
    pub fn write(
        &self,
        limit: u64,
        remaining: u64,
        reset_s: u64,
        denied: bool,
        mut put: impl FnMut(&str, u64),
    ) {
        put(&self.limit, limit);
        put(&self.remaining, remaining);
        put(&self.reset, reset_s);
        if denied {
            put(&self.retry_after, reset_s);
        }
    }
}
