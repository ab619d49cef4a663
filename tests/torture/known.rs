//! What is known to be wrong with Tollgate: cases that are kept as they should be and are expected to fail.
//!
//! A case that is listed here and holds fails the test: the list only ever gets shorter by itself.

/// Group, the start of a case's name, and what is wrong.
pub(crate) const KNOWN: [(&str, &str, &str); 0] = [];

/// Why a case is expected to fail, if it is.
pub(crate) fn reason(group: &str, id: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|(of, name, _)| *of == group && id.starts_with(name))
        .map(|(_, _, reason)| *reason)
}
