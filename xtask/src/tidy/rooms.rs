//! Which room of the proxy may use which, and who may name the runtime.

use super::Finding;
use super::source::Source;

/// Rooms that hold protocol, accounting and editing logic only: they can be tested without a ring or a socket.
const SANS_IO: [&str; 8] = [
    "a2a", "ai", "consumer", "edit", "http", "mcp", "overload", "quota",
];

/// What a sans-I/O room may not use, beside `exchange`.
const IO_ROOMS: [&str; 11] = [
    "admin",
    "control",
    "downstream",
    "listener",
    "multiplex",
    "node",
    "steering",
    "tls",
    "upstream",
    "wire",
    "worker",
];

/// Parts of the standard library that reach outside the process or wait.
const IO_STD: [(&str, &str); 8] = [
    ("std", "fs"),
    ("std", "process"),
    ("std", "thread"),
    ("net", "TcpListener"),
    ("net", "TcpStream"),
    ("net", "UdpSocket"),
    ("os", "fd"),
    ("os", "unix"),
];

/// Crates that only one room may name.
const OWNED_CRATES: [(&str, &str); 4] = [
    ("monoio", "worker"),
    ("io_uring", "worker"),
    ("io_uring_06", "worker"),
    ("aya", "steering"),
];

/// The corridor: it may use every room. Of the rooms only the one that hands requests to it, the one that makes what
/// it needs at start, and the one that shares a worker with it may use it.
const CORRIDOR: &str = "exchange";
const CORRIDOR_DOORS: [&str; 3] = ["control", "downstream", "stream"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Ok(path) = source.path.strip_prefix("proxy/src") else {
        return Vec::new();
    };
    let Some(room) = path
        .components()
        .next()
        .and_then(|part| part.as_os_str().to_str())
    else {
        return Vec::new();
    };
    let (room, is_room) = (room.trim_end_matches(".rs"), path.components().count() > 1);
    let mut findings = owned_crates(source, room);
    if !is_room || source.is_test {
        return findings;
    }
    for (target, line) in source.crate_paths() {
        // Each path is seen once per member; the room it enters is its first.
        let [target] = target.as_slice() else { continue };
        if !may_use(room, target) {
            findings.push(Finding::new(
                &source.path,
                line,
                format!("{room} may not use {target}"),
            ));
        }
    }
    if SANS_IO.contains(&room) {
        findings.extend(io(source, room));
    }
    findings
}

fn may_use(room: &str, target: &str) -> bool {
    if target == CORRIDOR && room != CORRIDOR {
        return CORRIDOR_DOORS.contains(&room);
    }
    !(SANS_IO.contains(&room) && IO_ROOMS.contains(&target))
}

fn owned_crates(source: &Source, room: &str) -> Vec<Finding> {
    let words = source.words();
    let named = words.iter().filter_map(|word| {
        let (name, owner) = OWNED_CRATES.iter().find(|(name, _)| *name == word.text)?;
        (room != *owner)
            .then(|| Finding::new(&source.path, word.line, format!("only {owner} may name {name}")))
    });
    named.collect()
}

fn io(source: &Source, room: &str) -> Vec<Finding> {
    let words = source.words();
    let follows = |at: usize, inner: &str| {
        let path = words
            .get(at + 1..at + 4)
            .is_some_and(|w| w[0].text == ":" && w[1].text == ":" && w[2].text == inner);
        // `use std::net::{IpAddr, TcpStream}` names the member further on, in the same statement.
        path || (inner.starts_with(char::is_uppercase)
            && words[at + 1..]
                .iter()
                .take_while(|word| word.text != ";")
                .any(|word| word.text == inner))
    };
    let mut findings = Vec::new();
    for (at, word) in words.iter().enumerate() {
        for (outer, inner) in IO_STD.iter().filter(|(outer, _)| *outer == word.text) {
            if follows(at, inner) {
                findings.push(Finding::new(
                    &source.path,
                    word.line,
                    format!("{room} does no I/O, yet names {outer}::{inner}"),
                ));
            }
        }
    }
    findings
}
