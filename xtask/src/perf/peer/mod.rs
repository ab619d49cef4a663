//! Starts the gateways, each pinned to its core, each with one worker, and stops them again.

mod deck;
mod hop;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::rig::Rig;
use super::scenario::Scenario;

/// Core of the load generator and the origins.
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
    plain: u16,
    tls: u16,
}

/// Fails with the names of what must be installed.
///
/// # Errors
/// When a tool is missing.
pub(crate) fn require_tools() -> Result<()> {
    let missing: Vec<&str> = ["nginx", "haproxy", "wrk", "h2load", "taskset"]
        .into_iter()
        .filter(|tool| {
            !["/usr/sbin", "/usr/bin", "/usr/local/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(tool).exists())
        })
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing: {}; install with: apt-get install nginx haproxy wrk nghttp2-client util-linux",
            missing.join(", ")
        );
    }
    Ok(())
}

impl Peer {
    /// Starts a gateway for a scenario.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(rig: &Rig, kind: Kind, scenario: &Scenario) -> Result<Self> {
        let (plain, tls) = (free_port()?, free_port()?);
        let upstream = rig.origins.port(scenario.upstream);
        let stem = rig.path(&format!("{}-{}", scenario.name, kind.name()));
        let values = [
            ("@DIR@", rig.path("").display().to_string()),
            ("@PORT@", plain.to_string()),
            ("@TLS_PORT@", tls.to_string()),
            ("@ORIGIN@", upstream.to_string()),
            ("@LOCATION@", hop::nginx(scenario.upstream)),
            ("@GLOBAL@", hop::haproxy_global(scenario.upstream).to_owned()),
            ("@SERVER@", hop::haproxy_server(scenario.upstream).to_owned()),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let child = match kind {
            Kind::Nginx => {
                let path = stem.with_extension("conf");
                std::fs::write(&path, fill(&rig.root, "nginx.conf", &values)?)?;
                pinned(GATEWAY_CORE, "nginx")
                    .args(["-g", "daemon off;", "-c"])
                    .arg(&path)
                    .stderr(Stdio::null())
                    .spawn()?
            }
            Kind::Haproxy => {
                let path = stem.with_extension("cfg");
                std::fs::write(&path, fill(&rig.root, "haproxy.cfg", &values)?)?;
                pinned(GATEWAY_CORE, "haproxy")
                    .arg("-db")
                    .arg("-f")
                    .arg(&path)
                    .stderr(Stdio::null())
                    .spawn()?
            }
            Kind::Tollgate => {
                let deck = deck::of(scenario, upstream, &rig.certificate);
                tollgate(&stem, &deck, plain, tls)?
            }
        };
        let peer = Self {
            kind,
            child,
            plain,
            tls,
        };
        for port in [plain, tls] {
            wait_for(port).with_context(|| format!("{} does not start", kind.name()))?;
        }
        Ok(peer)
    }

    /// Process that is measured.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Port that a scenario's clients come to.
    pub(crate) const fn port(&self, scenario: &Scenario) -> u16 {
        if scenario.tls { self.tls } else { self.plain }
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

fn tollgate(stem: &Path, deck: &str, plain: u16, tls: u16) -> Result<Child> {
    let source = stem.with_extension("yaml");
    let artifact = stem.with_extension("toll");
    std::fs::write(&source, deck)?;
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
        .arg(format!("127.0.0.1:{plain}"))
        .arg("--listen-tls")
        .arg(format!("127.0.0.1:{tls}"));
    command
        // As many as the peers are told to serve on one connection.
        .args(["--limit", "client_requests=100000000", "--admin"])
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

/// A program on one core, silent.
pub(crate) fn pinned(core: usize, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", &core.to_string(), program])
        .stdout(Stdio::null());
    command
}

/// A configuration of `perf/peers` with values for its placeholders.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn fill(root: &Path, name: &str, values: &[(&str, &str)]) -> Result<String> {
    let path = root.join("perf/peers").join(name);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (key, value) in values {
        text = text.replace(key, value);
    }
    Ok(text)
}

/// A port that nobody listens on now.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until somebody listens there, 20 seconds at most.
///
/// # Errors
/// When nobody does.
pub(crate) fn wait_for(port: u16) -> Result<()> {
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
pub(crate) fn stop(child: &mut Child) {
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
