//! What is written down about an exchange on its way, for the log and the metrics.

use super::request_id::RequestId;
use crate::worker::clock::{self, Moment};

/// Who made the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The gateway.
    Gateway,
    /// The upstream.
    Upstream,
}

/// A try to get a response from a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pub(super) address: std::net::SocketAddr,
    pub(super) began_unix_ms: u64,
    pub(super) began_unix_ns: u64,
    pub(super) took_ns: u64,
    pub(super) failed: bool,
}

/// Tries that are written down; further ones are only made.
pub(super) const TRIES: usize = 4;

/// The facts of one exchange.
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) began: Moment,
    pub(super) began_unix_ms: u64,
    /// When the request went to the upstream that answered.
    pub(super) forwarded: Option<Moment>,
    /// When the response head came.
    pub(super) answered: Option<Moment>,
    pub(super) status: u16,
    pub(super) upstream_status: Option<u16>,
    pub(super) source: Source,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) tries: [Option<Try>; TRIES],
}

impl Record {
    pub(super) fn begin(id: RequestId, head_bytes: usize) -> Self {
        Self {
            id,
            began: clock::now(),
            began_unix_ms: clock::unix_ms(),
            forwarded: None,
            answered: None,
            status: 0,
            upstream_status: None,
            source: Source::Gateway,
            received_bytes: head_bytes as u64,
            sent_bytes: 0,
            tries: [None; TRIES],
        }
    }

    /// The id as text.
    pub(super) fn id_text(&self) -> &str {
        str::from_utf8(&self.id).unwrap_or_default()
    }

    pub(super) const fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    pub(super) fn tried(&mut self, made: Try) {
        if let Some(place) = self.tries.iter_mut().find(|place| place.is_none()) {
            *place = Some(made);
        }
    }
}
