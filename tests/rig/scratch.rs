//! One directory per test under the build directory, removed when the test is done with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A temporary directory below Cargo's target directory. Removed on drop, or kept when `TOLLGATE_TEST_KEEP` is set,
/// for looking at what a failed run left.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A fresh, empty directory. The path stays short, since a Unix socket path has room for 107 bytes only.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new() -> Result<Self> {
        let parent = target_dir().join("rig");
        std::fs::create_dir_all(&parent).with_context(|| format!("make {}", parent.display()))?;
        let mut dir = tempfile::Builder::new().prefix("t").tempdir_in(&parent)?;
        dir.disable_cleanup(std::env::var_os("TOLLGATE_TEST_KEEP").is_some());
        Ok(Self { dir })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and gives its path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Cargo's target directory: the one this executable was built into, else `target` of the working directory.
pub(crate) fn target_dir() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| {
            exe.ancestors()
                .find(|dir| dir.join("CACHEDIR.TAG").exists())
                .map(Path::to_path_buf)
        })
        .unwrap_or_else(|| PathBuf::from("target"))
}
