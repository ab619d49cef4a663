//! Host patterns in the form that the artifact's host index keeps.

/// One entry of a route's `hosts`: a name, `*.x` or `x.*`, with an optional port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPattern {
    /// Lower-case key without port: `example.com`, `.example.com` for `*.example.com`, `example.` for `example.*`.
    pub name: Box<str>,
    /// Required port.
    pub port: Option<u16>,
}

impl HostPattern {
    /// The pattern that an operator wrote.
    pub fn of(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        let (name, port) = match written.rsplit_once(':') {
            Some((name, port)) => match port.parse() {
                Ok(port) => (name, Some(port)),
                Err(_) => (&*written, None),
            },
            None => (&*written, None),
        };
        let name = match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(suffix), _) => suffix,
            (None, Some(prefix)) => prefix,
            (None, None) => name,
        };
        Self {
            name: name.into(),
            port,
        }
    }

    /// The key in the artifact's host index.
    pub fn key(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.to_string(),
        }
    }

    /// Whether it was written `*.x`.
    pub fn is_suffix(&self) -> bool {
        self.name.starts_with('.')
    }

    /// Whether it was written `x.*`.
    pub fn is_prefix(&self) -> bool {
        self.name.ends_with('.')
    }

    /// Whether every request that fits `other` fits this one.
    pub fn covers(&self, other: &Self) -> bool {
        let port = self.port.is_none() || self.port == other.port;
        let name = self.name == other.name
            || (self.is_suffix() && !other.is_prefix() && other.name.ends_with(&*self.name))
            || (self.is_prefix() && !other.is_suffix() && other.name.starts_with(&*self.name));
        port && name
    }
}
