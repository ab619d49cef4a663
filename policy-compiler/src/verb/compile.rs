//! `tollc compile`: files in, artifact out, written whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Format, Output, Read, Reading, check, code};
use crate::diagnostic::{Diagnostic, Report};
use crate::emit::Artifact;

#[derive(Args)]
pub(super) struct Compile {
    #[command(flatten)]
    reading: Reading,
    /// Where the artifact goes; `-` is standard output, for policies without sealed secrets
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A number that grows with every release of the policy; it is shown by the gateway
    #[arg(long, default_value_t = 0)]
    generation: u64,
}

impl Compile {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let to_stdout = self.output.as_os_str() == "-";
        if to_stdout && output.format == Format::Json {
            return output
                .usage("`-o -` writes the artifact to standard output, where `--format json` writes too");
        }
        let (read, artifact) = self.reading.compile(self.generation);
        if !to_stdout {
            self.refuse_sources(&read);
        }
        let artifact = artifact.filter(|_| !self.reading.failed(&read.report));
        if let Some(artifact) = &artifact {
            let outcome = if to_stdout {
                self.print(artifact, &read.report);
                Ok(())
            } else {
                self.write(artifact)
            };
            if let Err(error) = outcome {
                let words = format!("cannot write `{}`: {error}", self.output.display());
                read.report.push(Diagnostic::error("unwritable-file", words));
            }
        }
        let (Some(artifact), 0) = (artifact, read.report.errors()) else {
            return output.failure(&read);
        };
        output.findings(&read);
        if output.format == Format::Human && !to_stdout {
            self.tell(&read, &artifact);
        }
        let digest = artifact.policy.digest().iter();
        let digest: String = digest.map(|byte| format!("{byte:02x}")).collect();
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

    /// What is written must not be what was read, under whatever name.
    fn refuse_sources(&self, read: &Read) {
        let identity = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino()))
        };
        for written in [self.output.clone(), sealed_path(&self.output)] {
            let Some(target) = identity(&written) else {
                continue;
            };
            let mut names = read.sources.iter().map(|source| Path::new(source.name()));
            if let Some(source) = names.find(|name| identity(name) == Some(target)) {
                let words = format!(
                    "writing `{}` would replace the source `{}`",
                    written.display(),
                    source.display()
                );
                let finding = Diagnostic::error("output-is-input", words);
                read.report
                    .push(finding.help("give the artifact a name of its own, such as policy.toll"));
            }
        }
    }

    fn print(&self, artifact: &Artifact, report: &Report) {
        if artifact.sealed.is_empty() {
            super::print_bytes(&artifact.bytes);
            return;
        }
        let words = format!(
            "{} secrets need a file beside the artifact, and standard output has none",
            artifact.sealed.len()
        );
        let finding = Diagnostic::error("sealed-secrets", words);
        report.push(finding.help("name a file with `-o`, or write the secrets as {vault://env/…}"));
    }

    fn write(&self, artifact: &Artifact) -> io::Result<()> {
        let sealed = sealed_path(&self.output);
        if artifact.sealed.is_empty() {
            remove(&sealed)?;
        } else {
            write(&sealed, &serde_json::to_vec(&artifact.sealed)?, 0o600)?;
        }
        write(&self.output, &artifact.bytes, 0o600)
    }

    fn tell(&self, read: &Read, artifact: &Artifact) {
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
                sealed_path(&self.output).display()
            );
        }
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
