//! The cases of `tests/torture/cases/*.toml`, one table each: what a client sends, and what must become of it.
//!
//! A case that says nothing else must be refused: one answer with status 400, then the end of the connection, and
//! not one byte of it at the upstream.

mod notation;

use std::fmt;

use serde::Deserialize;

pub use notation::bytes;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    title: String,
    case: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    send: String,
    #[serde(default)]
    each: Vec<String>,
    #[serde(default = "refused")]
    client: String,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    shows: Vec<String>,
    #[serde(default)]
    hides: Vec<String>,
}

fn refused() -> String {
    "400 closed".to_owned()
}

/// One payload and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its group.
    pub id: Id,
    /// What the client sends before the probe.
    pub send: Vec<u8>,
    /// What the client gets, as `verdict::Verdict` writes it.
    pub client: String,
    /// What the upstream sees of the payload, as `tape::Seen` writes it.
    pub upstream: Vec<String>,
    /// Header lines that the upstream must see.
    pub shows: Vec<String>,
    /// Texts that no head at the upstream may have, in any letter case.
    pub hides: Vec<String>,
}

/// The files, by name.
pub const GROUPS: [(&str, &str); 10] = [
    (
        "request_line",
        include_str!("../../torture/cases/request_line.toml"),
    ),
    ("fields", include_str!("../../torture/cases/fields.toml")),
    ("framing", include_str!("../../torture/cases/framing.toml")),
    ("chunks", include_str!("../../torture/cases/chunks.toml")),
    ("paths", include_str!("../../torture/cases/paths.toml")),
    ("hops", include_str!("../../torture/cases/hops.toml")),
    ("upgrades", include_str!("../../torture/cases/upgrades.toml")),
    ("injection", include_str!("../../torture/cases/injection.toml")),
    ("pipelines", include_str!("../../torture/cases/pipelines.toml")),
    ("limits", include_str!("../../torture/cases/limits.toml")),
];

/// The title and the cases of a group; a case with variants becomes one case for each.
///
/// # Panics
/// When there is no such group, or it is badly written: the files are part of the program.
#[must_use]
pub fn load(name: &str) -> (String, Vec<Case>) {
    let (_, text) = GROUPS
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no group {name}"));
    let group: Group = toml::from_str(text).unwrap_or_else(|error| panic!("{name}.toml: {error}"));
    let cases: Vec<Case> = group.case.iter().flat_map(Row::expand).collect();
    for (at, case) in cases.iter().enumerate() {
        assert!(
            cases[..at].iter().all(|other| other.id != case.id),
            "two cases {} in {name}.toml",
            case.id
        );
    }
    (group.title, cases)
}

impl Row {
    /// Puts each variant in the place of `$E`.
    fn expand(&self) -> Vec<Case> {
        let case = |variant: Option<&String>| Case {
            id: Id::new(&self.id, variant),
            send: bytes(&in_place(&self.send, variant)),
            client: self.client.clone(),
            upstream: self.upstream.iter().map(|line| in_place(line, variant)).collect(),
            shows: self.shows.iter().map(|line| in_place(line, variant)).collect(),
            hides: self.hides.clone(),
        };
        if self.each.is_empty() {
            return vec![case(None)];
        }
        assert!(self.send.contains("$E"), "{}: variants without $E", self.id);
        self.each.iter().map(|variant| case(Some(variant))).collect()
    }
}

/// `text` with a variant in the place of `$E`.
#[must_use]
pub fn in_place(text: &str, variant: Option<&String>) -> String {
    text.replace("$E", variant.map_or("", String::as_str))
}

/// The name of a case: of its table, and which of its variants it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The name of its table.
    pub name: String,
    /// What stands for `$E`, as written.
    pub variant: Option<String>,
}

impl Id {
    /// Of a table, and of one of its variants.
    #[must_use]
    pub fn new(name: &str, variant: Option<&String>) -> Self {
        Self {
            name: name.to_owned(),
            variant: variant.cloned(),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(f, "{}: {variant}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
