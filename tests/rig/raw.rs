//! A server on raw sockets that leaves HTTP after the first head, and the reading of such a head on either side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

/// How long a read or write may take before it counts as a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each connection is served on a thread of its own, once its first head has come, and ends with that thread. The server
/// itself lives as long as the process.
pub struct Raw {
    addr: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Raw {
    /// A server whose connections are given to `serve`, with the head and what came behind it.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn start(
        serve: impl Fn(&mut TcpStream, String, Vec<u8>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let opened = Arc::new(AtomicUsize::new(0));
        let (counted, serve) = (Arc::clone(&opened), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || -> Result<()> {
                    let mut stream = patient(stream)?;
                    let (head, early) = read_head(&mut stream)?;
                    serve(&mut stream, head, early)
                });
            }
        });
        Ok(Self { addr, opened })
    }

    /// A server that answers with `head`, and then sends back what it gets until that ends.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub fn echo(head: &'static [u8]) -> Result<Self> {
        Self::start(move |stream, _head, early| {
            stream.write_all(head)?;
            stream.write_all(&early)?;
            let mut from = stream.try_clone()?;
            std::io::copy(&mut from, stream)?;
            Ok(())
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDRESS`, for a service's `url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

/// A socket on which nothing waits for ever.
///
/// # Errors
/// When it is gone.
pub fn patient(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads one head, and gives what came behind it too.
///
/// # Errors
/// When the peer closes inside it.
pub fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8(bytes)?, rest));
        }
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "closed inside a head: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..count]);
    }
}
