//! A Python program of `tests/clients`, run in a clean environment: a task as a line of JSON in, its outcome as one out.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::Process;
use crate::scratch::{Scratch, target_dir};

/// A running program, with the packages that `cargo xtask test` installs below `target/venv`. Dropping it kills it.
pub(crate) struct Python {
    process: Process,
    /// What to ask through, and what the answers come from.
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    /// An empty home, so that nobody's profile takes part.
    _home: Scratch,
}

impl Python {
    /// Starts `tests/clients/SCRIPT`.
    ///
    /// # Errors
    /// When the packages are not installed.
    pub(crate) fn start(script: &str) -> Result<Self> {
        let python = std::env::var_os("TOLLGATE_TEST_PYTHON").map_or_else(default_python, PathBuf::from);
        ensure!(
            python.exists(),
            "no {}; `cargo xtask test` installs what Python needs",
            python.display()
        );
        let home = Scratch::new()?;
        let mut command = Process::command(&python);
        command
            .arg("-I")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script))
            .env_clear()
            .env("HOME", home.path())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("OTEL_SDK_DISABLED", "true")
            .stdout(Stdio::piped());
        let mut process = Process::start_piped(command, &home.path().join("errors"))?;
        let stdin = process.stdin().context("Python's input is not piped")?;
        let stdout = process.stdout().context("Python's output is not piped")?;
        Ok(Self {
            process,
            pipes: RefCell::new((stdin, BufReader::new(stdout))),
            _home: home,
        })
    }

    /// Gives it a task and reads the outcome.
    ///
    /// # Errors
    /// When it ended instead, with what it printed.
    pub(crate) fn ask(&self, task: &Value) -> Result<Value> {
        let mut line = String::new();
        let (stdin, stdout) = &mut *self.pipes.borrow_mut();
        let asked = writeln!(stdin, "{task}").and_then(|()| stdout.read_line(&mut line));
        asked.with_context(|| self.process.log())?;
        ensure!(!line.is_empty(), "the program ended:\n{}", self.process.log());
        serde_json::from_str(&line).with_context(|| format!("the program printed {line:?}"))
    }
}

fn default_python() -> PathBuf {
    target_dir().join("venv/openai/bin/python")
}
