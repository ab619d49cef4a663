//! Starts the origin and the gateways, each pinned to its core, each with one worker, and stops them again.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::scenario::{Policy, Scenario};

/// Core of the load generator and the origin.
pub(crate) const LOAD_CORE: usize = 0;
/// Core of the gateway under test.
pub(crate) const GATEWAY_CORE: usize = 1;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// nginx of Debian.
    Nginx,
    /// HAProxy of Debian.
    Haproxy,
    /// This gateway.
    Tollgate,
}

/// A running gateway.
pub(crate) struct Peer {
    kind: Kind,
    child: Child,
    port: u16,
}

/// The running origin.
pub(crate) struct Origin {
    web: Child,
    /// Port for plain requests and JSON answers.
    pub(crate) port: u16,
    /// Streams 50 events.
    pub(crate) stream: tests::Llm,
}

/// Fails with the names of what must be installed.
///
/// # Errors
/// When a tool is missing.
pub(crate) fn require_tools() -> Result<()> {
    let missing: Vec<&str> = ["nginx", "haproxy", "wrk", "taskset"]
        .into_iter()
        .filter(|tool| {
            !["/usr/sbin", "/usr/bin", "/usr/local/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(tool).exists())
        })
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing: {}; install with: apt-get install nginx haproxy wrk util-linux",
            missing.join(", ")
        );
    }
    Ok(())
}

impl Origin {
    /// Starts nginx as origin, and the scripted model for streams.
    ///
    /// # Errors
    /// When one of them does not start.
    pub(crate) fn start(root: &Path, dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let config = fill(
            root,
            "origin.conf",
            &[
                ("@DIR@", &dir.display().to_string()),
                ("@PORT@", &port.to_string()),
                ("@KIB@", &"x".repeat(1024)),
            ],
        )?;
        let path = dir.join("origin.conf");
        std::fs::write(&path, config)?;
        let web = pinned(LOAD_CORE, "nginx")
            .arg("-c")
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()?;
        wait_for(port)?;
        let stream = tests::Llm::streaming(50)?;
        Ok(Self { web, port, stream })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        stop(&mut self.web);
    }
}

impl Peer {
    /// Starts a gateway for a scenario.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        root: &Path,
        dir: &Path,
        kind: Kind,
        scenario: &Scenario,
        origin: &Origin,
    ) -> Result<Self> {
        let port = free_port()?;
        let streams = scenario.env.contains(&("STREAM", "1"));
        let upstream = if streams {
            origin.stream.port()
        } else {
            origin.port
        };
        let stem = dir.join(format!("{}-{}", scenario.name, kind.name()));
        let values = [
            ("@DIR@", dir.display().to_string()),
            ("@PORT@", port.to_string()),
            ("@ORIGIN@", upstream.to_string()),
            ("@BUFFERING@", if streams { "off" } else { "on" }.to_owned()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let child = match kind {
            Kind::Nginx => {
                let path = stem.with_extension("conf");
                std::fs::write(&path, fill(root, "nginx.conf", &values)?)?;
                pinned(GATEWAY_CORE, "nginx")
                    .args(["-g", "daemon off;", "-c"])
                    .arg(&path)
                    .stderr(Stdio::null())
                    .spawn()?
            }
            Kind::Haproxy => {
                let path = stem.with_extension("cfg");
                std::fs::write(&path, fill(root, "haproxy.cfg", &values)?)?;
                pinned(GATEWAY_CORE, "haproxy")
                    .arg("-db")
                    .arg("-f")
                    .arg(&path)
                    .stderr(Stdio::null())
                    .spawn()?
            }
            Kind::Tollgate => tollgate(&stem, scenario, upstream, port)?,
        };
        let mut peer = Self { kind, child, port };
        if let Err(error) = wait_for(port) {
            stop(&mut peer.child);
            return Err(error.context(format!("{} does not start", kind.name())));
        }
        Ok(peer)
    }

    /// Process that is measured.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Name in results.
    pub(crate) const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

impl Kind {
    /// Name in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Tollgate => "tollgate",
        }
    }
}

