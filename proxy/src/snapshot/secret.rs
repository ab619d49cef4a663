//! Secrets: resolved when an artifact is loaded, held in memory only, never printed.
//!
//! An artifact holds references: `{vault://env/name}` texts, or names of values in the sealed file that the
//! compiler wrote beside it. Both become a [`Secret`] here, or an error that names every one that is missing.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use policy::Policy;
use policy::table::{self, SecretKind};
use zeroize::Zeroizing;

/// A value that must not be seen. It does not print, and its memory is wiped when it is dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Holds a value.
    pub fn new(value: Vec<u8>) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why secrets cannot be had.
#[derive(Debug)]
pub enum SecretError {
    /// The sealed file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The sealed file is not a JSON object of texts.
    Garbled(PathBuf),
    /// References that lead nowhere.
    Missing(Vec<Missing>),
}

/// A reference that leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// An environment variable is not set.
    Variable(String),
    /// An environment variable is not a JSON object with this member.
    Member(String, String),
    /// Another vault than `env`.
    Backend(String),
    /// The sealed file is absent, or of another artifact.
    Sealed,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Garbled(path) => write!(f, "{} is not a JSON object of texts", path.display()),
            Self::Missing(missing) => {
                f.write_str("secrets are missing:")?;
                missing.iter().try_for_each(|missing| write!(f, " {missing};"))
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "environment variable {name} is not set"),
            Self::Member(name, member) => {
                write!(
                    f,
                    "environment variable {name} is not JSON with a text member `{member}`"
                )
            }
            Self::Backend(name) => write!(f, "vault `{name}` is not supported, only `env` is"),
            Self::Sealed => f.write_str("a value is not in the .secrets file beside the artifact"),
        }
    }
}

impl std::error::Error for SecretError {}

/// The file of sealed values that belongs to an artifact.
pub fn sealed_path(artifact: &Path) -> PathBuf {
    let mut name = artifact.as_os_str().to_owned();
    name.push(".secrets");
    PathBuf::from(name)
}

/// Resolves every secret of a policy, in row order.
///
/// # Errors
/// [`SecretError`], with all references that lead nowhere.
pub fn resolve(policy: &Policy, artifact: &Path) -> Result<Vec<Secret>, SecretError> {
    let mut rows = policy.rows(policy.all::<table::Secret>());
    let sealed = if rows.any(|row| row.kind == SecretKind::Sealed) {
        read_sealed(&sealed_path(artifact))?
    } else {
        HashMap::new()
    };
    let mut missing = Vec::new();
    let mut secrets = Vec::new();
    for row in policy.rows(policy.all::<table::Secret>()) {
        let text = policy.text(row.text);
        let value = match row.kind {
            SecretKind::Vault => expand(text, |name| std::env::var(name).ok()),
            SecretKind::Sealed => sealed.get(text).cloned().ok_or(Missing::Sealed),
        };
        match value {
            Ok(value) => secrets.push(Secret::new(value.into_bytes())),
            Err(reference) => missing.push(reference),
        }
    }
    if missing.is_empty() {
        Ok(secrets)
    } else {
        Err(SecretError::Missing(missing))
    }
}

fn read_sealed(path: &Path) -> Result<HashMap<String, String>, SecretError> {
    let text = match std::fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(SecretError::Unreadable(path.to_owned(), error)),
    };
    serde_json::from_slice(&text).map_err(|_error| SecretError::Garbled(path.to_owned()))
}

/// Puts the values of `{vault://env/<name>[/<member>]}` references into a text.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, Missing> {
    const OPEN: &str = "{vault://";
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        let Some(end) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        out.push_str(&look_up(&rest[start + OPEN.len()..start + end], &variable)?);
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(reference: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, Missing> {
    let reference = reference.split('#').next().unwrap_or(reference);
    let mut parts = reference.splitn(3, '/');
    let backend = parts.next().unwrap_or_default();
    if backend != "env" {
        return Err(Missing::Backend(backend.to_owned()));
    }
    let name = parts.next().unwrap_or_default().replace('-', "_").to_uppercase();
    let value = variable(&name).ok_or_else(|| Missing::Variable(name.clone()))?;
    let Some(member) = parts.next() else {
        return Ok(value);
    };
    let parsed: Option<serde_json::Value> = serde_json::from_str(&value).ok();
    let found = parsed
        .as_ref()
        .and_then(|object| object.get(member))
        .and_then(|found| found.as_str());
    found
        .map(str::to_owned)
        .ok_or_else(|| Missing::Member(name, member.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "OPENAI_KEY" => Some("sk-1".to_owned()),
            "PG" => Some(r#"{"user":"u"}"#.to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_inside_a_text() {
        assert_eq!(
            expand("Bearer {vault://env/openai-key}", environment),
            Ok("Bearer sk-1".to_owned())
        );
        assert_eq!(expand("{vault://env/pg/user}", environment), Ok("u".to_owned()));
        assert_eq!(expand("plain", environment), Ok("plain".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = Missing::Variable("NO_KEY".to_owned());
        assert_eq!(expand("{vault://env/no-key}", environment), Err(missing));
        let member = Missing::Member("PG".to_owned(), "password".to_owned());
        assert_eq!(expand("{vault://env/pg/password}", environment), Err(member));
        assert_eq!(
            expand("{vault://hcv/x}", environment),
            Err(Missing::Backend("hcv".to_owned()))
        );
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new(b"sk-1".to_vec())), "Secret(…)");
    }
}
