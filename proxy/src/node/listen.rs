//! Where connections are taken: an address, or a Unix socket with its mode and owner.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use policy::unix;
use serde::Deserialize;

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Of the network.
    Ip(SocketAddr),
    /// Of this machine.
    Unix(UnixListen),
}

/// A Unix socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListen {
    /// Its path, which [`unix::check`] passes.
    pub path: Box<str>,
    /// Permissions of its file.
    pub mode: u32,
    /// User, by name or number, that its file is given to.
    pub user: Option<Box<str>>,
    /// Group, by name or number, that its file is given to.
    pub group: Option<Box<str>>,
}

/// Who may connect when nothing is said: the file's user and group.
const MODE: u32 = 0o660;

impl Listen {
    /// Reads an address or a path, whose options follow.
    ///
    /// # Errors
    /// [`ListenError`]
    pub(super) fn open(word: &str) -> Result<Self, ListenError> {
        let Some(path) = unix::path(word) else {
            return word
                .parse()
                .map(Self::Ip)
                .map_err(|_error| ListenError::Address(word.to_owned()));
        };
        unix::check(path).map_err(ListenError::Path)?;
        Ok(Self::Unix(UnixListen {
            path: path.into(),
            mode: MODE,
            user: None,
            group: None,
        }))
    }

    /// Takes an option of a Unix socket; false when `word` is none, or this is no Unix socket.
    ///
    /// # Errors
    /// [`ListenError::Mode`]
    pub(super) fn option(&mut self, word: &str) -> Result<bool, ListenError> {
        let Self::Unix(listen) = self else {
            return Ok(false);
        };
        match word.split_once('=') {
            Some(("mode", mode)) => {
                let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o777);
                listen.mode = bits.ok_or_else(|| ListenError::Mode(mode.to_owned()))?;
            }
            Some(("user", user)) if !user.is_empty() => listen.user = Some(user.into()),
            Some(("group", group)) if !group.is_empty() => listen.group = Some(group.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(listen) => write!(f, "{}{}", unix::PREFIX, listen.path),
        }
    }
}

/// Listeners as one flag or variable names them: `0.0.0.0:80,unix:/run/http.sock,mode=0666`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listens(pub Vec<Listen>);

impl FromStr for Listens {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let mut listens: Vec<Listen> = Vec::new();
        for word in text.split(',') {
            let is_option = match listens.last_mut() {
                Some(last) => last.option(word)?,
                None => false,
            };
            if !is_option {
                listens.push(Listen::open(word)?);
            }
        }
        Ok(Self(listens))
    }
}

impl<'de> Deserialize<'de> for Listens {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Nowhere to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// Neither an address nor a Unix socket, nor one of its options.
    Address(String),
    /// No Unix socket can be there.
    Path(&'static str),
    /// No permissions.
    Mode(String),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(
                f,
                "`{text}` is neither an address such as 0.0.0.0:8000 nor a Unix socket such as unix:/run/http.sock, nor one \
                 of its options: mode=0660, user=NAME, group=NAME"
            ),
            Self::Path(words) => f.write_str(words),
            Self::Mode(text) => write!(f, "`{text}` is no mode such as 0660"),
        }
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &str, mode: u32, user: Option<&str>, group: Option<&str>) -> Listen {
        Listen::Unix(UnixListen {
            path: path.into(),
            mode,
            user: user.map(Into::into),
            group: group.map(Into::into),
        })
    }

    #[test]
    fn options_belong_to_the_socket_before_them() {
        let text = "127.0.0.1:80,unix:/run/a,mode=0666,user=web,unix:/run/b,group=33,[::1]:443";
        let expected = [
            Listen::Ip("127.0.0.1:80".parse().expect("an address")),
            unix("/run/a", 0o666, Some("web"), None),
            unix("/run/b", 0o660, None, Some("33")),
            Listen::Ip("[::1]:443".parse().expect("an address")),
        ];
        assert_eq!(text.parse(), Ok(Listens(expected.into())));
    }

    #[test]
    fn what_is_no_listener_is_refused() {
        for text in [
            "",
            "80",
            "mode=0660",
            "127.0.0.1:80,mode=0660",
            "unix:/run/a,mode=0999",
            "unix:/run/a,mode=7777",
            "unix:/run/a,user=",
            "unix:/run/a,ssl",
            "unix:a",
            "unix:",
        ] {
            assert!(text.parse::<Listens>().is_err(), "{text}");
        }
    }
}