fn tollgate(stem: &Path, scenario: &Scenario, upstream: u16, port: u16) -> Result<Child> {
    let source = stem.with_extension("yaml");
    let artifact = stem.with_extension("toll");
    std::fs::write(&source, deck(scenario.policy, upstream))?;
    let bin = crate::step::target_dir().join("release");
    let compiled = Command::new(bin.join("tollc"))
        .arg("compile")
        .arg(&source)
        .arg("-o")
        .arg(&artifact)
        .output()?;
    if !compiled.status.success() {
        bail!("tollc: {}", String::from_utf8_lossy(&compiled.stderr));
    }
    let mut command = Command::new(bin.join("tollgate"));
    command
        .arg("run")
        .arg(&artifact)
        .args(["--workers", "1", "--listen"])
        .arg(format!("127.0.0.1:{port}"));
    command
        .arg("--admin")
        .arg(stem.with_extension("sock"))
        .stdout(Stdio::null());
    // Workers pin themselves to the cores that the process may use, so the mask decides.
    let child = Command::new("taskset")
        .args(["-c", &GATEWAY_CORE.to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(child)
}

fn deck(policy: Policy, upstream: u16) -> String {
    let mut deck = String::from("_format_version: \"3.0\"\n");
    match policy {
        Policy::None => {
            let _ = write!(
                deck,
                "services:\n- name: origin\n  url: http://127.0.0.1:{upstream}\n  routes:\n  - name: all\n    \
                 paths: [/]\n    strip_path: false\n"
            );
        }
        Policy::Rest { routes, consumers } => rest(&mut deck, upstream, routes, consumers),
        Policy::Llm => {
            let _ = write!(
                deck,
                "services:\n- name: llm\n  url: http://127.0.0.1:{upstream}\n  routes:\n  - name: chat\n    \
                 paths: [/v1/chat/completions]\n    plugins:\n    - name: key-auth\n    - name: ai-proxy\n      \
                 config:\n        route_type: llm/v1/chat\n        auth: {{header_name: Authorization, header_value: \
                 'Bearer perf'}}\n        model: {{provider: openai, name: gpt-4o-mini, options: {{upstream_url: \
                 'http://127.0.0.1:{upstream}/v1/chat/completions'}}}}\n    - name: ai-rate-limiting-advanced\n      \
                 config:\n        llm_providers: [{{name: openai, limit: [1000000000000], window_size: [60]}}]\n\
                 consumers:\n- username: perf\n  keyauth_credentials: [{{key: perf-key}}]\n"
            );
        }
    }
    deck
}

fn rest(deck: &mut String, upstream: u16, routes: usize, consumers: usize) {
    let _ = write!(
        deck,
        "services:\n- name: origin\n  url: http://127.0.0.1:{upstream}\n  routes:\n"
    );
    for route in 0..routes {
        let _ = writeln!(
            deck,
            "  - {{name: r{route}, paths: [/r{route}/], strip_path: false}}"
        );
    }
    deck.push_str(
        "plugins:\n- name: key-auth\n- name: acl\n  config: {allow: [users]}\n- name: rate-limiting\n  config: \
         {minute: 1000000000, policy: local}\n- name: prometheus\n  config: {status_code_metrics: true, \
         latency_metrics: true, bandwidth_metrics: true}\nconsumers:\n- username: perf\n  keyauth_credentials: \
         [{key: perf-key}]\n  acls: [{group: users}]\n",
    );
    for consumer in 1..consumers {
        let _ = writeln!(
            deck,
            "- {{username: c{consumer}, keyauth_credentials: [{{key: key-{consumer}}}], acls: [{{group: users}}]}}"
        );
    }
}

fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &core.to_string(), program])
        .stdout(Stdio::null());
    command
}

fn fill(root: &Path, name: &str, values: &[(&str, &str)]) -> Result<String> {
    let path = root.join("perf/peers").join(name);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (key, value) in values {
        text = text.replace(key, value);
    }
    Ok(text)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing listens on port {port}")
}

/// Ends a child that this program started: politely, then not.
fn stop(child: &mut Child) {
    let _ = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}
