//! One probe of one target: a connection, or a GET whose status line is all that matters (Kong 3.x active checks).

use std::sync::Arc;
use std::time::Duration;

use super::{AddressHealth, Rules, Seen, TargetHealth};
use crate::limits;
use crate::snapshot::Server;
use crate::tls::{ClientTls, Stream, StreamError};
use crate::upstream::resolve::Names;
use crate::upstream::{self, ConnectError};
use crate::worker::{Address, Buffer, ConnError};

/// Active checks of one upstream.
pub struct Probe {
    /// Id of the upstream: the same in every epoch.
    pub upstream: Box<str>,
    /// For each step.
    pub timeout: Duration,
    /// Targets probed at once.
    pub concurrency: usize,
    /// Between probes of healthy targets; zero for none.
    pub healthy_interval: Duration,
    /// Between probes of unhealthy targets; zero for none.
    pub unhealthy_interval: Duration,
    /// What answers count for.
    pub rules: Rules,
    /// Who is probed.
    pub targets: Vec<Probed>,
}

/// A target, as its probe needs it.
pub struct Probed {
    /// Where.
    pub server: Server,
    /// TLS, and the name it asks for.
    pub tls: Option<(ClientTls, Arc<str>)>,
    /// The PROXY header of a connection that the gateway opens for itself; empty for none.
    pub announcement: Box<[u8]>,
    /// The whole request; `None` when a connection is enough.
    pub request: Option<Box<[u8]>>,
    /// How it is.
    pub health: Arc<TargetHealth>,
}

impl Probed {
    /// Its addresses with their health. A name without one is not the target's failure, as in Kong.
    pub fn addresses(&self, names: &Names) -> Vec<(Address, Arc<AddressHealth>)> {
        let known = self.server.addresses(names).unwrap_or_default();
        let health = |address| (address, self.health.of(address));
        known.into_iter().map(health).collect()
    }
}

impl Probe {
    /// Between probes of the targets in one state.
    pub const fn interval(&self, healthy: bool) -> Duration {
        if healthy {
            self.healthy_interval
        } else {
            self.unhealthy_interval
        }
    }

    /// Probes an address of a target and counts the outcome.
    pub async fn check(&self, target: &Probed, address: Address, health: &AddressHealth) {
        let tls = target.tls.as_ref().map(|(tls, name)| (tls, &**name));
        let seen = match upstream::connect(address, &target.announcement, tls, self.timeout).await {
            Ok(stream) => match &target.request {
                Some(request) => self.ask(stream, request).await.unwrap_or_else(lost),
                None => Seen::Connection,
            },
            Err(ConnectError::Refused(error)) => lost(error),
            // Kong calls every failed handshake a TCP failure.
            Err(ConnectError::Tls(_) | ConnectError::Unresolved) => Seen::Failure,
        };
        self.rules.count(health, seen);
    }

    async fn ask(&self, mut stream: Stream, request: &[u8]) -> Result<Seen, StreamError> {
        let mut buffer = Buffer::take();
        buffer.extend_from_slice(request);
        stream.conn().arm(self.timeout);
        stream.write_all(&mut buffer).await?;
        buffer.clear();
        stream.conn().arm(self.timeout);
        loop {
            stream.read(&mut buffer).await?;
            if let Some(end) = memchr::memchr(b'\n', &buffer) {
                return Ok(status(&buffer[..end]).map_or(Seen::Failure, Seen::Status));
            }
            if buffer.len() > limits::PROBE_LINE_BYTES {
                return Ok(Seen::Failure);
            }
        }
    }
}

fn lost(error: StreamError) -> Seen {
    match error {
        StreamError::Conn(ConnError::TimedOut) => Seen::Timeout,
        StreamError::Conn(_) | StreamError::Tls => Seen::Failure,
    }
}

/// The status of a status line (RFC 9112 §4).
pub(super) fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', digits @ ..] = rest else {
        return None;
    };
    let digits = digits
        .get(..3)
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    str::from_utf8(digits).ok()?.parse().ok()
}
