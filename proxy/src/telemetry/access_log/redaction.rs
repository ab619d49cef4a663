//! Which header fields and arguments carry credentials, and so are never written down.

use crate::http::query;

/// Stands for what is not written down.
pub(super) const REDACTED: &[u8] = b"REDACTED";

/// Names whose values are credentials: `authorization`, `proxy-authorization` and those that authentication plugins
/// were configured with. Made once per snapshot.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    names: Vec<Box<[u8]>>,
}

impl Redaction {
    /// With the names under which credentials are accepted, as header fields or arguments.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            names: names.into_iter().map(|name| name.as_bytes().into()).collect(),
        }
    }

    pub(super) fn hides_header(&self, name: &[u8]) -> bool {
        let same = |hidden: &[u8]| hidden.eq_ignore_ascii_case(name);
        same(b"authorization") || same(b"proxy-authorization") || self.names.iter().any(|hidden| same(hidden))
    }

    pub(super) fn hides_argument(&self, encoded_name: &[u8]) -> bool {
        self.names
            .iter()
            .any(|hidden| query::decodes_to(encoded_name, hidden))
    }
}
