//! What a scripted peer does in answer to one request: bytes, pauses and ways to end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One act of a scripted peer.
#[derive(Clone)]
pub enum Step {
    /// Sends bytes in one write.
    Send(Vec<u8>),
    /// Waits; the script ends early when the gateway closes meanwhile.
    Pause(Duration),
    /// Closes with FIN.
    Fin,
    /// Closes with RST.
    Reset,
    /// Says nothing more until the gateway closes.
    Hold,
    /// Runs code on the way, such as a mock provider's bill.
    Then(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "Send(b\"{}\")", bytes.escape_ascii()),
            Self::Pause(time) => write!(f, "Pause({time:?})"),
            Self::Fin => f.write_str("Fin"),
            Self::Reset => f.write_str("Reset"),
            Self::Hold => f.write_str("Hold"),
            Self::Then(_) => f.write_str("Then"),
        }
    }
}

/// The steps for one request, in order. When they are done and none of them closed, the peer reads the next request.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Script {
    /// A response with a `Content-Length`.
    #[must_use]
    pub fn respond(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        Self::raw(bytes)
    }

    /// Bytes exactly as given.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            steps: vec![Step::Send(bytes.into())],
        }
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step at the start.
    #[must_use]
    pub fn after(mut self, step: Step) -> Self {
        self.steps.insert(0, step);
        self
    }

    /// Cuts every write into pieces of at most `size` bytes, with `pause` between them.
    #[must_use]
    pub fn split_every(self, size: usize, pause: Duration) -> Self {
        let mut steps = Vec::new();
        for step in self.steps {
            let Step::Send(bytes) = step else {
                steps.push(step);
                continue;
            };
            for piece in bytes.chunks(size.max(1)) {
                steps.push(Step::Send(piece.to_vec()));
                if !pause.is_zero() {
                    steps.push(Step::Pause(pause));
                }
            }
        }
        Self { steps }
    }
}

/// The reason phrase of the statuses that scripts use.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}
