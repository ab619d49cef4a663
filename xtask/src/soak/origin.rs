//! Two small servers that answer every request alike, and can be killed and brought back at the same address.

#![expect(
    clippy::disallowed_types,
    reason = "an origin of a test: threads that share a list"
)]

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::{patient, read_head};

/// What every request is answered by.
pub(super) const BODY: &[u8] = b"all is well";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well";

/// Both servers.
pub(crate) struct Origins {
    addrs: [SocketAddr; 2],
    running: [Mutex<Option<Origin>>; 2],
}

impl Origins {
    pub(super) fn start() -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = [Origin::start(any)?, Origin::start(any)?];
        Ok(Self {
            addrs: [running[0].addr, running[1].addr],
            running: running.map(|it| Mutex::new(Some(it))),
        })
    }

    /// Where they are, dead or alive.
    pub(super) fn addrs(&self) -> [SocketAddr; 2] {
        self.addrs
    }

    /// Ends one of them, with all its connections.
    pub(super) fn kill(&self, number: usize) {
        drop(self.place(number).take());
    }

    /// Brings it back.
    pub(super) fn revive(&self, number: usize) -> Result<()> {
        let origin = Origin::start(self.addrs[number % 2])?;
        *self.place(number) = Some(origin);
        Ok(())
    }

    fn place(&self, number: usize) -> std::sync::MutexGuard<'_, Option<Origin>> {
        self.running[number % 2]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One server. Dropping it ends its connections.
struct Origin {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Origin {
    fn start(addr: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr).with_context(|| format!("bind {addr}"))?;
        listener.set_nonblocking(true)?;
        let origin = Self {
            addr: listener.local_addr()?,
            stop: Arc::default(),
            open: Arc::default(),
        };
        let (stop, open) = (Arc::clone(&origin.stop), Arc::clone(&origin.open));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                if let Ok(own) = stream.try_clone() {
                    open.lock().unwrap_or_else(PoisonError::into_inner).push(own);
                }
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            // Who has gone already needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The listener's thread sees it soon; until then the kernel would go on queueing.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    let mut stream = patient(stream)?;
    stream.set_read_timeout(None)?;
    loop {
        read_head(&mut stream)?;
        stream.write_all(ANSWER)?;
    }
}
