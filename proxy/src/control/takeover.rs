//! Hot restart: a new process asks the running one for its listening sockets, over the admin socket.
//!
//! `POST /take-over` is answered by 101 and the sockets themselves (`SCM_RIGHTS`). Both processes then hold the same
//! queues, so no connection is lost whoever ends. The new one says a line when it accepts; the old one drains then. If
//! the connection ends before that, the old one goes on as if nothing had been asked.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::limits;

const ASK: &[u8] =
    b"POST /take-over HTTP/1.1\r\nHost: admin\r\nConnection: Upgrade\r\nUpgrade: tollgate\r\n\r\n";
const READY: &str = "ready\n";
/// Sockets in one message; the kernel takes at most 253.
const BATCH: usize = 64;

/// Why nothing is handed over.
#[derive(Debug)]
pub enum TakeOverError {
    /// Nobody listens on the admin socket.
    NotRunning(io::Error),
    /// The running gateway refuses.
    Refused(String),
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for TakeOverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(error) => write!(
                f,
                "no tollgate answers there: {error}\nhelp: start without --take-over, or name the running one's socket \
                 with --admin"
            ),
            Self::Refused(answer) => write!(f, "it answered {answer}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for TakeOverError {}

/// A socket that was open before this process.
#[derive(Debug)]
pub(super) struct Passed {
    /// The socket.
    pub(super) socket: OwnedFd,
    /// Whether who opened it would remove its file.
    pub(super) with_file: bool,
}

/// The process that runs until this one does.
pub(super) struct Predecessor {
    stream: UnixStream,
    /// Its process id.
    pub(super) pid: Option<i32>,
}

impl Predecessor {
    /// Asks whoever serves this admin socket for its listening sockets.
    ///
    /// # Errors
    /// [`TakeOverError`]; it goes on as before.
    pub(super) fn ask(admin: &Path) -> Result<(Self, Vec<Passed>), TakeOverError> {
        let mut stream = UnixStream::connect(admin).map_err(TakeOverError::NotRunning)?;
        let timeout = Some(Duration::from_secs(limits::HAND_OVER_S));
        stream
            .set_read_timeout(timeout)
            .and_then(|()| stream.write_all(ASK))
            .map_err(TakeOverError::Broken)?;
        let sockets = receive(&stream)?;
        let credentials = rustix::net::sockopt::socket_peercred(&stream);
        let pid = credentials.ok().map(|peer| peer.pid.as_raw_nonzero().get());
        Ok((Self { stream, pid }, sockets))
    }

    /// Lets it go: this process accepts. False when it has gone already.
    pub(super) fn relieve(mut self) -> bool {
        self.stream.write_all(READY.as_bytes()).is_ok()
    }
}

/// Reads the answer and the sockets that come with it. Every byte is read together with what it carries.
fn receive(stream: &UnixStream) -> Result<Vec<Passed>, TakeOverError> {
    let (mut answer, mut sockets) = (Vec::new(), Vec::new());
    loop {
        if let Some(announced) = announced(&answer)?
            && sockets.len() >= announced.sockets
        {
            let each = sockets.into_iter().enumerate().map(|(number, socket)| Passed {
                socket,
                with_file: announced.files.contains(&number),
            });
            return Ok(each.collect());
        }
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(stream, slices, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = received.map_err(|error| TakeOverError::Broken(error.into()))?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        if received.bytes == 0 || answer.len() > limits::ADMIN_HEAD_BYTES {
            return Err(TakeOverError::Refused(
                String::from_utf8_lossy(&answer).trim_end().to_owned(),
            ));
        }
        answer.extend_from_slice(&bytes[..received.bytes]);
    }
}

/// What an answer hands over.
struct Handed {
    /// How many sockets.
    sockets: usize,
    /// Which of them come with their files.
    files: Vec<usize>,
}

/// What an answer announces, once its head is there. An answer that hands nothing over is read to its end.
fn announced(answer: &[u8]) -> Result<Option<Handed>, TakeOverError> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    if !head.starts_with("HTTP/1.1 101 ") {
        return Ok(None);
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let sockets = field("Sockets: ").and_then(|count| count.parse().ok());
    // A gateway that knows no Unix sockets says nothing of files.
    let files = field("Files: ").unwrap_or_default().split_ascii_whitespace();
    let files = files.filter_map(|number| number.parse().ok()).collect();
    match sockets {
        Some(sockets) => Ok(Some(Handed { sockets, files })),
        None => Err(TakeOverError::Refused(head.to_owned())),
    }
}

/// Hands sockets to who asked, those that `files` counts with their files, and waits until it accepts connections from them. False when it gave up.
///
/// # Errors
/// When the connection breaks, which changes nothing either.
pub(super) fn hand_over(stream: &UnixStream, sockets: &[impl AsFd], files: &[usize]) -> io::Result<bool> {
    let mut writer = stream;
    let files: Vec<String> = files.iter().map(ToString::to_string).collect();
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tollgate\r\nSockets: {}\r\nFiles: {}\r\n\r\n",
        sockets.len(),
        files.join(" ")
    )?;
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    for batch in sockets.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(batch));
        sendmsg(stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    stream.set_read_timeout(Some(Duration::from_secs(limits::HAND_OVER_S)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line == READY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;

    #[test]
    fn more_sockets_than_one_message_holds_arrive_in_order_and_work() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin");
        let admin = UnixListener::bind(&path).unwrap();
        let sockets: Vec<_> = (0..BATCH + 3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
        let old = std::thread::spawn(move || {
            let (stream, _) = admin.accept().unwrap();
            let mut ask = vec![0; ASK.len()];
            io::Read::read_exact(&mut &stream, &mut ask).unwrap();
            hand_over(&stream, &sockets, &[1, BATCH + 1]).unwrap()
        });
        let (predecessor, taken) = Predecessor::ask(&path).unwrap();
        assert_eq!(predecessor.pid, i32::try_from(std::process::id()).ok());
        let files: Vec<usize> = (0..taken.len()).filter(|it| taken[*it].with_file).collect();
        assert_eq!(files, [1, BATCH + 1]);
        let taken: Vec<TcpListener> = taken.into_iter().map(|it| it.socket.into()).collect();
        let same: Vec<_> = taken.iter().map(|it| it.local_addr().unwrap()).collect();
        assert_eq!(same, addresses);
        assert!(predecessor.relieve());
        assert!(old.join().unwrap(), "the old process is relieved");
        let _client = TcpStream::connect(addresses[BATCH]).unwrap();
        taken[BATCH].accept().unwrap();
    }

    #[test]
    fn who_ends_before_it_is_ready_relieves_nobody() {
        let (old, new) = UnixStream::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let old = std::thread::spawn(move || hand_over(&old, &[socket], &[]).unwrap());
        assert_eq!(receive(&new).unwrap().len(), 1);
        drop(new);
        assert!(!old.join().unwrap());
    }

    #[test]
    fn a_refusal_says_why() {
        let (old, new) = UnixStream::pair().unwrap();
        (&old)
            .write_all(b"HTTP/1.1 404 Not Found\r\n\r\nGET /status")
            .unwrap();
        drop(old);
        let error = receive(&new).expect_err("refused").to_string();
        assert!(error.contains("404 Not Found"), "{error}");
    }
}
