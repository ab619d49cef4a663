//! What is written down about an exchange on its way, for the log and the metrics.

use policy::table::{Id, Subroute};

use super::gate::Ledger;
use super::hash_key::HashCookie;
use super::request_id::RequestId;
use crate::worker::Address;
use crate::worker::clock::{self, Moment};

/// Who made the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The gateway.
    Gateway,
    /// The upstream.
    Upstream,
}

/// The status of an exchange whose client left before its answer, as nginx and Kong log it.
pub(super) const CLIENT_LEFT: u16 = 499;

/// A try to get a response from a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pub(super) address: Address,
    pub(super) began_unix_ns: u64,
    /// How long finding the address took.
    pub(super) took_ns: u64,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Whether it was made while an earlier one was still waited for.
    pub(super) hedge: bool,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With an answer, or it has not ended.
    Answered,
    /// It stands for this status.
    Failed(u16),
    /// Another one answered first.
    Cancelled,
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
    /// Whether the exchange ended before a response head was written.
    pub(super) headless: bool,
    pub(super) upstream_status: Option<u16>,
    pub(super) source: Source,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) tries: [Option<Try>; TRIES],
    /// The client's address, IPv4 mapped; `None` on a Unix socket.
    pub(super) client: Option<u128>,
    /// Whether the client's side is encrypted.
    pub(super) secure: bool,
    /// The port that the request names.
    pub(super) port: Option<u16>,
    /// Whether the request was understood, so that a route was looked for.
    pub(super) sought: bool,
    /// Bytes of the path that the route matched.
    pub(super) matched_len: u32,
    /// The entry of Kong's order that matched.
    pub(super) subroute: Option<Id<Subroute>>,
    /// Whether the whole request body is in memory.
    pub(super) body_read: bool,
    /// Whether that body is no longer what the client sent.
    pub(super) body_edited: bool,
    /// Whether an edit set the upstream's Host.
    pub(super) host_edited: bool,
    /// Whether the upstream gets a query.
    pub(super) has_query: bool,
    /// The method for the upstream, when an edit changed it.
    pub(super) method: Option<Vec<u8>>,
    /// The correlation id.
    pub(super) correlation: Option<Vec<u8>>,
    /// A cookie that the client is to be hashed by.
    pub(super) hash_cookie: Option<HashCookie>,
    /// What was taken from quotas and budgets.
    pub(super) ledger: Ledger,
}

impl Record {
    pub(super) fn begin(id: RequestId, head_bytes: usize, client: Option<u128>, secure: bool) -> Self {
        Self {
            id,
            began: clock::now(),
            began_unix_ms: clock::unix_ms(),
            forwarded: None,
            answered: None,
            status: 0,
            headless: false,
            upstream_status: None,
            source: Source::Gateway,
            received_bytes: head_bytes as u64,
            sent_bytes: 0,
            tries: [None; TRIES],
            client,
            secure,
            port: None,
            sought: false,
            matched_len: 0,
            subroute: None,
            body_read: false,
            body_edited: false,
            host_edited: false,
            has_query: false,
            method: None,
            correlation: None,
            hash_cookie: None,
            ledger: Ledger::default(),
        }
    }

    /// The id as text.
    pub(super) fn id_text(&self) -> &str {
        str::from_utf8(&self.id).unwrap_or_default()
    }

    pub(super) const fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
    }

    /// Bytes of another protocol went through, from the client and to it.
    pub(super) const fn carried(&mut self, received: u64, sent: u64) {
        self.received_bytes += received;
        self.sent_bytes += sent;
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// Writes a try down that begins; the result is its number, while there is room.
    pub(super) fn tried(&mut self, made: Try) -> Option<usize> {
        let number = self.tries.iter().position(Option::is_none)?;
        self.tries[number] = Some(made);
        Some(number)
    }

    /// Writes down how the try of this number ended.
    pub(super) fn ended(&mut self, number: Option<usize>, outcome: Outcome) {
        if let Some(Some(made)) = number.map(|number| &mut self.tries[number]) {
            made.outcome = outcome;
        }
    }
}
