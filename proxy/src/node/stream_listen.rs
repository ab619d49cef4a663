//! Kong's `stream_listen`: an address, and whether connections to it begin with TLS.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

/// A listener for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamListen {
    /// Where.
    pub address: SocketAddr,
    /// Whether connections begin with TLS (`ssl`).
    pub secure: bool,
}

/// Neither an address nor one with `ssl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamListenError;

impl fmt::Display for StreamListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address such as 0.0.0.0:6379, with ` ssl` or `,ssl` behind it for TLS")
    }
}

impl std::error::Error for StreamListenError {}

impl FromStr for StreamListen {
    type Err = StreamListenError;

    fn from_str(text: &str) -> Result<Self, StreamListenError> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let address = words.next().and_then(|word| word.parse().ok());
        let secure = match (words.next(), words.next()) {
            (None, _) => false,
            (Some("ssl"), None) => true,
            _ => return Err(StreamListenError),
        };
        let address = address.ok_or(StreamListenError)?;
        Ok(Self { address, secure })
    }
}

impl<'de> Deserialize<'de> for StreamListen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_address_and_perhaps_ssl() {
        let of = |text: &str| text.parse::<StreamListen>();
        let address = "127.0.0.1:6379".parse().expect("an address");
        for (text, secure) in [
            ("127.0.0.1:6379", false),
            ("127.0.0.1:6379,ssl", true),
            ("127.0.0.1:6379 ssl", true),
        ] {
            assert_eq!(of(text), Ok(StreamListen { address, secure }), "{text}");
        }
        for text in [
            "",
            "ssl",
            "127.0.0.1",
            "127.0.0.1:6379 udp",
            "127.0.0.1:6379 ssl ssl",
        ] {
            assert_eq!(of(text), Err(StreamListenError), "{text}");
        }
    }
}
