//! Running commands of the repository, and saying so.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result, ensure};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Whether this is CI, where nothing may be skipped.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Cargo itself, at the root.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program, started at the root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Prints a headline.
pub(crate) fn say(text: &str) {
    anstream::eprintln!("{BOLD}==> {text}{BOLD:#}");
}

/// Prints something that is wrong but not fatal.
pub(crate) fn warn(text: &str) {
    anstream::eprintln!("{YELLOW}warning:{YELLOW:#} {text}");
}

/// Prints something that is wrong.
pub(crate) fn complain(text: &str) {
    anstream::eprintln!("{RED}error:{RED:#} {text}");
}

/// Shows a command and runs it; an unsuccessful end is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| shown.clone())?;
    ensure!(status.success(), "`{shown}`: {status}");
    Ok(())
}

/// Shows a command, runs it, passes its standard error through and gives it back line by line as well. The flag says
/// whether it ended successfully.
pub(crate) fn tee(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let shown = show(command);
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| shown.clone())?;
    let mut lines = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            anstream::eprintln!("{line}");
            lines.push(line);
        }
    }
    Ok((child.wait()?.success(), lines))
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    let shown = std::iter::once(program)
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ");
    anstream::eprintln!("    {shown}");
    shown
}
