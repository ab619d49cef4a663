//! A fault on purpose, so that tests can see what a panic does to a connection and to nobody else.
//!
//! Only in builds with assertions, and only where `TOLLGATE_PANIC_AT` names a path: a request for it panics.

use std::sync::LazyLock;

static PANIC_AT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("TOLLGATE_PANIC_AT").ok());

/// Panics at the path that the environment names.
pub(super) fn occur_at(path: &[u8]) {
    if PANIC_AT.as_ref().is_some_and(|at| at.as_bytes() == path) {
        panic!("a fault was asked for");
    }
}
