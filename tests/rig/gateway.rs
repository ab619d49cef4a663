//! The built `tollgate`, governed by a decK file that the built `tollc` compiled.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::admin::Admin;
use crate::process::Process;
use crate::scratch::Scratch;

/// How long the gateway may take to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// Which I/O driver the gateway is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring; a kernel that refuses it fails the test rather than falling back.
    Uring,
    /// epoll.
    Epoll,
    /// What the gateway itself chooses.
    Auto,
}

impl Driver {
    /// The driver this test run is about: `TOLLGATE_TEST_DRIVER` is `uring` (also when unset) or `epoll`.
    ///
    /// # Panics
    /// On any other value, so that a typing error does not test the wrong driver twice.
    #[must_use]
    pub fn under_test() -> Self {
        match std::env::var("TOLLGATE_TEST_DRIVER").as_deref() {
            Ok("uring") | Err(_) => Self::Uring,
            Ok("epoll") => Self::Epoll,
            Ok(other) => panic!("TOLLGATE_TEST_DRIVER is {other:?}, not uring or epoll"),
        }
    }

    /// The value of `--driver`.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Auto => "auto",
        }
    }
}

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    policy: String,
    env: Vec<(String, String)>,
    compiler_flags: Vec<String>,
    flags: Vec<String>,
    workers: usize,
    tls: bool,
    metrics: bool,
    uncompiled: bool,
    passed: Option<Arc<OwnedFd>>,
    listen: String,
    quiet: bool,
    driver: Option<Driver>,
    programs: Option<PathBuf>,
}

impl GatewayBuilder {
    /// Sets an environment variable of both compiler and gateway.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a flag of `tollc compile`.
    #[must_use]
    pub fn compiler_flag(mut self, flag: &str) -> Self {
        self.compiler_flags.push(flag.to_owned());
        self
    }

    /// Adds a flag of `tollgate run`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Sets the number of workers; 2 unless said.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Adds a TLS listener.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Adds a metrics listener.
    #[must_use]
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Gives the gateway the decK file, which it compiles itself.
    #[must_use]
    pub fn uncompiled(mut self) -> Self {
        self.uncompiled = true;
        self
    }

    /// Passes a listening socket to the gateway, as systemd does for a socket unit, in place of one of its own.
    ///
    /// # Panics
    /// When it is not bound.
    #[must_use]
    pub fn passed(mut self, listener: TcpListener) -> Self {
        self.listen = listener.local_addr().expect("it is bound").to_string();
        self.passed = Some(Arc::new(listener.into()));
        self
    }

    /// Passes a Unix socket, which a flag must name too.
    #[must_use]
    pub fn passed_unix(mut self, listener: UnixListener) -> Self {
        self.passed = Some(Arc::new(listener.into()));
        self
    }

