//! Whether a failed try may be made again, as a pure decision.
//!
//! RFC 9110 §9.2.2: a request that a server may have acted on is repeated only if its method is idempotent.
//! Kong's `retries` bounds how often; it never repeats because of a status.

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Tries made, this one included.
    pub tries: u32,
    /// Whether the request's head was handed to the connection.
    pub sent: bool,
    /// Whether bytes of the request's body are gone and cannot be sent again.
    pub body_consumed: bool,
    /// Whether any byte of a response came.
    pub response_began: bool,
    /// Whether the connection had served a request before and was closed: the server may have done so just before
    /// this request came. Never after a timeout, for then the server may be at work on it.
    pub reused: bool,
}

/// Whether to try again, with `retries` further tries allowed after the first.
pub const fn may_retry(progress: Progress, idempotent: bool, retries: u32) -> bool {
    if progress.tries > retries && !progress.reused {
        return false;
    }
    if progress.tries > retries + 2 || progress.body_consumed || progress.response_began {
        return false;
    }
    !progress.sent || idempotent
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Progress = Progress {
        tries: 1,
        sent: false,
        body_consumed: false,
        response_began: false,
        reused: false,
    };

    #[test]
    fn what_was_never_sent_is_tried_again() {
        assert!(may_retry(FRESH, false, 5));
        assert!(!may_retry(FRESH, false, 0));
    }

    #[test]
    fn a_sent_request_is_repeated_only_if_idempotent() {
        let sent = Progress { sent: true, ..FRESH };
        assert!(may_retry(sent, true, 5));
        assert!(!may_retry(sent, false, 5));
    }

    #[test]
    fn a_reused_connection_that_closed_is_not_the_requests_fault() {
        let sent = Progress {
            sent: true,
            reused: true,
            ..FRESH
        };
        assert!(may_retry(sent, true, 0));
        assert!(!may_retry(sent, false, 5), "the server may have acted on it");
        assert!(!may_retry(Progress { tries: 3, ..sent }, true, 0));
    }

    #[test]
    fn nothing_is_repeated_once_bytes_are_gone_either_way() {
        let sent = Progress { sent: true, ..FRESH };
        assert!(!may_retry(
            Progress {
                body_consumed: true,
                ..sent
            },
            true,
            5
        ));
        assert!(!may_retry(
            Progress {
                response_began: true,
                ..sent
            },
            true,
            5
        ));
    }
}
