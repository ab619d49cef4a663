//! A client of the gateway's admin socket: HTTP/1.1 over a Unix socket, one connection per call.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wire::{Body, Framing, Reader, Response};

/// The admin socket of one gateway.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_path_buf(),
        }
    }

    /// `GET /status`: epoch, artifact digest, workers.
    ///
    /// # Errors
    /// When the gateway does not answer 200 with JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        let response = self.call("GET", "/status")?;
        ensure!(
            response.status == 200,
            "status answered {}: {}",
            response.status,
            response.text()
        );
        serde_json::from_slice(&response.body).context("status body")
    }

    /// The epoch of the policy in force.
    ///
    /// # Errors
    /// As [`Admin::status`]; and when the answer has no epoch.
    pub fn epoch(&self) -> Result<u64> {
        self.status()?["epoch"].as_u64().context("status has no epoch")
    }

    /// `GET /metrics`: the Prometheus text exposition.
    ///
    /// # Errors
    /// When the gateway does not answer 200.
    pub fn metrics(&self) -> Result<String> {
        let response = self.call("GET", "/metrics")?;
        ensure!(response.status == 200, "metrics answered {}", response.status);
        Ok(response.text())
    }

    /// The sum of a metric's samples whose labels contain every one of `labels`, written `name="value"`.
    ///
    /// # Errors
    /// As [`Admin::metrics`].
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.metrics()?;
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
                (metric == name && labels.iter().all(|label| rest.contains(label)))
                    .then(|| value.parse::<f64>().ok())?
            });
        Ok(samples.sum())
    }

    /// `POST /reload`: reads the policy file again. The answer says whether it was accepted.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn reload(&self) -> Result<Response> {
        self.call("POST", "/reload")
    }

    /// `POST /drain`: stop accepting, finish what runs, end.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub fn drain(&self) -> Result<Response> {
        self.call("POST", "/drain")
    }

    /// One call.
    ///
    /// # Errors
    /// When the gateway does not answer, or not by RFC 9112.
    pub fn call(&self, method: &str, path: &str) -> Result<Response> {
        let mut stream =
            UnixStream::connect(&self.socket).with_context(|| self.socket.display().to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut reader = Reader::new(stream);
        let head = reader
            .head()?
            .context("the admin socket closed without an answer")?;
        let status = head
            .word(1)
            .parse()
            .with_context(|| format!("status line {:?}", head.start_line))?;
        let framing = Framing::of_response(method, status, &head.headers)?;
        let body = reader.rest(&mut Body::new(framing))?;
        Ok(Response {
            version: head.word(0).to_owned(),
            status,
            headers: head.headers,
            body,
            framing,
            interim: Vec::new(),
        })
    }
}
