//! Counts of sessions, by service and route.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cell::{Codes, Counter, Histogram};
use super::{Code, Groups, HistogramSum, LATENCY_MS, Recorder, RouteNumber, Source, add_both};

/// A session on a route.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Its service and route.
    pub route: RouteNumber,
    /// How it ended.
    pub code: u16,
    /// Who ended it so: the gateway, or both ends of a connection that was made.
    pub source: Source,
    /// From its first byte to its last.
    pub duration: Duration,
    /// Bytes received from the client.
    pub ingress_bytes: u64,
    /// Bytes sent to it.
    pub egress_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct SessionRow {
    codes: Codes,
    duration: Histogram<13>,
    bandwidth: [Counter; 2],
}

/// One service and route.
#[derive(Clone, Debug, Default)]
pub struct SessionSum {
    /// Service label.
    pub service: String,
    /// Route label.
    pub route: String,
    /// Sessions by how they ended.
    pub ends: BTreeMap<Code, u64>,
    /// How long they took.
    pub duration: HistogramSum<13>,
    /// Bytes received and sent.
    pub bandwidth: [u64; 2],
}

impl Recorder {
    /// Counts a session.
    pub fn session(&self, session: &Session, groups: Groups) {
        let row = self.worker().sessions.row(session.route.0 as usize);
        if groups.status_code {
            row.codes.count(session.code, session.source);
        }
        if groups.latency {
            row.duration.observe(&LATENCY_MS, session.duration);
        }
        if groups.bandwidth {
            add_both(&row.bandwidth, [session.ingress_bytes, session.egress_bytes]);
        }
    }
}

impl SessionRow {
    pub(super) fn add_to(&self, sum: &mut SessionSum) {
        self.codes.each(|code, count| {
            if count > 0 {
                *sum.ends.entry(code).or_default() += count;
            }
        });
        self.duration.add_to(&mut sum.duration);
        for (sum, bytes) in sum.bandwidth.iter_mut().zip(&self.bandwidth) {
            *sum += bytes.get();
        }
    }
}

impl SessionSum {
    pub(super) fn named((service, route): (String, String)) -> Self {
        Self {
            service,
            route,
            ..Self::default()
        }
    }

    pub(super) fn is_used(&self) -> bool {
        !self.ends.is_empty() || self.bandwidth != [0, 0] || self.duration.count() > 0
    }
}
