//! A child process in its own process group, with its output kept in a file.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// A running program. Dropping it kills its whole process group and waits for it; a rig that is itself killed takes
/// its children along, where `setpriv` (util-linux) is installed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command` with standard error written to `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn(command, log)
    }

    /// The same with a descriptor as standard input.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_on(mut command: Command, input: impl Into<Stdio>, log: &Path) -> Result<Self> {
        command.stdin(input);
        Self::spawn(command, log)
    }

    /// The same with a piped standard input.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_piped(mut command: Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::piped());
        Self::spawn(command, log)
    }

    fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        command.stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self {
            child,
            log: log.to_path_buf(),
            name,
        })
    }

    /// A command that dies with the thread that starts it, so that a killed test run leaves nothing behind.
    pub fn command(program: impl AsRef<OsStr>) -> Command {
        let Some(setpriv) = program_path("setpriv") else {
            return Command::new(program);
        };
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("VmRSS")?;
        let kib: usize = line.split_whitespace().nth(1).context("a number")?.parse()?;
        Ok(kib << 10)
    }

    /// CPU time that it has used, its own and the kernel's for it, in hundredths of a second.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let (_, after) = stat.rsplit_once(") ").context("a stat line")?;
        let times = after.split(' ').skip(11).take(2);
        Ok(times.filter_map(|text| text.parse::<u64>().ok()).sum())
    }

    /// The piped standard input, once.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// The piped standard output, once, if the command asked for a pipe.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Sends one signal to the process itself.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.pid(), signal).with_context(|| format!("signal {}", self.name))
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} still runs after {patience:?}; its log:\n{}",
                    self.name,
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // The group may already be gone; a failed kill then says nothing.
            let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Finds a program on `PATH` or in the administrator's directories, which `PATH` often lacks.
///
/// # Errors
/// When it is not installed; the message names the command that installs everything the tests need.
pub fn program(name: &str) -> Result<PathBuf> {
    program_path(name)
        .with_context(|| format!("`{name}` is not installed; `cargo xtask test` installs what tests need"))
}

/// Whether this process has an administrator's rights.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn program_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}
