//! An HTTP/2 client, or server, that sends exactly the frames it is given, and takes apart what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a read or write may take before it counts as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// One frame (RFC 9113 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.to_vec(),
        }
    }

    /// HEADERS of a request for a path, whole; with `end` no body follows.
    #[must_use]
    pub fn request(stream: u32, method: &str, path: &str, end: bool) -> Self {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", method),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
        ] {
            block.extend(Self::field(name, value));
        }
        Self::new(1, if end { 5 } else { 4 }, stream, &block)
    }

    /// A header field as it stands in a block: literal, in no table, with texts of up to 16 KiB.
    #[must_use]
    pub fn field(name: &str, value: &str) -> Vec<u8> {
        let mut block = vec![0];
        for text in [name, value] {
            match text.len().checked_sub(0x7f) {
                None => block.push(text.len().to_le_bytes()[0]),
                Some(rest) => {
                    let [low, high] = [rest & 0x7f | 0x80, rest >> 7].map(|part| part.to_le_bytes()[0]);
                    block.extend([0x7f, low, high]);
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
        block
    }

    /// With another header block behind its own.
    #[must_use]
    pub fn and(mut self, block: &[u8]) -> Self {
        self.payload.extend_from_slice(block);
        self
    }

    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let [_, l0, l1, l2] = u32::try_from(self.payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let mut bytes = vec![l0, l1, l2, self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of RST_STREAM or GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            3 => 0,
            7 => 4,
            _ => return None,
        };
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// What a client sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One connection with prior knowledge of HTTP/2.
pub struct Frames {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Frames {
    /// Connects and begins with the preface and empty SETTINGS.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(addr: SocketAddr) -> Result<Self> {
        let mut frames = Self::silent(addr)?;
        frames.send(PREFACE)?;
        frames.send(&Frame::new(4, 0, 0, &[]).bytes())?;
        Ok(frames)
    }

    /// Connects and says nothing.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn silent(addr: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&addr, PATIENCE).with_context(|| format!("connect to {addr}"))?;
        Self::on(stream)
    }

    /// Takes the next connection of a listener and answers its preface with SETTINGS of this payload.
    ///
    /// # Errors
    /// When none comes, or does not begin as HTTP/2.
    pub fn accept(listener: &TcpListener, settings: &[u8]) -> Result<Self> {
        let mut frames = Self::accept_silent(listener)?;
        frames.push(&[Frame::new(4, 0, 0, settings)])?;
        Ok(frames)
    }

    /// Takes the next connection of a listener and reads its preface, and says nothing yet.
    ///
    /// # Errors
    /// When none comes, or does not begin as HTTP/2.
    pub fn accept_silent(listener: &TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let latest = Instant::now() + PATIENCE;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < latest => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error).context("accept"),
            }
        };
        stream.set_nonblocking(false)?;
        let mut frames = Self::on(stream)?;
        let mut preface = [0; PREFACE.len()];
        frames.stream.read_exact(&mut preface).context("the preface")?;
        ensure!(preface == *PREFACE, "no preface: {}", preface.escape_ascii());
        Ok(frames)
    }

    fn on(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer has closed.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send")
    }

    /// Sends frames in one write.
    ///
    /// # Errors
    /// When the peer has closed.
    pub fn push(&mut self, frames: &[Frame]) -> Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send(&bytes)
    }

    /// The next frame; `None` when the peer has closed.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn frame(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            let mut piece = [0; 16_384];
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(count) => self.received.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => bail!("no frame: {error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *self.received.first_chunk()?;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            payload,
        })
    }

    /// The next frame for which `wanted` is true; `None` when the peer closes before it.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn find(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Result<Option<Frame>> {
        while let Some(frame) = self.frame()? {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The code of the GOAWAY that ends the connection; `None` when it closes without.
    ///
    /// # Errors
    /// When it stays open.
    pub fn farewell(&mut self) -> Result<Option<u32>> {
        let last = self.find(|frame| frame.kind == 7)?;
        Ok(last.and_then(|frame| frame.code()))
    }
}
