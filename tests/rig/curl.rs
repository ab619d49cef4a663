//! The real `curl`, with its answer taken apart.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::program;
use crate::scratch::Scratch;
use crate::wire::{Framing, Headers, Response};

/// One `curl` call.
pub struct Curl {
    command: Command,
    scratch: Scratch,
}

impl Curl {
    /// A call of `url`. HTTP/1.1, no proxy, no configuration file, twenty seconds at most.
    ///
    /// # Errors
    /// When curl is not installed.
    pub fn new(url: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut command = Command::new(program("curl")?);
        command.args([
            "--disable",
            "--silent",
            "--show-error",
            "--http1.1",
            "--noproxy",
            "*",
            "--max-time",
            "20",
        ]);
        command.arg("--dump-header").arg(scratch.path().join("head"));
        command.arg("--output").arg(scratch.path().join("body"));
        command.arg(url);
        Ok(Self { command, scratch })
    }

    /// Adds arguments, as typed on a command line.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Adds a request header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.args(["--header", &format!("{name}: {value}")])
    }

    /// Makes it a POST of JSON.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json")
            .args(["--data-binary", &body.to_string()])
    }

    /// Runs it.
    ///
    /// # Errors
    /// When curl fails, with its message and exit code (28 is a timeout, 52 an empty answer, 56 a reset, 60 a bad
    /// certificate).
    pub fn run(mut self) -> Result<Response> {
        let output = self.command.output().context("run curl")?;
        ensure!(
            output.status.success(),
            "curl {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let file = |name: &str| -> PathBuf { self.scratch.path().join(name) };
        let heads = std::fs::read_to_string(file("head")).context("curl wrote no head")?;
        let body = std::fs::read(file("body")).unwrap_or_default();
        let mut blocks: Vec<&str> = heads
            .split("\r\n\r\n")
            .filter(|block| !block.is_empty())
            .collect();
        let last = blocks.pop().context("curl saw no response head")?;
        let interim = blocks.iter().filter_map(|block| status_of(block)).collect();
        let status = status_of(last).context("curl saw no status")?;
        let lines = last.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let headers = Headers(
            lines
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        );
        Ok(Response {
            version: last.split(' ').next().unwrap_or_default().to_owned(),
            status,
            headers,
            body,
            framing: Framing::UntilClose,
            interim,
        })
    }
}

fn status_of(block: &str) -> Option<u16> {
    block.split(' ').nth(1)?.split("\r\n").next()?.parse().ok()
}
