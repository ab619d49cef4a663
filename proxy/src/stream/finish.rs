//! The end of a session: counts it and writes it down, as its policy says.

use std::time::Duration;

use policy::isa::Entry;
use policy::table::{Id, Log, Metrics};
use rustls::Connection;

use super::Session;
use crate::downstream::proxy_protocol::write::HeaderTls;
use crate::limits;
use crate::node::address_of;
use crate::telemetry::access_log::{LogCertificate, LogSession, LogTls, LogTry};
use crate::telemetry::counter::{self, Groups, Source};
use crate::tls::{Agreed, PeerCertificate};
use crate::worker::clock::{self, Moment};

/// What is written down about a session on its way.
pub(super) struct Record {
    began: Moment,
    began_unix_ms: u64,
    server_port: u16,
    /// How it ended, as nginx says it.
    pub(super) status: u16,
    /// Server name that the client asked for, where TLS was expected.
    pub(super) server_name: Option<String>,
    /// When the connection to the upstream was there.
    pub(super) connected: Option<Moment>,
    /// Bytes from the client and from the upstream.
    pub(super) relayed: Option<(u64, u64)>,
    tls: Option<LogTls<'static>>,
    certificate: Option<PeerCertificate>,
    tries: Vec<LogTry>,
}

impl Record {
    pub(super) fn begin(server_port: u16) -> Self {
        Self {
            began: clock::now(),
            began_unix_ms: clock::unix_ms(),
            server_port,
            status: 200,
            server_name: None,
            connected: None,
            relayed: None,
            tls: None,
            certificate: None,
            tries: Vec::new(),
        }
    }

    /// The client's TLS ended here.
    pub(super) fn terminated(&mut self, session: Option<&Connection>) {
        self.tls = session.and_then(Agreed::of).map(LogTls::of);
        self.certificate = session.and_then(PeerCertificate::of);
    }

    /// What servers are told of the client's TLS, where it ends here.
    pub(super) fn header_tls(&self) -> Option<HeaderTls<'_>> {
        let tls = self.tls?;
        Some(HeaderTls {
            version: tls.version,
            cipher: tls.cipher,
            has_certificate: self.certificate.is_some(),
            server_name: self.server_name.as_deref().unwrap_or_default(),
            protocol: None,
        })
    }

    pub(super) fn tried(&mut self, made: LogTry) {
        if self.tries.len() < limits::SESSION_TRIES {
            self.tries.push(made);
        }
    }
}

impl Session<'_> {
    pub(super) fn finish(&mut self) {
        self.run(Entry::End);
        let end = clock::now();
        let effects = *self.state.effects();
        for effect in effects.iter() {
            if let Some(id) = effect.id::<Metrics>() {
                self.count(id, end);
            } else if let Some(id) = effect.id::<Log>() {
                self.write_log(id, end);
            }
        }
    }

    fn count(&self, metrics: Id<Metrics>, end: Moment) {
        let (snapshot, record) = (&self.epoch.snapshot, &self.record);
        let row = snapshot.policy.get(metrics);
        let groups = Groups {
            status_code: row.status_code,
            latency: row.latency,
            bandwidth: row.bandwidth,
            ..Groups::default()
        };
        let (ingress_bytes, egress_bytes) = record.relayed.unwrap_or_default();
        let session = counter::Session {
            route: snapshot.reports.route(self.route),
            code: record.status,
            source: match record.connected {
                Some(_) => Source::Upstream,
                None => Source::Gateway,
            },
            duration: end - record.began,
            ingress_bytes,
            egress_bytes,
        };
        self.context.instruments.recorder.session(&session, groups);
    }

    fn write_log(&self, log: Id<Log>, end: Moment) {
        let (epoch, record) = (&self.epoch, &self.record);
        let policy = &epoch.snapshot.policy;
        let route = policy.get(self.route);
        let service = route.service.map(|id| policy.get(id));
        let (received, sent) = record.relayed.unwrap_or_default();
        let entry = LogSession {
            tls: record.tls,
            status: record.status,
            server_port: record.server_port,
            received,
            sent,
            upstream: record.relayed.map(|_| (sent, received)),
            kong_ms: milliseconds(record.connected.unwrap_or(end) - record.began),
            session_ms: milliseconds(end - record.began),
            tries: &record.tries,
            route: policy.text(route.json),
            service: service.map(|row| policy.text(row.json)),
            client_ip: self.source.address.map(address_of),
            started_at_ms: record.began_unix_ms,
            server_name: record.server_name.as_deref().filter(|name| !name.is_empty()),
            certificate: record.certificate.as_ref().map(LogCertificate::of),
            epoch: epoch.snapshot.epoch,
        };
        let file = epoch.snapshot.reports.log(log);
        self.context
            .instruments
            .log
            .borrow_mut()
            .write_session(file, &entry);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
