//! Reads checked configurations. The schema has filled in defaults and refused wrong types, so what is not there is
//! absent by choice.

use crate::source::{Node, Span, Value};

/// The configuration of one instance.
#[derive(Clone, Copy)]
pub(crate) struct Config<'c>(pub(crate) &'c Node);

impl<'c> Config<'c> {
    fn at(self, path: &str) -> Option<&'c Node> {
        self.0.at(path).filter(|node| !node.is_null())
    }

    /// A text, secret or not.
    pub(crate) fn text(self, path: &str) -> Option<&'c str> {
        match &self.at(path)?.value {
            Value::Str(text) => Some(text),
            Value::Secret(secret) => Some(secret.expose()),
            _ => None,
        }
    }

    /// A text that is not empty.
    pub(crate) fn word(self, path: &str) -> Option<&'c str> {
        self.text(path).filter(|text| !text.is_empty())
    }

    /// A flag; absent ones are off.
    pub(crate) fn flag(self, path: &str) -> bool {
        self.flag_or(path, false)
    }

    /// A flag with its own default, for fields that the other version does not have.
    pub(crate) fn flag_or(self, path: &str, default: bool) -> bool {
        self.at(path).and_then(Node::as_bool).unwrap_or(default)
    }

    /// A whole number that is not negative.
    pub(crate) fn count(self, path: &str) -> Option<u64> {
        self.at(path)?
            .as_int()
            .and_then(|number| u64::try_from(number).ok())
    }

    /// A number.
    pub(crate) fn number(self, path: &str) -> Option<f64> {
        self.at(path)?.as_float()
    }

    /// The status of a final answer (RFC 9110 §15), or none if the field is something else.
    pub(crate) fn status(self, path: &str, default: u32) -> Option<u32> {
        let Some(status) = self.number(path) else {
            return Some(default);
        };
        let status = u32::try_from(at_least(status)).ok();
        status.filter(|status| (200..=599).contains(status))
    }

    /// The elements of a list; none if it is absent.
    pub(crate) fn list(self, path: &str) -> &'c [Node] {
        self.at(path).and_then(Node::as_list).unwrap_or_default()
    }

    /// The texts of a list and where they stand.
    pub(crate) fn texts(self, path: &str) -> impl Iterator<Item = (&'c str, Span)> + use<'c> {
        self.list(path)
            .iter()
            .filter_map(|node| Some((node.as_str()?, node.span)))
    }

    /// Where a field stands; absent ones stand where the configuration does.
    pub(crate) fn span(self, path: &str) -> Span {
        self.at(path).map_or(self.0.span, |node| node.span)
    }

    /// Whether a field has a value.
    pub(crate) fn has(self, path: &str) -> bool {
        self.at(path).is_some()
    }
}

/// The smallest whole number that is not below `number`; 0 for what is negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what a limit beyond 64 bits means"
)]
pub(crate) fn at_least(number: f64) -> u64 {
    number.ceil() as u64
}