    /// Keeps the gateway's log to itself when it stops. Otherwise it goes to standard error, which test harnesses
    /// show for failed tests only.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Sets the driver; the one under test unless said.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = Some(driver);
        self
    }

    /// Takes the programs from a directory instead of the test's own build.
    #[must_use]
    pub fn programs(mut self, dir: &Path) -> Self {
        self.programs = Some(dir.to_path_buf());
        self
    }

    /// Compiles the policy without starting anything.
    ///
    /// # Errors
    /// When the compiler refuses it; the error is what the compiler printed.
    pub fn compile(&self, scratch: &Scratch) -> Result<PathBuf> {
        let source = scratch.write("kong.yaml", &self.policy)?;
        let artifact = scratch.path().join("policy.toll");
        let mut command = Command::new(self.program("tollc", "TOLLC_BIN")?);
        command
            .arg("compile")
            .arg("-o")
            .arg(&artifact)
            .args(&self.compiler_flags)
            .arg(&source);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = command.output().context("run tollc")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "tollc compile: {}\n{}{}\npolicy:\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            self.policy
        );
        Ok(artifact)
    }

    /// Compiles the policy, starts the gateway on free ports and waits until it is ready.
    ///
    /// # Errors
    /// When the policy is refused or the gateway does not become ready; with everything either printed.
    pub fn start(self) -> Result<Gateway> {
        let scratch = Scratch::new()?;
        self.compile(&scratch)?;
        self.start_in(scratch)
    }

    /// Starts the gateway where its policy has been compiled.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_in(self, scratch: Scratch) -> Result<Gateway> {
        let mut addresses = vec!["--listen".to_owned(), self.listen.clone()];
        if self.tls {
            addresses.extend(["--listen-tls".to_owned(), "127.0.0.1:0".to_owned()]);
        }
        if self.metrics {
            addresses.extend(["--metrics-listen".to_owned(), "127.0.0.1:0".to_owned()]);
        }
        self.run(Arc::new(scratch), 0, &addresses)
    }

    /// Starts `tollgate run` on the policy that lies in `scratch`, the process `number` of those that do.
    fn run(self, scratch: Arc<Scratch>, number: usize, addresses: &[String]) -> Result<Gateway> {
        let admin = scratch.path().join("admin");
        let program = self.program("tollgate", "TOLLGATE_BIN")?;
        let mut command = match &self.passed {
            None => Process::command(&program),
            // What systemd does: the socket is descriptor 3, and the variables name the process that is meant.
            Some(_) => {
                let mut command = Process::command("sh");
                command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0"]);
                command.arg(&program);
                command
            }
        };
        let policy = if self.uncompiled {
            "kong.yaml"
        } else {
            "policy.toll"
        };
        command.arg("run").arg(scratch.path().join(policy));
        command.args(addresses);
        // A machine that is busy makes workers late, which is no test's affair but of those that say so.
        if !self.flags.iter().any(|flag| flag == "--shed-after") {
            command.args(["--shed-after", "0"]);
        }
        command.args(["--workers", &self.workers.to_string()]);
        let driver = self.driver.unwrap_or_else(Driver::under_test);
        command
            .args(["--driver", driver.flag()])
            .arg("--admin")
            .arg(&admin)
            .args(&self.flags)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped());
        let log = match number {
            0 => "tollgate.log".to_owned(),
            number => format!("tollgate-{number}.log"),
        };
        let log = scratch.path().join(log);
        let mut process = match &self.passed {
            Some(listener) => Process::start_on(command, listener.try_clone()?, &log)?,
            None => Process::start(command, &log)?,
        };
        let ready = wait_ready(&mut process)?;
        let address = |key: &str| -> Option<SocketAddr> { ready[key][0].as_str()?.parse().ok() };
        let addr = address("listen").with_context(|| format!("no address in {ready}"))?;
        let tls_addr = address("listen_tls");
        Ok(Gateway {
            addr,
            tls_addr,
            admin: Admin::new(&admin),
            ready,
            process,
            scratch,
            number,
            settings: self,
        })
    }

    fn program(&self, name: &str, variable: &str) -> Result<PathBuf> {
        let given = std::env::var_os(variable).map(PathBuf::from);
        let path = match (&self.programs, given) {
            (Some(dir), _) => dir.join(name),
            (None, Some(path)) => path,
            (None, None) => beside_this_test(name).with_context(|| format!("find {name}"))?,
        };
        ensure!(
            path.exists(),
            "no {}: build it, set {variable}, or run `cargo xtask test`",
            path.display()
        );
        Ok(path)
    }
}

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    admin: Admin,
    ready: Value,
    process: Process,
    scratch: Arc<Scratch>,
    number: usize,
    settings: GatewayBuilder,
}

impl Gateway {
    /// A gateway to be governed by the text of a decK file.
    #[must_use]
    pub fn builder(policy: impl Into<String>) -> GatewayBuilder {
        GatewayBuilder {
            policy: policy.into(),
            env: Vec::new(),
            compiler_flags: Vec::new(),
            flags: Vec::new(),
            workers: 2,
            tls: false,
            metrics: false,
            uncompiled: false,
            passed: None,
            listen: "127.0.0.1:0".to_owned(),
            quiet: false,
            driver: None,
            programs: None,
        }
    }

