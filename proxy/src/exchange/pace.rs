//! How long a client's body is waited for: so long for each piece, and in all as long as what came has earned.
//!
//! Only the time counts in which the client is waited for: that an upstream takes nothing is not its client's fault. What
//! is sent as gRPC may pause for as long as it likes, within what each piece has: its messages come when there are some.

use std::cell::Cell;
use std::time::Duration;

use crate::settable::{self, Limit};
use crate::worker::clock;
use crate::worker::clock::Moment;

/// What a client's body has taken so far.
#[derive(Debug, Default)]
pub struct Pace {
    waited: Cell<Duration>,
    bytes: Cell<u64>,
    /// Whether its messages come when there are some.
    free: bool,
}

impl Pace {
    /// For a body of this type.
    pub(super) fn of(content_type: Option<&[u8]>) -> Self {
        let is_grpc = content_type.is_some_and(|it| it.starts_with(b"application/grpc"));
        Self {
            free: is_grpc,
            ..Self::default()
        }
    }

    /// How long the next piece may take, and the limit that is reached then.
    pub(super) fn within(&self) -> (Duration, Limit) {
        let (piece, rate) = (settable::client_body_s(), settable::client_body_bytes_per_s());
        let earned = self.bytes.get().checked_div(rate).filter(|_| !self.free);
        let left = earned.map(|earned| {
            (settable::client_body_grace_s() + Duration::from_secs(earned)).saturating_sub(self.waited.get())
        });
        match left {
            Some(left) if left < piece => (left, Limit::ClientBodyBytesPerS),
            _ => (piece, Limit::ClientBodyS),
        }
    }

    /// It was waited for since then.
    pub(super) fn waited(&self, since: Moment) {
        self.waited.set(self.waited.get() + (clock::now() - since));
    }

    /// So much of it came.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(waited_s: u64, bytes: usize) -> (Duration, Limit) {
        let pace = Pace::of(None);
        pace.waited.set(Duration::from_secs(waited_s));
        pace.came(bytes);
        pace.within()
    }

    #[test]
    fn what_came_earns_time_and_waiting_costs_it() {
        let (s, rate) = (Duration::from_secs, Limit::ClientBodyBytesPerS);
        assert_eq!(after(0, 0), (s(10), rate));
        assert_eq!(after(9, 0), (s(1), rate));
        assert_eq!(after(9, 240 * 5), (s(6), rate));
        assert_eq!(after(900, 240), (s(0), rate));
        assert_eq!(after(9, 1 << 20), (s(60), Limit::ClientBodyS));
    }

    #[test]
    fn what_is_sent_as_grpc_may_pause() {
        let pace = Pace::of(Some(b"application/grpc+proto"));
        pace.waited.set(Duration::from_secs(900));
        assert_eq!(pace.within(), (Duration::from_secs(60), Limit::ClientBodyS));
    }
}
