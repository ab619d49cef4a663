//! Where the policy comes from: an artifact, or decK files that the sibling `tollc` compiles first.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A policy on disk.
#[derive(Debug)]
pub struct Source {
    given: PathBuf,
    compiled: Option<tempdir::Directory>,
    seen: Option<Fingerprint>,
}

/// Path, inode, size, and the nanoseconds at which content or owner and mode last changed.
type Fingerprint = Vec<(PathBuf, u64, u64, i128)>;

/// Why there is no artifact.
#[derive(Debug)]
pub enum SourceError {
    /// The file is not there.
    Missing(PathBuf, io::Error),
    /// `tollc` is not beside this program.
    NoCompiler(PathBuf, io::Error),
    /// `tollc` refuses the files; it has said why.
    Refused(String),
    /// No place for the compiled artifact.
    NoPlace(io::Error),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoCompiler(path, error) => write!(
                f,
                "cannot start {}: {error}\nhelp: compile elsewhere with `tollc compile -o policy.toll` and run that",
                path.display()
            ),
            Self::Refused(text) => f.write_str(text.trim_end()),
            Self::NoPlace(error) => write!(f, "no place for the compiled policy: {error}"),
        }
    }
}

impl std::error::Error for SourceError {}

impl Source {
    /// A policy at this path: a `.toll` artifact, a decK file, or a folder of decK files.
    pub const fn new(given: PathBuf) -> Self {
        Self {
            given,
            compiled: None,
            seen: None,
        }
    }

    /// The path as given.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// Whether it has to be compiled before it is loaded.
    pub fn compiles(&self) -> bool {
        self.given.extension().is_none_or(|extension| extension != "toll")
    }

    /// The artifact to load, compiled if it has to be.
    ///
    /// # Errors
    /// [`SourceError`]; what was compiled before is still there.
    pub fn artifact(&mut self) -> Result<PathBuf, SourceError> {
        let fingerprint = fingerprint(&self.given);
        let fingerprint = fingerprint.map_err(|error| SourceError::Missing(self.given.clone(), error))?;
        self.seen = Some(fingerprint);
        if !self.compiles() {
            return Ok(self.given.clone());
        }
        let directory = match &self.compiled {
            Some(directory) => directory,
            None => self
                .compiled
                .insert(tempdir::Directory::new().map_err(SourceError::NoPlace)?),
        };
        let artifact = directory.path().join("policy.toll");
        compile(&self.given, &artifact)?;
        Ok(artifact)
    }

    /// Whether the files have changed since they were last read. Content is not compared, only name, size and time:
    /// also that at which a file was given to another owner, who may now read it.
    pub fn changed(&self) -> bool {
        match fingerprint(&self.given) {
            Ok(now) => self.seen.as_ref() != Some(&now),
            // A file that is being replaced may be absent for a moment.
            Err(_) => false,
        }
    }
}

fn compile(given: &Path, artifact: &Path) -> Result<(), SourceError> {
    let compiler = std::env::current_exe()
        .unwrap_or_default()
        .with_file_name("tollc");
    let output = Command::new(&compiler)
        .arg("compile")
        .arg(given)
        .arg("-o")
        .arg(artifact)
        .output()
        .map_err(|error| SourceError::NoCompiler(compiler, error))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(SourceError::Refused(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    let metadata = std::fs::metadata(path)?;
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    let mut seen = vec![(path.to_owned(), metadata.ino(), metadata.len(), changed)];
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            seen.extend(fingerprint(&entry?.path())?);
        }
        seen.sort();
    }
    Ok(seen)
}

/// A private directory that is removed when it is dropped.
mod tempdir {
    use std::io;
    use std::os::unix::fs::DirBuilderExt as _;
    use std::path::{Path, PathBuf};

    #[derive(Debug)]
    pub(super) struct Directory(PathBuf);

    impl Directory {
        pub(super) fn new() -> io::Result<Self> {
            let path = std::env::temp_dir().join(format!("tollgate-{}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                // Left by a dead process of the same number; ours to use only if it is ours.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    std::fs::remove_dir_all(&path)?;
                    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
                }
                other => other?,
            }
            Ok(Self(path))
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
