//! How an operator names a Unix-domain socket: `unix:` and the path of its file, as nginx does.
//!
//! One rule for compiler, verifier and gateway. Abstract sockets (`unix:@name`) are none: anybody may bind such a name.

/// What stands before the path.
pub const PREFIX: &str = "unix:";

/// Longest path, in bytes: `sockaddr_un` has room for 108 with the NUL behind it (`unix(7)`).
pub const PATH_BYTES: usize = 107;

/// The host that requests to such a server name when nothing else is said, and that its certificate is checked for, as in
/// nginx.
pub const HOST: &str = "localhost";

/// The path, if a host names a socket. It may still not be one that there can be; see [`check`].
pub fn path(host: &str) -> Option<&str> {
    host.strip_prefix(PREFIX)
}

/// Whether there can be a socket at this path.
///
/// # Errors
/// What is wrong, in words.
pub fn check(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        Err("the path of a Unix socket is absolute: `unix:/run/app.sock`")
    } else if path.ends_with('/') {
        Err("the path of a Unix socket ends in the name of a file")
    } else if path.len() > PATH_BYTES {
        Err("the path of a Unix socket is at most 107 bytes long")
    } else if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err("the path of a Unix socket holds no spaces and no control characters")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_socket_is_a_prefix_and_a_path() {
        assert_eq!(path("unix:/run/app.sock"), Some("/run/app.sock"));
        assert_eq!(path("unix"), None);
        assert_eq!(path("app.test"), None);
    }

    #[test]
    fn only_paths_that_the_kernel_takes_are_good() {
        let long = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        for good in ["/run/app.sock", "/a", &long(PATH_BYTES)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "run/app.sock",
            "@abstract",
            "/",
            "/run/",
            "/a\0b",
            "/a b",
            "/a\nb",
            &long(PATH_BYTES + 1),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
