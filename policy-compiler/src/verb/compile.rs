//! `tollc compile`: files in, artifact out, written whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Reading, check, code};

#[derive(Args)]
pub(super) struct Compile {
    #[command(flatten)]
    reading: Reading,
    /// Where the artifact goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A number that grows with every release of the policy; it is shown by the gateway
    #[arg(long, default_value_t = 0)]
    generation: u64,
}

impl Compile {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let (read, artifact) = self.reading.compile(self.generation);
        output.findings(&read);
        let (Some(artifact), false) = (artifact, self.reading.failed(&read.report)) else {
            output.document(&read, serde_json::json!({"ok": false}));
            return ExitCode::FAILURE;
        };
        let sealed = sealed_path(&self.output);
        let written = match artifact.sealed.is_empty() {
            true => remove(&sealed),
            false => serde_json::to_vec(&artifact.sealed)
                .map_err(io::Error::from)
                .and_then(|text| write(&sealed, &text, 0o600)),
        };
        if let Err(error) = written.and_then(|()| write(&self.output, &artifact.bytes, 0o600)) {
            eprintln!("error: cannot write {}: {error}", self.output.display());
            return ExitCode::FAILURE;
        }
        let digest: String = artifact
            .policy
            .digest()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if output.format == Format::Human {
            if let Some(model) = &read.model {
                eprintln!(
                    "{}: {} bytes, {}",
                    self.output.display(),
                    artifact.bytes.len(),
                    check::counts(model)
                );
            }
            if !artifact.sealed.is_empty() {
                eprintln!(
                    "note: {} secrets stand in {}; ship it with the artifact, or write them as {{vault://env/…}}",
                    artifact.sealed.len(),
                    sealed.display()
                );
            }
        }
        let document = serde_json::json!({
            "ok": true,
            "output": self.output,
            "bytes": artifact.bytes.len(),
            "digest": digest,
            "sealed_secrets": artifact.sealed.len(),
        });
        output.document(&read, document);
        code(false)
    }
}

/// The file of secrets beside an artifact.
fn sealed_path(artifact: &Path) -> PathBuf {
    let mut name = artifact.as_os_str().to_owned();
    name.push(".secrets");
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes beside the target and moves it there, so that nobody ever reads half of it.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = (|| {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