    /// A gateway with two workers and a plain-text listener, governed by the text of a decK file.
    ///
    /// # Errors
    /// As [`GatewayBuilder::start`].
    pub fn start(policy: impl Into<String>) -> Result<Self> {
        Self::builder(policy).start()
    }

    /// Where it listens in plain text.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens with TLS.
    ///
    /// # Panics
    /// When it was started without [`GatewayBuilder::tls`].
    #[must_use]
    pub fn tls_addr(&self) -> SocketAddr {
        self.tls_addr
            .expect("the gateway was started without a TLS listener")
    }

    /// A URL of the plain-text listener.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Its admin socket.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The line it printed when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Where its listener number `number` for connections is.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn stream_addr(&self, number: usize) -> SocketAddr {
        let address = self.ready["stream_listen"][number].as_str();
        let address = address.and_then(|address| address.parse().ok());
        address.expect("the gateway was started with so many `--stream-listen`")
    }

    /// Its directory, which holds the policy file and whatever the policy writes there.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The policy file it watches.
    #[must_use]
    pub fn artifact(&self) -> PathBuf {
        self.scratch.path().join("policy.toll")
    }

    /// Compiles another policy and puts it in the place of the current one by renaming, as a deployment would.
    ///
    /// # Errors
    /// When the compiler refuses it.
    pub fn replace_policy(&mut self, policy: impl Into<String>) -> Result<()> {
        self.settings.policy = policy.into();
        let aside = Scratch::new()?;
        let fresh = self.settings.compile(&aside)?;
        if self.settings.uncompiled {
            let (fresh, old) = (
                aside.path().join("kong.yaml"),
                self.scratch.path().join("kong.yaml"),
            );
            return std::fs::rename(fresh, old).context("replace the decK file");
        }
        std::fs::rename(fresh, self.artifact()).context("replace the policy file")
    }

    /// Starts another process that takes over from this one: on the same addresses, with the same flags and these.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn successor(&self, workers: usize, flags: &[&str]) -> Result<Self> {
        let mut addresses = vec![
            "--take-over".to_owned(),
            "--listen".to_owned(),
            self.addr.to_string(),
        ];
        if let Some(addr) = self.tls_addr {
            addresses.extend(["--listen-tls".to_owned(), addr.to_string()]);
        }
        if let Some(addr) = self.ready["metrics_listen"].as_str() {
            addresses.extend(["--metrics-listen".to_owned(), addr.to_owned()]);
        }
        addresses.extend(flags.iter().map(|&flag| flag.to_owned()));
        let settings = GatewayBuilder {
            workers,
            passed: None,
            ..self.settings.clone()
        };
        settings.run(Arc::clone(&self.scratch), self.number + 1, &addresses)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// `SIGTERM`: drain.
    ///
    /// # Errors
    /// When it is gone.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// `SIGHUP`: read the policy file again.
    ///
    /// # Errors
    /// When it is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.wait(patience)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.settings.quiet {
            eprintln!(
                "--- log of the gateway at {} ---\n{}",
                self.addr,
                self.process.log()
            );
        }
    }
}

fn wait_ready(process: &mut Process) -> Result<Value> {
    let stdout = process.stdout().context("the gateway's output is not piped")?;
    let (sender, receiver) = mpsc::channel();
    // The thread goes on reading after the ready line, so that a full pipe never blocks the gateway.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    loop {
        let Ok(line) = receiver.recv_timeout(READY_PATIENCE) else {
            let state = if process.is_running() {
                "is not ready"
            } else {
                "ended"
            };
            bail!("tollgate {state}; its log:\n{}", process.log());
        };
        let event: Value =
            serde_json::from_str(&line).with_context(|| format!("tollgate printed {line:?}"))?;
        if event["event"] == "ready" {
            return Ok(event);
        }
    }
}

/// `target/debug/NAME` for a test in `target/debug/deps`.
fn beside_this_test(name: &str) -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let dir = exe.parent()?;
    let dir = if dir.ends_with("deps") { dir.parent()? } else { dir };
    Some(dir.join(name))
}
