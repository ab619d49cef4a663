//! Kong's `stream_listen`: where connections are taken, and whether they begin with TLS.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::listen::{Listen, ListenError};

/// A listener for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamListen {
    /// Where.
    pub at: Listen,
    /// Whether connections begin with TLS (`ssl`).
    pub secure: bool,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamListenError {
    /// Nowhere to listen.
    At(ListenError),
    /// More than that, `ssl`, and options of a Unix socket.
    Word(String),
    /// A Unix socket without `ssl`.
    Plain,
}

impl fmt::Display for StreamListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(error) => error.fmt(f),
            Self::Plain => f.write_str(
                "a connection to a Unix socket has neither address nor port, and without TLS no server name: no route could \
                 be chosen for it; add `,ssl`",
            ),
            Self::Word(word) => write!(
                f,
                "`{word}` is not what may follow an address: expected 0.0.0.0:6379, with ` ssl` or `,ssl` behind it for \
                 TLS, or unix:/run/redis.sock,ssl"
            ),
        }
    }
}

impl std::error::Error for StreamListenError {}

impl FromStr for StreamListen {
    type Err = StreamListenError;

    fn from_str(text: &str) -> Result<Self, StreamListenError> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let mut at = Listen::open(words.next().unwrap_or_default()).map_err(StreamListenError::At)?;
        let mut secure = false;
        for word in words {
            if at.option(word).map_err(StreamListenError::At)? {
                continue;
            }
            if secure || word != "ssl" {
                return Err(StreamListenError::Word(word.to_owned()));
            }
            secure = true;
        }
        match at {
            Listen::Unix(_) if !secure => Err(StreamListenError::Plain),
            Listen::Unix(_) | Listen::Ip(_) => Ok(Self { at, secure }),
        }
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
    use super::super::listen::UnixListen;
    use super::*;

    #[test]
    fn a_listener_is_an_address_and_perhaps_ssl() {
        let of = |text: &str| text.parse::<StreamListen>();
        let at = Listen::Ip("127.0.0.1:6379".parse().expect("an address"));
        for (text, secure) in [
            ("127.0.0.1:6379", false),
            ("127.0.0.1:6379,ssl", true),
            ("127.0.0.1:6379 ssl", true),
        ] {
            let expected = StreamListen {
                at: at.clone(),
                secure,
            };
            assert_eq!(of(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "ssl",
            "127.0.0.1",
            "127.0.0.1:6379 udp",
            "127.0.0.1:6379 ssl ssl",
            "127.0.0.1:6379,mode=0660",
            "unix:/run/redis.sock",
            "unix:/run/redis.sock,mode=0660",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_unix_socket_may_have_options_and_ssl_in_any_order() {
        let at = Listen::Unix(UnixListen {
            path: "/run/redis.sock".into(),
            mode: 0o666,
            user: None,
            group: None,
        });
        for text in [
            "unix:/run/redis.sock,ssl,mode=0666",
            "unix:/run/redis.sock mode=0666 ssl",
        ] {
            let expected = StreamListen {
                at: at.clone(),
                secure: true,
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }
}
