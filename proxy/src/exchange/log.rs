//! One exchange as the access log has it: Kong's log object, from the record and the heads that are still in memory.

use std::net::SocketAddr;

use policy::table::{self, Id};

use super::finish::Times;
use super::model;
use super::record::{CLIENT_LEFT, Outcome, Record, TRIES};
use super::refusal::milliseconds;
use super::{Exchange, Scratch};
use crate::http::outgoing::OutgoingHeaders;
use crate::node::address_of;
use crate::telemetry::access_log::{
    Fields, Latencies, LogCall, LogCertificate, LogEntry, LogRequest, LogResponse, LogTls, LogTry, LostTry,
};

impl Exchange<'_> {
    /// Hands the line over to the log's writer. Never waits.
    pub(super) fn write_log(&mut self, log: Id<table::Log>, times: &Times) {
        let secure = self.record.secure;
        let epoch = std::rc::Rc::clone(&self.epoch);
        let (epoch, record) = (&epoch, &self.record);
        let call = model::finished(epoch, record, times).filter(|call| call.logged);
        let policy = &epoch.snapshot.policy;
        let scratch = &mut *self.scratch;
        write_upstream_uri(scratch, record.has_query);
        // Until a response head is written, this memory holds the request's.
        let mut none = OutgoingHeaders::default();
        let sent: &dyn Fields = if record.headless {
            &none.start_empty()
        } else {
            &scratch.outgoing.resume(&scratch.response_received)
        };
        let request = scratch.head.on(&scratch.received);
        let port = self.record.port;
        let state = &scratch.state;
        let route = state
            .route
            .filter(|_| record.subroute.is_some())
            .map(|id| policy.get(id));
        let service = route.and_then(|route| route.service).map(|id| policy.get(id));
        let consumer = state.consumer.map(|id| policy.get(id));
        let credential = state.credential.map(|id| policy.get(id));
        let ((tries, statuses), made) = (tries(record), made(record));
        let entry = LogEntry {
            request: LogRequest {
                id: record.id_text(),
                method: request.method(),
                scheme: if secure { "https" } else { "http" },
                host: &scratch.host,
                port: port.unwrap_or(self.client.peer.local_port),
                path: request.raw_path(),
                query: request.query(),
                headers: &request.headers(),
                size: record.received_bytes,
                tls: self.client.peer.tls.map(LogTls::of),
            },
            response: LogResponse {
                status: record.status,
                headers: sent,
                size: record.sent_bytes,
            },
            upstream_uri: &scratch.text,
            upstream_status: &statuses[..made],
            latencies: latencies(times),
            tries: &tries[..made],
            authenticated: credential.map(|row| {
                (
                    policy.text(row.id),
                    consumer.map(|consumer| policy.text(consumer.id)),
                )
            }),
            route: route.map(|row| policy.text(row.json)),
            service: service.map(|row| policy.text(row.json)),
            consumer: consumer.map(|row| policy.text(row.json)),
            client_ip: record.client.map(address_of),
            started_at_ms: record.began_unix_ms,
            source: record.source.into(),
            correlation_id: record.correlation.as_deref(),
            ai: call.as_ref().map(call_entry),
            certificate: self.client.peer.certificate.as_ref().map(LogCertificate::of),
            epoch: epoch.snapshot.epoch,
        };
        let reports = &epoch.snapshot.reports;
        self.context
            .instruments
            .log
            .borrow_mut()
            .write(reports.log(log), &entry, &reports.redaction);
    }
}

fn call_entry<'f>(call: &model::Finished<'f>) -> LogCall<'f> {
    LogCall {
        plugin_id: call.plugin,
        provider: call.provider,
        request_model: call.model.as_bytes(),
        response_model: call.model.as_bytes(),
        latency_ms: milliseconds(call.latency),
        mode: call.mode,
        prompt_tokens: call.used.prompt,
        completion_tokens: call.used.completion,
        cost_micros: call.cost,
    }
}

fn latencies(times: &Times) -> Latencies {
    Latencies {
        kong_ms: milliseconds(times.own),
        proxy_ms: times.waited.map(milliseconds),
        request_ms: milliseconds(times.total),
        receive_ms: milliseconds(times.receiving),
    }
}

/// Leaves path and query for the upstream in the scratch's text.
fn write_upstream_uri(scratch: &mut Scratch, has_query: bool) {
    scratch.text.clear();
    scratch.text.extend_from_slice(&scratch.upstream_path);
    if has_query {
        scratch.text.push(b'?');
        scratch.text.extend_from_slice(&scratch.upstream_query);
    }
}

/// How many tries are written down.
fn made(record: &Record) -> usize {
    record.tries.iter().flatten().count()
}

/// The tries as the log has them, and the status of each one's response.
fn tries(record: &Record) -> ([LogTry; TRIES], [u16; TRIES]) {
    let unused = LogTry {
        address: SocketAddr::from(([0; 4], 0)).into(),
        began_unix_ns: 0,
        took_ns: 0,
        lost: None,
        hedge: false,
    };
    let (mut tries, mut statuses) = ([unused; TRIES], [0; TRIES]);
    let last = made(record).saturating_sub(1);
    for (number, made) in record.tries.iter().flatten().enumerate() {
        tries[number] = LogTry {
            address: made.address,
            began_unix_ns: made.began_unix_ns,
            took_ns: made.took_ns,
            lost: match made.outcome {
                Outcome::Answered => None,
                Outcome::Failed(code) if number < last => Some(LostTry::Next(code)),
                Outcome::Failed(code) => Some(LostTry::Failed(code)),
                Outcome::Cancelled => Some(LostTry::Cancelled),
            },
            hedge: made.hedge,
        };
        statuses[number] = match made.outcome {
            Outcome::Answered => record.upstream_status.unwrap_or(0),
            Outcome::Failed(code) => code,
            // Whoever was cancelled saw its client leave.
            Outcome::Cancelled => CLIENT_LEFT,
        };
    }
    (tries, statuses)
}
