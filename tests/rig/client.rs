//! A client that sends exactly the bytes it is given.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wire::{Body, Framing, Head, Reader, Response};

/// How long a read or write may take before it counts as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to the gateway.
pub struct Client {
    reader: Reader<TcpStream>,
    addr: SocketAddr,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(addr: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&addr, PATIENCE).with_context(|| format!("connect to {addr}"))?;
        Self::on(stream)
    }

    /// On a connection that is there.
    ///
    /// # Errors
    /// When it is gone.
    pub fn on(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let addr = stream.peer_addr()?;
        Ok(Self {
            reader: Reader::new(stream),
            addr,
        })
    }

    /// Sends one request on a new connection and reads the whole answer.
    ///
    /// # Errors
    /// When the exchange fails or the answer breaks RFC 9112.
    pub fn fetch(
        addr: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        Self::connect(addr)?.ask(method, target, headers, body)
    }

    /// `GET` on a new connection.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn get(addr: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Response> {
        Self::fetch(addr, "GET", target, headers, b"")
    }

    /// `POST` of JSON on a new connection.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn post_json(
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> Result<Response> {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        Self::fetch(addr, "POST", target, &all, body.to_string().as_bytes())
    }

    /// Sends a well-formed request on this connection and reads the whole answer.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        self.send(&self.request(method, target, headers, body))?;
        self.response(method)
    }

    /// The bytes of a well-formed request: a `Host` unless `headers` has one, a `Content-Length` when there is a body.
    #[must_use]
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        let mut line =
            |name: &str, value: &str| bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        if !given("host") {
            line("Host", &self.addr.to_string());
        }
        headers.iter().for_each(|(name, value)| line(name, value));
        if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
            line("Content-Length", &body.len().to_string());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer is gone or does not read for ten seconds.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.stream.write_all(bytes).context("send")
    }

    /// Reads the final response to a `method` request, its body included.
    ///
    /// # Errors
    /// When the answer breaks RFC 9112 or does not come within ten seconds.
    pub fn response(&mut self, method: &str) -> Result<Response> {
        let mut interim = Vec::new();
        loop {
            let (status, head) = self.head()?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let framing = Framing::of_response(method, status, &head.headers)?;
            let body = self.reader.rest(&mut Body::new(framing))?;
            return Ok(Response {
                version: head.word(0).to_owned(),
                status,
                headers: head.headers,
                body,
                framing,
                interim,
            });
        }
    }

    /// Sends a well-formed request and reads only the head of the answer; the body is then read piece by piece.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn stream(
        mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Stream> {
        self.send(&self.request(method, target, headers, body))?;
        let (status, head) = self.head()?;
        let framing = Framing::of_response(method, status, &head.headers)?;
        Ok(Stream {
            client: self,
            status,
            head,
            body: Body::new(framing),
        })
    }

    /// Asserts that the peer closes the connection and sends nothing more. A reset counts as closed.
    ///
    /// # Errors
    /// When bytes come, or the connection stays open for ten seconds.
    pub fn expect_close(&mut self) -> Result<()> {
        ensure!(self.reader.unread().is_empty(), "unread bytes before the close");
        match self.reader.stream.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("bytes instead of a close"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error).context("expected a close"),
        }
    }

    /// Reads everything until the peer closes.
    ///
    /// # Errors
    /// When the connection stays open for ten seconds.
    pub fn read_to_close(&mut self) -> Result<Vec<u8>> {
        self.reader.until_close()
    }

    /// Closes the sending direction only.
    ///
    /// # Errors
    /// When the connection is already gone.
    pub fn half_close(&mut self) -> Result<()> {
        Ok(self.reader.stream.shutdown(Shutdown::Write)?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.reader.stream.local_addr()?)
    }

    fn head(&mut self) -> Result<(u16, Head)> {
        let head = self.reader.head()?.context("closed before a response")?;
        ensure!(
            matches!(head.word(0), "HTTP/1.1" | "HTTP/1.0"),
            "status line {:?}",
            head.start_line
        );
        let code = head.word(1);
        ensure!(code.len() == 3, "status line {:?}", head.start_line);
        Ok((
            code.parse()
                .with_context(|| format!("status line {:?}", head.start_line))?,
            head,
        ))
    }
}

/// A response whose body is still coming.
pub struct Stream {
    client: Client,
    /// The status code.
    pub status: u16,
    /// The response head.
    pub head: Head,
    body: Body,
}

impl Stream {
    /// The next piece of the body as it arrived; `None` at its proper end.
    ///
    /// # Errors
    /// When the body is cut short, or nothing comes for ten seconds.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        self.client.reader.piece(&mut self.body)
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// As [`Stream::piece`].
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        self.client.reader.rest(&mut self.body)
    }
}
