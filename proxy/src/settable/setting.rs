//! What an operator says of a limit: `NAME=VALUE` on the command line, `NAME = VALUE` under `[limits]` of a node file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::{Limit, Row, TABLE, Unit};

/// How far a name may be from a known one to be taken for it, 0 to 1.
const ALIKE: f64 = 0.7;

/// A value for a limit, within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub limit: Limit,
    /// In the limit's unit.
    pub value: u64,
}

/// Why a limit cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// There is no `=`.
    NoValue(String),
    /// No limit has this name; the one that may be meant.
    Unknown(String, Option<&'static str>),
    /// Not a number, or of another unit: the limit's name, its unit, and what was said.
    NotAnAmount(&'static str, Unit, String),
    /// Too low or too high: the limit's name, what may be said, and what was.
    OutOfBounds(&'static str, String, String),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(text) => write!(f, "`{text}`: expected NAME=VALUE, such as head_bytes=32KiB"),
            Self::Unknown(name, meant) => {
                write!(f, "there is no limit `{name}`")?;
                match meant {
                    Some(meant) => write!(f, "; is `{meant}` meant?"),
                    None => f.write_str("; `tollgate limits` lists them"),
                }
            }
            Self::NotAnAmount(name, unit, text) => {
                write!(f, "`{name}` is {}, not `{text}`", unit.expected())
            }
            Self::OutOfBounds(name, bounds, text) => write!(f, "`{name}` may be {bounds}, not {text}"),
        }
    }
}

impl std::error::Error for SettingError {}

impl Unit {
    const fn expected(self) -> &'static str {
        match self {
            Self::Count => "a number",
            Self::Bytes => "a number of bytes, perhaps with KiB, MiB or GiB behind it",
            Self::Seconds => "a number of seconds",
        }
    }

    /// A value as people write it.
    pub(super) fn amount(self, value: u64) -> String {
        match self {
            Self::Count => value.to_string(),
            Self::Seconds => format!("{value}s"),
            Self::Bytes => {
                let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
                let whole = units
                    .iter()
                    .find(|(shift, _)| value > 0 && value.is_multiple_of(1 << shift));
                whole.map_or_else(
                    || value.to_string(),
                    |(shift, unit)| format!("{}{unit}", value >> shift),
                )
            }
        }
    }

    fn read(self, text: &str) -> Option<u64> {
        let digits = text.trim_end_matches(|it: char| !it.is_ascii_digit());
        let number: u64 = digits.parse().ok()?;
        let factor = match (self, text[digits.len()..].trim()) {
            (_, "") | (Self::Seconds, "s") | (Self::Bytes, "B") => 1,
            (Self::Bytes, "KiB") => 1 << 10,
            (Self::Bytes, "MiB") => 1 << 20,
            (Self::Bytes, "GiB") => 1 << 30,
            _ => return None,
        };
        number.checked_mul(factor)
    }
}

impl Setting {
    fn new(name: &str, text: &str) -> Result<Self, SettingError> {
        let row = TABLE.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| SettingError::Unknown(name.to_owned(), nearest(name)))?;
        let not_an_amount = || SettingError::NotAnAmount(row.name, row.unit, text.to_owned());
        let value = row.unit.read(text).ok_or_else(not_an_amount)?;
        if !(row.least..=row.most).contains(&value) {
            let amount = |value| row.unit.amount(value);
            let bounds = format!("{} to {}", amount(row.least), amount(row.most));
            return Err(SettingError::OutOfBounds(row.name, bounds, amount(value)));
        }
        Ok(Self {
            limit: row.limit,
            value,
        })
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let no_value = || SettingError::NoValue(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(no_value)?;
        Self::new(name.trim(), value.trim())
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.replace('-', "_").to_ascii_lowercase();
    let likeness = |row: &&Row| strsim::jaro_winkler(row.name, &name);
    let best = TABLE
        .iter()
        .max_by(|left, right| likeness(left).total_cmp(&likeness(right)))?;
    (likeness(&best) > ALIKE).then_some(best.name)
}

/// Reads the `[limits]` of a node file.
///
/// # Errors
/// What is wrong with one of them.
pub fn from_table<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Setting>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let table = BTreeMap::<String, Written>::deserialize(deserializer)?;
    let settings = table.into_iter().map(|(name, value)| match value {
        Written::Number(number) => Setting::new(&name, &number.to_string()),
        Written::Text(text) => Setting::new(&name, &text),
    });
    settings
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}
