//! What opens a WebSocket, for routes that take nothing else.

use super::Request;

/// What every client that opens a WebSocket sends.
pub(super) const OPENING: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

impl Request {
    /// Whether it opens a WebSocket (RFC 6455 §4.1).
    ///
    /// # Errors
    /// The gateway's answer on a route for WebSockets alone: status and message.
    pub fn opens_websocket(&self) -> Result<(), (u32, &'static str)> {
        let once = |name| {
            let mut values = self.values(name);
            values.next().filter(|_| values.next().is_none())
        };
        let names_upgrade = self
            .values("connection")
            .flat_map(|value| value.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
        let is_one = names_upgrade && once("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
        if !is_one || self.method != "GET" || self.body.is_some() {
            return Err((426, "Please use WebSocket protocol"));
        }
        if once("sec-websocket-version") != Some("13") {
            return Err((400, "Sec-WebSocket-Version is not 13"));
        }
        if once("sec-websocket-key").is_none_or(str::is_empty) {
            return Err((400, "Sec-WebSocket-Key is missing"));
        }
        Ok(())
    }
}
