//! The file of a Unix socket that is listened on: made way for, given to its owner, and removed when nobody listens any more.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::confine::identity;
use crate::node::UnixListen;

/// Whose business it is to remove the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This process's.
    Ours,
    /// This process's, once it has taken over.
    OursNext,
    /// Another's: a service manager's, or that of the process that took over.
    Anothers,
}

/// The file. Dropping it removes it, if that is this process's business and another has not put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
    whose: Whose,
}

impl SocketFile {
    /// The file of a socket that was just bound, with the mode and the owner that it is to have.
    ///
    /// # Errors
    /// When it cannot have them.
    pub(super) fn of(listen: &UnixListen) -> io::Result<Self> {
        let file = Self::at(Path::new(&*listen.path), Whose::Ours);
        let owner = |name: &Option<Box<str>>, find: fn(&str) -> Result<u32, identity::IdentityError>| {
            let found = name.as_deref().map(find).transpose();
            found.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))
        };
        let (user, group) = (
            owner(&listen.user, identity::user_number)?,
            owner(&listen.group, identity::group_number)?,
        );
        fs::set_permissions(&file.path, Permissions::from_mode(listen.mode))?;
        if user.is_some() || group.is_some() {
            chown(&file.path, user, group)?;
        }
        Ok(file)
    }

    /// The file that is at a path.
    pub(super) fn at(path: &Path, whose: Whose) -> Self {
        Self {
            path: path.to_owned(),
            identity: identity_of(path),
            whose,
        }
    }

    /// Whether it goes with this process, or with the one that takes over from it.
    pub(super) fn is_ours(&self) -> bool {
        self.whose == Whose::Ours
    }

    /// This process has taken over.
    pub(super) fn adopt(&mut self) {
        if self.whose == Whose::OursNext {
            self.whose = Whose::Ours;
        }
    }

    /// Another process has taken over.
    pub(super) const fn leave(&mut self) {
        self.whose = Whose::Anothers;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() && self.identity.is_some() && identity_of(&self.path) == self.identity {
            // Who may not remove it leaves it to the next gateway, which finds that nobody listens.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Removes the socket that a dead process left at a path.
///
/// # Errors
/// When somebody listens there, or something else is there.
pub(super) fn make_way(path: &str) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text = "there is a file that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    let probe = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // It is gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // One whose queue is full is listened on, too.
        Ok(()) => Err(taken()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(taken()),
        Err(error) => Err(error),
    }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn listen(path: &Path) -> UnixListen {
        UnixListen {
            path: path.to_str().unwrap().into(),
            mode: 0o622,
            user: None,
            group: None,
        }
    }

    #[test]
    fn only_what_nobody_listens_on_makes_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let text = path.to_str().unwrap();
        make_way(text).unwrap();
        let living = UnixListener::bind(&path).unwrap();
        assert_eq!(make_way(text).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(living);
        make_way(text).unwrap();
        assert!(!path.exists());
        fs::write(&path, "a policy").unwrap();
        assert_eq!(make_way(text).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"a policy");
    }

    #[test]
    fn a_file_goes_with_its_owner_unless_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let _first = UnixListener::bind(&path).unwrap();
        let file = SocketFile::of(&listen(&path)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o622);
        drop(file);
        assert!(!path.exists());

        let _second = UnixListener::bind(&path).unwrap();
        let replaced = SocketFile::of(&listen(&path)).unwrap();
        let aside = directory.path().join("aside");
        let _third = UnixListener::bind(&aside).unwrap();
        fs::rename(&aside, &path).unwrap();
        drop(replaced);
        assert!(path.exists(), "another process has put its own there");

        let mut left = SocketFile::of(&listen(&path)).unwrap();
        left.leave();
        drop(left);
        drop(SocketFile::at(&path, Whose::OursNext));
        assert!(path.exists());
        let mut adopted = SocketFile::at(&path, Whose::OursNext);
        adopted.adopt();
        drop(adopted);
        assert!(!path.exists());
    }

    #[test]
    fn an_owner_that_there_is_not_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut listen = listen(&path);
        listen.group = Some("nobody-is-called-this".into());
        let error = SocketFile::of(&listen).unwrap_err();
        assert!(error.to_string().contains("nobody-is-called-this"), "{error}");
    }
}
